"""Predict ranges of milliseconds on boards that nobody measured, from counted instructions."""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.boards.calibration import BOARDS, KINDS, THREADS, BoardModel, Entry, checked, counted, speed

SIZE_WH = (640, 480)
METHOD = (
    "Predicted, not measured: milliseconds = instructions / (instructions per cycle × clock), for the bare call of the "
    "runtime on 640x480. Instructions per cycle, all threads together, come from networks whose times on the same core "
    "others published and whose instructions were counted in the same emulator; 8 bits and float apart. The range runs from"
    " the slowest of them to the fastest. Each end is then moved out by the factor between its outermost network and the "
    "next one, which is the error of leaving that network out, and by at least 1.25 if fewer than three networks are known,"
    " as with one thread. One thread is assumed to be at least as fast as each of four. No range begins below what memory "
    "needs, and LiteRT's not below what the core's multiply-accumulate units need. `dynamic` files, and runtimes other than"
    " LiteRT, get the range of both kinds: nothing published calibrates them. For a Raspberry Pi 4 at 1.8 GHz, the fast end"
    " follows the clock and the slow end stays. Heat, other programs and other versions of a runtime can put a board "
    "outside of its range."
)


def for_bundles(sha256s: set[str]) -> dict[str, Any] | None:
    """Return what is known about files with these SHA-256 hashes, as plain data for a report; None if nothing is.

    `instructions`: entries of instructions.json. `predictions`: board, file, bundle, variant, runtime, threads, low_ms, high_ms.
    `method`: words. `checked`: the predictions of published measurements that were left out, in words.
    """
    entries = [entry for entry in counted()["rows"] if entry["sha256"] in sha256s]
    if not entries:
        return None
    return {
        "label": "emulated and predicted, not measured",
        "instructions": entries,
        "predictions": list(predictions(entries)),
        "method": METHOD,
        "checked": checked(),
    }


def predictions(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield a range for each board, file, runtime and number of threads: board by board, files in order."""
    frames = bare_calls(entries)
    for board in BOARDS:
        for key in sorted(frames):
            entry = frames[key]
            if entry["core"] != board.core:
                continue
            for threads in THREADS:
                low, high = milliseconds(board, entry, threads)
                yield {
                    "board": board.name, "bundle": entry["bundle"], "variant": entry["variant"], "file": entry["file"],
                    "runtime": entry["runtime"], "threads": threads, "low_ms": round(low, 1), "high_ms": round(high, 1),
                }  # fmt: skip


def milliseconds(board: BoardModel, entry: Entry, threads: int) -> tuple[float, float]:
    """Predict the range for one count, scaled to 640x480 by pixels (LiteRT's instructions are proportional to within 1 %)."""
    pixels = SIZE_WH[0] * SIZE_WH[1]
    instructions, macs = entry["per_pixel"] * pixels, entry["macs_per_pixel"] * pixels
    kinds = _kinds(entry)
    speeds = [speed(board, kind, threads) for kind in kinds]
    cycles_per_ms = board.ghz * 1e6
    low = instructions / (max(each.fast for each in speeds) * cycles_per_ms)
    units = macs / (threads * max(board.macs_per_cycle[kind] for kind in kinds) * cycles_per_ms)
    if entry["runtime"] != "litert":
        units = 0.0  # ncnn and OpenCV multiply less than the network needs (Winograd), ncnn also in half precision
    high = instructions / (min(each.slow for each in speeds) * board.measured_ghz * 1e6)
    return max(low, units, memory_ms(board, entry)), high


def memory_ms(board: BoardModel, entry: Entry) -> float:
    """The least time that memory needs: the part of each operator's output that exceeds the cache is written and read once."""
    variant = {"fp16": "fp32"}.get(entry["variant"], entry["variant"])
    found = [each for each in counted()["activations"] if (each["bundle"], each["variant"]) == (entry["bundle"], variant)]
    cache_bytes = board.cache_mib * 2**20
    moved = sum(2 * max(0.0, size - cache_bytes) for each in found for size in each["bytes"])
    return moved / (board.memory_gb_s * 1e6)


def bare_calls(entries: Iterable[Entry]) -> dict[tuple[str, str, str], Entry]:
    """Bare calls of the runtime by file, runtime and core: the count at 640x480 if there is one, else at the smaller size."""
    frames: dict[tuple[str, str, str], Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry["size_wh"][0]):
        if entry["what"] == "invoke":
            frames[entry["file"], entry["runtime"], entry["core"]] = entry
    return frames


def _kinds(entry: Entry) -> tuple[str, ...]:
    if entry["runtime"] != "litert" or entry["variant"] == "dynamic":
        return KINDS
    return ("int8",) if entry["variant"] == "int8" else ("fp32",)
