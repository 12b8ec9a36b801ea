"""One line for each contributed result: the board, what is best at 30 frames a second, and the fastest."""

from typing import Any

from benchmarks.best_at_rate import best_at, p50_ms
from benchmarks.records import NETWORK, OK, Result, Row
from device.system.console import table

FPS = 30
_HEADER = ["board", "cpu", "kind", "date", "frame", f"best at {FPS} fps", "fastest", "file"]


def summarise(result: Result) -> dict[str, Any]:
    """Summarise a result: board, cpu, kind, date, size, best, fastest."""
    networks = measured_networks(result)
    best, fastest = best_at(networks, FPS), min(networks, key=p50_ms, default=None)
    machine = result.machine
    return {
        "board": machine.board or machine.cpu,
        "cpu": f"{machine.cpu}, {machine.cores} core{'' if machine.cores == 1 else 's'}",
        "kind": machine.kind,
        "date": result.started[:10],
        "size": "x".join(map(str, result.size_wh)),
        "best": _describe(best) if best else "none",
        "fastest": _describe(fastest) if fastest else "none",
    }


def measured_networks(result: Result) -> list[Row]:
    """The network rows with times and a gain."""
    return [row for row in result.rows if row.kind == NETWORK and row.status == OK and row.latency and row.gain_db is not None]


def as_table(results: dict[str, Result]) -> str:
    """Format a line for each board; `results` are by file name."""
    if not results:
        return "no results yet"
    return table(_HEADER, [[*summarise(result).values(), name] for name, result in results.items()])


def _describe(row: Row) -> str:
    """ "small int8.tflite, litert, 1 thread: 29.6 ms, +1.60 dB" """
    return f"{row.label}: {p50_ms(row):.1f} ms, {row.gain_db or 0:+.2f} dB"
