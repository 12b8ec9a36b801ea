"""Print counted instructions and the milliseconds that are predicted from them. Nothing here was measured on a board.

python -m benchmarks.boards.predict            the tables of docs/boards-predicted.md
python -m benchmarks.boards.predict counts     the tables of docs/networks.md
python -m benchmarks.boards.predict against F  the times that a board measured (the bench.json F) beside its predictions
"""

import sys
from pathlib import Path

from benchmarks.boards.calibration import BOARDS, KINDS, THREADS, BoardModel, Entry, checked, counted, published, speed
from benchmarks.boards.prediction import SIZE_WH, bare_calls, milliseconds, predictions
from benchmarks.records import Machine, Result, read
from device.errors import DataError
from device.system.console import table


def tables() -> str:
    """Predictions, calibration and its check, in Markdown."""
    entries = list(predictions(counted()["rows"]))
    lines = [
        "| file | runtime |" + "".join(f" {board.name}: 1 / 4 threads |" for board in BOARDS),
        "|---|---|" + "---|" * len(BOARDS),
    ]
    for file, runtime in dict.fromkeys((entry["file"], entry["runtime"]) for entry in entries):
        cells = []
        for board in BOARDS:
            ranges = [e for e in entries if (e["file"], e["runtime"], e["board"]) == (file, runtime, board.name)]
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
    lines += [f"| {entry['what']} | {entry['predicted']} | {entry['published']} |" for entry in checked()]
    lines += ["", *(f"- {words}" for words in published()["sources"].values())]
    return "\n".join(lines)


def counts() -> str:
    """Instructions per pixel by file and runtime, and what a whole frame needs beside the runtime's call; Markdown."""
    frames = bare_calls(counted()["rows"])
    lines = ["| file | runtime | cortex-a76 | per kMAC | cortex-a72 | per kMAC |", "|---|---|---|---|---|---|"]
    for file, runtime in sorted({key[:2] for key in frames}):
        found = [frames[file, runtime, core] for core in ("cortex-a76", "cortex-a72")]
        cells = " | ".join(f"{entry['per_pixel']:.0f} | {entry['per_kmac']:.0f}" for entry in found)
        lines.append(f"| {file} | {runtime} {found[0]['runtime_version']} | {cells} |")
    kinds = ("from a camera's planes", "from R G B", "planes, undoing a motion of 17 pixels")
    lines += ["", "| a whole frame of 640x480 | core |" + "".join(f" {kind} | beside the call |" for kind in kinds)]
    lines.append("|---|---|" + "---|---|" * len(kinds))
    whole = {(entry["file"], entry["core"], entry["what"]): entry for entry in counted()["rows"] if entry["what"] != "invoke"}
    for file, core in sorted({key[:2] for key in whole}, key=lambda key: (key[0], key[1] == "cortex-a72")):
        cells = ""
        for what in ("planes", "rgb", "told"):
            entry = whole[file, core, what]
            ours = entry["per_pixel"] - frames[file, entry["runtime"], core]["per_pixel"]
            cells += f" {entry['per_pixel']:.0f} | {ours:.0f} |"
        lines.append(f"| {file} | {core} |{cells}")
    return "\n".join(lines)


def against(result: Result) -> list[Entry]:
    """Compare the measured p50 of the runtime's call with its prediction, for each row of a Raspberry Pi that has one.

    file, runtime, threads, low_ms, high_ms, measured_ms. Raises DataError for another machine or another frame.
    """
    board = next((board for board in BOARDS if _is(result.machine, board)), None)
    if board is None:
        known = ", ".join(board.name for board in BOARDS)
        raise DataError(f"{result.machine.board or result.machine.cpu}: no predictions for this machine; expected one of {known}")
    if result.size_wh != SIZE_WH:
        width, height = result.size_wh
        raise DataError(f"measured with a frame of {width}x{height}, but predictions are for 640x480; measure without --size")
    measured = {(row.sha256, row.runtime, row.threads): row.stages_ms["infer"] for row in result.rows if "infer" in row.stages_ms}
    compared = []
    for entry in bare_calls(counted()["rows"]).values():
        for threads in THREADS:
            ms = measured.get((entry["sha256"], entry["runtime"], threads))
            if ms is not None and entry["core"] == board.core:
                low, high = milliseconds(board, entry, threads)
                compared.append(
                    {"file": entry["file"], "runtime": entry["runtime"], "threads": threads,
                     "low_ms": low, "high_ms": high, "measured_ms": ms}
                )  # fmt: skip
    return compared


def comparison(result: Result) -> str:
    """Format `against` as a table with the number of rows inside their range."""
    cells = [
        [e["file"], e["runtime"], str(e["threads"]), f"{e['low_ms']:.0f}-{e['high_ms']:.0f}", f"{e['measured_ms']:.1f}",
         "inside" if e["low_ms"] <= e["measured_ms"] <= e["high_ms"] else "outside"]
        for e in against(result)
    ]  # fmt: skip
    inside = sum(row[-1] == "inside" for row in cells)
    header = ["file", "runtime", "threads", "predicted ms", "measured ms", ""]
    return f"{table(header, cells)}\n{inside} of {len(cells)} inside the predicted range"


def _is(machine: Machine, board: BoardModel) -> bool:
    named = (machine.board or "").startswith(board.name.split(",")[0])
    return named and machine.most_mhz is not None and abs(machine.most_mhz / 1000 - board.ghz) < 0.05


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["against", file]:
            try:
                print(comparison(read(Path(file))))
            except DataError as error:
                sys.exit(f"{error}")
        case ["counts"]:
            print(counts())
        case _:
            print(tables())
