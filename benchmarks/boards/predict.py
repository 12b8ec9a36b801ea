"""What a board would do, without the board: counted instructions, and ranges of milliseconds predicted from them.

    python -m benchmarks.boards.predict            the tables of docs/boards-predicted.md
    python -m benchmarks.boards.predict counts     those of docs/networks.md
    python -m benchmarks.boards.predict against F  what a board measured (the bench.json F) beside what was predicted for it

Nothing here was measured on a board. Instructions: instructions.json, made by scripts/instructions/count.py. Networks whose
milliseconds on the boards others published (published.json) were counted the same way: that gives instructions per clock
cycle, all threads together, of real boards. Its spread becomes the range (`METHOD`).
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.records import Machine, Result, from_json
from device.errors import DataError
from device.system.console import table

HERE = Path(__file__).resolve().parent
COUNT_AGAIN = "python scripts/instructions/count.py"
SIZE_WH = (640, 480)
THREADS = (1, 4)
Entry = dict[str, Any]

METHOD = (
    "Predicted, not measured: milliseconds = instructions / (instructions per cycle × clock), for the runtime's bare call on "
    "640x480. Instructions per cycle, all threads together, are those of networks whose times on the same core others published "
    "and whose instructions were counted in the same emulator; 8 bits and float apart. The range runs from the slowest of them "
    "to the fastest; each end is then moved out by the factor that its outermost network lies beyond the next, which is what "
    "leaving that network out would have missed, and by at least 1.25 where fewer than three networks are known, as with one "
    "thread. One thread is taken to be at least as fast as each of four. No range begins below what memory needs, and LiteRT's "
    "not below what the core's multiply-accumulate units need. `dynamic` files, and runtimes other than LiteRT, take "
    "the range of both kinds: nothing published calibrates them. A Raspberry Pi 4 at 1.8 GHz: the fast end follows the clock, "
    "the slow end stays. Heat, other programs and other versions of a runtime can put a board outside of its range."
)


@dataclass(frozen=True)
class BoardModel:
    """What a prediction needs to know of a board."""

    name: str
    core: str
    """As it is emulated: `cortex-a72`, `cortex-a76`."""
    ghz: float
    measured_ghz: float
    """The clock of the published measurements."""
    memory_gb_s: float
    """The most its memory can move: 32 bits wide, LPDDR4-3200 or LPDDR4X-4267."""
    cache_mib: float
    """The last level, shared."""
    macs_per_cycle: dict[str, int]
    """The most of one core, by kind: two 128-bit multiply-accumulates a cycle, and the A76's dot product of 8 bits."""


_A72, _A76 = {"fp32": 8, "int8": 16}, {"fp32": 8, "int8": 32}
BOARDS = (
    BoardModel("Raspberry Pi 4, 1.5 GHz", "cortex-a72", 1.5, 1.5, 12.8, 1.0, _A72),
    BoardModel("Raspberry Pi 4, 1.8 GHz", "cortex-a72", 1.8, 1.5, 12.8, 1.0, _A72),
    BoardModel("Raspberry Pi 5, 2.4 GHz", "cortex-a76", 2.4, 2.4, 17.1, 2.0, _A76),
)
KINDS = ("fp32", "int8")
FEW, MARGIN_OF_FEW = 3, 1.25
"""An end of a range that rests on fewer networks is moved out at least so far."""


@dataclass(frozen=True)
class Speed:
    """Instructions per cycle, all threads together."""

    slow: float
    fast: float
    margins: tuple[float, float]
    """By what each end was moved out, from the outermost network."""


@cache
def counted() -> dict[str, Any]:
    """instructions.json."""
    return json.loads((HERE.parent / "instructions.json").read_text())


@cache
def published() -> dict[str, Any]:
    """published.json."""
    return json.loads((HERE / "published.json").read_text())


def for_bundles(sha256s: set[str]) -> dict[str, Any] | None:
    """What is known of files with these SHA-256 hashes, as plain data for a report; None when nothing is.

    `instructions`: rows of instructions.json. `predictions`: board, file, bundle, variant, runtime, threads, low_ms, high_ms.
    `method`: words. `checked`: what the same method says of published measurements it was not told, in words.
    """
    rows = [row for row in counted()["rows"] if row["sha256"] in sha256s]
    if not rows:
        return None
    return {
        "label": "emulated and predicted, not measured",
        "instructions": rows,
        "predictions": list(predictions(rows)),
        "method": METHOD,
        "checked": checked(),
    }


def predictions(rows: Iterable[Entry]) -> Iterator[Entry]:
    """A range for each board, file, runtime and number of threads; sorted as the files are, boards first."""
    frames = _frames(rows)
    for board in BOARDS:
        for key in sorted(frames):
            row = frames[key]
            if row["core"] != board.core:
                continue
            for threads in THREADS:
                low, high = milliseconds(board, row, threads)
                yield {
                    "board": board.name, "bundle": row["bundle"], "variant": row["variant"], "file": row["file"],
                    "runtime": row["runtime"], "threads": threads, "low_ms": round(low, 1), "high_ms": round(high, 1),
                }  # fmt: skip


def milliseconds(board: BoardModel, row: Entry, threads: int) -> tuple[float, float]:
    """The range for a row of the counts, its instructions scaled to 640x480 by pixels (LiteRT's are proportional to 1 %)."""
    pixels = SIZE_WH[0] * SIZE_WH[1]
    instructions, macs = row["per_pixel"] * pixels, row["macs_per_pixel"] * pixels
    kinds = _kinds(row)
    speeds = [speed(board, kind, threads) for kind in kinds]
    cycles_per_ms = board.ghz * 1e6
    low = instructions / (max(each.fast for each in speeds) * cycles_per_ms)
    units = macs / (threads * max(board.macs_per_cycle[kind] for kind in kinds) * cycles_per_ms)
    if row["runtime"] != "litert":
        units = 0.0  # ncnn and OpenCV multiply less than the network says (Winograd), ncnn also in half floats
    high = instructions / (min(each.slow for each in speeds) * board.measured_ghz * 1e6)
    return max(low, units, memory_ms(board, row)), high


def memory_ms(board: BoardModel, row: Entry) -> float:
    """The least that memory takes: what of each operator's output does not fit into the cache is written and read once."""
    variant = {"fp16": "fp32"}.get(row["variant"], row["variant"])
    found = [each for each in counted()["activations"] if (each["bundle"], each["variant"]) == (row["bundle"], variant)]
    cache_bytes = board.cache_mib * 2**20
    moved = sum(2 * max(0.0, size - cache_bytes) for each in found for size in each["bytes"])
    return moved / (board.memory_gb_s * 1e6)


def speed(board: BoardModel, kind: str, threads: int, without: str = "", measured: list[Entry] | None = None) -> Speed:
    """What published measurements of one kind say of a board's core; `without` a network, as if it had not been published.

    Raises LookupError when nothing is left.
    """
    every = published()["measured"] if measured is None else measured
    rates: dict[int, list[float]] = {count: [] for count in THREADS}
    for row in every:
        if _core(row["board"]) == board.core and row["variant"] == kind and row["network"] != without:
            rates[row["threads"]].append(rate(row))
    slow = sorted(rates[threads])
    if not slow:
        raise LookupError(f"no published measurement of {kind} on {board.name} with {threads} threads is left")
    fast = sorted(slow + [each / 4 for each in rates[4]]) if threads == 1 else slow
    least = MARGIN_OF_FEW if len(slow) < FEW else 1.0
    below = max(least, slow[1] / slow[0]) if len(slow) > 1 else least
    above = max(least, fast[-1] / fast[-2]) if len(fast) > 1 else least
    return Speed(slow[0] / below, fast[-1] * above, (below, above))


def rate(row: Entry) -> float:
    """Instructions per cycle of a published measurement, all threads together."""
    board = next(each for each in BOARDS if each.name == row["board"])
    return _reference(row, board.core)["per_frame"] / (row["ms"] * board.measured_ghz * 1e6)


def checked() -> list[Entry]:
    """Each published measurement against what the method says when that network is left out; words for a report's table."""
    return [
        {
            "what": f"{row['network']} {row['variant']}, {row['board']}, {_threads(row)}",
            "predicted": f"{row['low_ms']:.1f} to {row['high_ms']:.1f} ms",
            "published": f"{row['ms']:.1f} ms, {row['verdict']}",
            "source": published()["sources"][row["source"]],
        }
        for row in left_out()
    ]


def left_out(measured: list[Entry] | None = None) -> list[Entry]:
    """Leave one out: every published row with `low_ms`, `high_ms` from the other networks, and a `verdict` in words.

    A row without a number of threads is held against the range from four threads to one.
    """
    every = published()["measured"] if measured is None else measured
    found = []
    for row in [*every, *published()["only_checked"]]:
        board = next(each for each in BOARDS if each.name == row["board"])
        instructions = _reference(row, board.core)["per_frame"] / (board.measured_ghz * 1e6)
        counts = [row["threads"]] if row["threads"] else [*THREADS]
        kinds = [row["variant"]] if row.get("runtime", "litert") == "litert" else [*KINDS]
        speeds = [speed(board, kind, threads, row["network"], every) for threads in counts for kind in kinds]
        low, high = instructions / max(each.fast for each in speeds), instructions / min(each.slow for each in speeds)
        off = low / row["ms"] if row["ms"] < low else row["ms"] / high
        verdict = "inside" if low <= row["ms"] <= high else f"{'faster' if row['ms'] < low else 'slower'} by {off:.2f} times"
        found.append(row | {"low_ms": low, "high_ms": high, "verdict": verdict})
    return found


def _frames(rows: Iterable[Entry]) -> dict[tuple[str, str, str], Entry]:
    """Bare calls by file, runtime and core: the count at 640x480 where there is one, else the smaller."""
    frames: dict[tuple[str, str, str], Entry] = {}
    for row in sorted(rows, key=lambda row: row["size_wh"][0]):
        if row["what"] == "invoke":
            frames[row["file"], row["runtime"], row["core"]] = row
    return frames


def _kinds(row: Entry) -> tuple[str, ...]:
    if row["runtime"] != "litert" or row["variant"] == "dynamic":
        return KINDS
    return ("int8",) if row["variant"] == "int8" else ("fp32",)


def _core(board: str) -> str:
    return next(each.core for each in BOARDS if each.name == board)


def _threads(row: Entry) -> str:
    return "threads not stated (4 to 1)" if not row["threads"] else f"{row['threads']} thread{'' if row['threads'] == 1 else 's'}"


def _reference(row: Entry, core: str) -> Entry:
    wanted = (core, row["network"], row["variant"], row.get("runtime", "litert"))
    for each in counted()["references"]:
        if (each["core"], each["network"], each["variant"], each["runtime"]) == wanted:
            return each
    raise LookupError(f"{' '.join(wanted)}: not counted; run scripts/instructions/references.py {row['network']}")


def tables() -> str:
    """Predictions, calibration and check, in Markdown."""
    rows = list(predictions(counted()["rows"]))
    lines = [
        "| file | runtime |" + "".join(f" {board.name}: 1 / 4 threads |" for board in BOARDS),
        "|---|---|" + "---|" * len(BOARDS),
    ]
    for file, runtime in dict.fromkeys((row["file"], row["runtime"]) for row in rows):
        cells = []
        for board in BOARDS:
            ranges = [r for r in rows if (r["file"], r["runtime"], r["board"]) == (file, runtime, board.name)]
            cells.append(" / ".join(f"{each['low_ms']:.0f}–{each['high_ms']:.0f}" for each in ranges) or "-")
        lines.append(f"| {file} | {runtime} | " + " | ".join(cells) + " |")
    lines += ["", "| core | kind | threads | instructions per cycle | moved out by |", "|---|---|---|---|---|"]
    for board in (BOARDS[0], BOARDS[2]):
        for kind in KINDS:
            for threads in THREADS:
                found = speed(board, kind, threads)
                below, above = found.margins
                lines.append(
                    f"| {board.core} | {kind} | {threads} | {found.slow:.2f} to {found.fast:.2f} | {below:.2f} / {above:.2f} |"
                )
    lines += ["", "| left out | predicted by the others | published |", "|---|---|---|"]
    lines += [f"| {row['what']} | {row['predicted']} | {row['published']} |" for row in checked()]
    lines += ["", *(f"- {words}" for words in published()["sources"].values())]
    return "\n".join(lines)


def counts() -> str:
    """Instructions a pixel by file and runtime, and what a whole frame takes beside the runtime's call; Markdown."""
    frames = _frames(counted()["rows"])
    lines = ["| file | runtime | cortex-a76 | per kMAC | cortex-a72 | per kMAC |", "|---|---|---|---|---|---|"]
    for file, runtime in sorted({key[:2] for key in frames}):
        found = [frames[file, runtime, core] for core in ("cortex-a76", "cortex-a72")]
        cells = " | ".join(f"{row['per_pixel']:.0f} | {row['per_kmac']:.0f}" for row in found)
        lines.append(f"| {file} | {runtime} {found[0]['runtime_version']} | {cells} |")
    lines += ["", "| a whole frame of 640x480 | core | from a camera's planes | beside the call | from R G B | beside the call |"]
    lines.append("|---|---|---|---|---|---|")
    whole = {(row["file"], row["core"], row["what"]): row for row in counted()["rows"] if row["what"] != "invoke"}
    for file, core in sorted({key[:2] for key in whole}, key=lambda key: (key[0], key[1] == "cortex-a72")):
        cells = ""
        for what in ("planes", "rgb"):
            row = whole[file, core, what]
            ours = row["per_pixel"] - frames[file, row["runtime"], core]["per_pixel"]
            cells += f" {row['per_pixel']:.0f} | {ours:.0f} |"
        lines.append(f"| {file} | {core} |{cells}")
    return "\n".join(lines)


def against(result: Result) -> list[Entry]:
    """Measured p50 of the runtime's call beside the prediction, for the rows of a Raspberry Pi's result that have one.

    file, runtime, threads, low_ms, high_ms, measured_ms. Raises DataError for another machine or another frame.
    """
    board = next((b for b in BOARDS if _is(result.machine, b)), None)
    if board is None:
        known = ", ".join(b.name for b in BOARDS)
        raise DataError(f"{result.machine.board or result.machine.cpu}: nothing is predicted for it; expected one of {known}")
    if result.size_wh != SIZE_WH:
        raise DataError(
            f"a frame of {result.size_wh[0]}x{result.size_wh[1]} was measured; predicted are 640x480: leave --size out"
        )
    measured = {(row.sha256, row.runtime, row.threads): row.stages_ms["infer"] for row in result.rows if "infer" in row.stages_ms}
    rows = []
    for count in _frames(counted()["rows"]).values():
        for threads in THREADS:
            ms = measured.get((count["sha256"], count["runtime"], threads))
            if ms is not None and count["core"] == board.core:
                low, high = milliseconds(board, count, threads)
                rows.append(
                    {"file": count["file"], "runtime": count["runtime"], "threads": threads,
                     "low_ms": low, "high_ms": high, "measured_ms": ms}
                )  # fmt: skip
    return rows


def _is(machine: Machine, board: BoardModel) -> bool:
    named = (machine.board or "").startswith(board.name.split(",")[0])
    return named and machine.most_mhz is not None and abs(machine.most_mhz / 1000 - board.ghz) < 0.05


def comparison(result: Result) -> str:
    """`against` as a table, with how many lay within."""
    rows = against(result)
    cells = [
        [r["file"], r["runtime"], str(r["threads"]), f"{r['low_ms']:.0f}-{r['high_ms']:.0f}", f"{r['measured_ms']:.1f}",
         "within" if r["low_ms"] <= r["measured_ms"] <= r["high_ms"] else "outside"]
        for r in rows
    ]  # fmt: skip
    within = sum(row[-1] == "within" for row in cells)
    header = ["file", "runtime", "threads", "predicted ms", "measured ms", ""]
    return f"{table(header, cells)}\n{within} of {len(cells)} within what was predicted"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["against", file]:
            try:
                print(comparison(from_json(json.loads(Path(file).read_text()), file)))
            except (OSError, ValueError) as error:  # DataError is a ValueError
                sys.exit(f"{error}")
        case ["counts"]:
            print(counts())
        case _:
            print(tables())
