"""Instructions per clock cycle of real boards, from published times of networks whose instructions were counted.

instructions.json is written by scripts/instructions/count.py, published.json holds published measurements with their sources.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
THREADS = (1, 4)
Entry = dict[str, Any]
"""One entry of instructions.json or published.json."""


@dataclass(frozen=True)
class BoardModel:
    """The properties of a board that a prediction needs."""

    name: str
    core: str
    """The emulated core: `cortex-a72`, `cortex-a76`."""
    ghz: float
    measured_ghz: float
    """The clock of the published measurements."""
    memory_gb_s: float
    """Peak rate of its memory: 32 bits wide, LPDDR4-3200 or LPDDR4X-4267."""
    cache_mib: float
    """The last level, which all cores share."""
    macs_per_cycle: dict[str, int]
    """Peak of one core, by kind: two 128-bit multiply-accumulates a cycle, and the 8-bit dot product of the A76."""


_A72, _A76 = {"fp32": 8, "int8": 16}, {"fp32": 8, "int8": 32}
BOARDS = (
    BoardModel("Raspberry Pi 4, 1.5 GHz", "cortex-a72", 1.5, 1.5, 12.8, 1.0, _A72),
    BoardModel("Raspberry Pi 4, 1.8 GHz", "cortex-a72", 1.8, 1.5, 12.8, 1.0, _A72),
    BoardModel("Raspberry Pi 5, 2.4 GHz", "cortex-a76", 2.4, 2.4, 17.1, 2.0, _A76),
)
KINDS = ("fp32", "int8")
FEW, MARGIN_OF_FEW = 3, 1.25
"""An end of a range that rests on fewer networks is moved out by at least this factor."""


@dataclass(frozen=True)
class Speed:
    """Instructions per cycle, all threads together."""

    slow: float
    fast: float
    margins: tuple[float, float]
    """The factor by which each end was moved out from the outermost network."""


@cache
def counted() -> dict[str, Any]:
    """Read instructions.json."""
    return json.loads((HERE.parent / "instructions.json").read_text())


@cache
def published() -> dict[str, Any]:
    """Read published.json."""
    return json.loads((HERE / "published.json").read_text())


def speed(board: BoardModel, kind: str, threads: int, without: str = "", measured: Sequence[Entry] | None = None) -> Speed:
    """Instructions per cycle of a board's core according to published measurements of one kind, leaving out one network.

    Raises LookupError if none are left.
    """
    entries = published()["measured"] if measured is None else measured
    rates: dict[int, list[float]] = {count: [] for count in THREADS}
    for entry in entries:
        if _board(entry).core == board.core and entry["variant"] == kind and entry["network"] != without:
            rates[entry["threads"]].append(rate(entry))
    slow = sorted(rates[threads])
    if not slow:
        raise LookupError(f"no published measurement of {kind} on {board.name} with {threads} threads is left")
    fast = sorted(slow + [each / 4 for each in rates[4]]) if threads == 1 else slow
    at_least = MARGIN_OF_FEW if len(slow) < FEW else 1.0
    below = max(at_least, slow[1] / slow[0]) if len(slow) > 1 else at_least
    above = max(at_least, fast[-1] / fast[-2]) if len(fast) > 1 else at_least
    return Speed(slow[0] / below, fast[-1] * above, (below, above))


def rate(entry: Entry) -> float:
    """Instructions per cycle of a published measurement, all threads together."""
    board = _board(entry)
    return _instructions(entry, board.core) / (entry["ms"] * board.measured_ghz * 1e6)


def checked() -> list[Entry]:
    """Compare each published measurement with its prediction from the other networks; in words, for a table."""
    return [
        {
            "what": f"{entry['network']} {entry['variant']}, {entry['board']}, {_threads(entry)}",
            "predicted": f"{entry['low_ms']:.1f} to {entry['high_ms']:.1f} ms",
            "published": f"{entry['ms']:.1f} ms, {entry['verdict']}",
            "source": published()["sources"][entry["source"]],
        }
        for entry in left_out()
    ]


def left_out(measured: Sequence[Entry] | None = None) -> list[Entry]:
    """Leave one out: every published entry with `low_ms` and `high_ms` from the other networks, and a `verdict` in words.

    An entry without a number of threads is compared with the range from four threads to one.
    """
    entries = published()["measured"] if measured is None else measured
    compared = []
    for entry in [*entries, *published()["only_checked"]]:
        board = _board(entry)
        instructions = _instructions(entry, board.core) / (board.measured_ghz * 1e6)
        counts = [entry["threads"]] if entry["threads"] else [*THREADS]
        kinds = [entry["variant"]] if entry.get("runtime", "litert") == "litert" else [*KINDS]
        speeds = [speed(board, kind, threads, entry["network"], entries) for threads in counts for kind in kinds]
        low, high = instructions / max(each.fast for each in speeds), instructions / min(each.slow for each in speeds)
        off = low / entry["ms"] if entry["ms"] < low else entry["ms"] / high
        verdict = "inside" if low <= entry["ms"] <= high else f"{'faster' if entry['ms'] < low else 'slower'} by {off:.2f} times"
        compared.append(entry | {"low_ms": low, "high_ms": high, "verdict": verdict})
    return compared


def _board(entry: Entry) -> BoardModel:
    return next(board for board in BOARDS if board.name == entry["board"])


def _threads(entry: Entry) -> str:
    if not entry["threads"]:
        return "threads not stated (4 to 1)"
    return f"{entry['threads']} thread{'' if entry['threads'] == 1 else 's'}"


def _instructions(entry: Entry, core: str) -> float:
    """Counted instructions of one frame of a published network."""
    wanted = (core, entry["network"], entry["variant"], entry.get("runtime", "litert"))
    for each in counted()["references"]:
        if (each["core"], each["network"], each["variant"], each["runtime"]) == wanted:
            return float(each["per_frame"])
    raise LookupError(f"{' '.join(wanted)}: not counted; run scripts/instructions/references.py {entry['network']}")
