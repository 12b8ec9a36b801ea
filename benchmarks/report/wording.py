"""A result in words, for every form of the report: what to run, what each Pareto optimal row is best for, why to doubt it."""

import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.best_at_rate import best_at, equal_to_best_db
from benchmarks.records import NETWORK, OK, Pick, Result, Row

RATES_FPS = (60, 30, 25, 15, 10, 5)
_SHARP = "sharp-in"


def by_speed(rows: Sequence[Row]) -> list[int]:
    """Indices of the rows: measured ones first, fastest first; then those without figures in their order."""

    def order(i: int) -> tuple[bool, float]:
        timed = rows[i].latency
        return rows[i].status != OK, timed.p50_ms.value if timed is not None and rows[i].status == OK else 0.0

    return sorted(range(len(rows)), key=order)


def command(result: Result, pick: Pick) -> str:
    """The command that runs the pick, with the bundle as it was given to the benchmark."""
    words = shlex.split(result.command)
    bundles = [after for word, after in pairwise(words) if word == "--bundle"]
    bundle = next((path for path in bundles if Path(path).name == pick.name), pick.name)
    flags = ["--bundle", bundle, "--variant", pick.variant, "--runtime", pick.runtime, "--threads", str(pick.threads)]
    return shlex.join(["deblurkit", "run", *flags])


def best_for(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """The Pareto front from fast to good, each row with what it is best for; rows that are best for nothing are left out."""
    front = [rows[i] for i in by_speed(rows) if rows[i].front and rows[i].latency is not None]
    if not front:
        return []
    words: dict[int, list[str]] = {i: [] for i in range(len(front))}
    rates: dict[int, list[str]] = {i: [] for i in range(len(front))}
    least_db = equal_to_best_db(row.gain_db or 0.0 for row in front)
    words[0].append("the fastest")
    words[next(i for i, row in enumerate(front) if (row.gain_db or 0.0) >= least_db)].append("the best picture")
    for fps in RATES_FPS:
        best = best_at(front, fps)
        if best is not None:
            rates[next(i for i, row in enumerate(front) if row is best)].append(str(fps))
    return [(row, described) for i, row in enumerate(front) if (described := _describe(words[i], rates[i], row))]


def _describe(words: list[str], rates: list[str], row: Row) -> str:
    if rates:
        several = f"{', '.join(rates[:-1])} and {rates[-1]}" if len(rates) > 1 else rates[0]
        words = [*words, f"the best at {several} frames a second"]
    if words and row.kind != NETWORK:
        words = [*words, "not offered by deblurkit run"]
    return ", ".join(words)


def doubts(result: Result) -> list[str]:
    """Reasons to distrust the result, the most serious first."""
    reasons = []
    if not result.complete:
        reasons.append("partial: the benchmark was interrupted; some rows were measured in fewer rounds or not at all")
    if result.machine.kind == "emulated":
        reasons.append("emulated: the times on this machine say nothing about any board")
    return [*reasons, *(doubt for doubt in result.doubts if doubt not in reasons)]


def machine_line(result: Result) -> str:
    """The machine in one line."""
    machine = result.machine
    words = [machine.board, f"{machine.cpu}, {machine.cores} core{'' if machine.cores == 1 else 's'}", machine.system]
    return ", ".join(word for word in words if word)


def machine_facts(result: Result) -> list[tuple[str, str]]:
    """(name, value) of what the figures of all rows depend on."""
    machine = result.machine
    memory = f"{machine.memory_mib} MiB" if machine.memory_mib is not None else None
    facts = [
        ("board", machine.board),
        ("processor", f"{machine.cpu} ({machine.machine}), {machine.cores} cores for this process"),
        ("features", " ".join(machine.features)),
        ("governor", machine.governor),
        ("highest clock", f"{machine.most_mhz:.0f} MHz" if machine.most_mhz is not None else None),
        ("memory", memory),
        ("system", f"{machine.system}, kernel {machine.kernel}"),
        ("kind", machine.kind),
        ("hardware hash", machine.hardware_hash),
        ("command", result.command),
        ("measured", f"{result.started}, {result.seconds:.0f} s" + (f", {result.rounds} rounds" if result.rows else "")),
    ]
    return [(name, value) for name, value in facts if value]


def figures(row: Row) -> str:
    """ "29.6 ms (p95 31.0), +1.60 dB"."""
    parts = []
    if row.latency is not None:
        parts.append(f"{ms(row.latency.p50_ms.value)} ms (p95 {ms(row.latency.p95_ms.value)})")
    if row.gain_db is not None:
        parts.append(f"{row.gain_db:+.2f} dB")
    return ", ".join(parts)


def ms(value: float | None) -> str:
    """Milliseconds with a useful number of digits; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def share(value: float | None) -> str:
    """ "88 %"."""
    return "-" if value is None else f"{100 * value:.0f} %"


def sharp_db(row: Row) -> float | None:
    """PSNR of restored pictures that were already sharp, dB."""
    return row.quality[_SHARP].psnr_db if _SHARP in row.quality else None


def number(value: float | None, form: str) -> str:
    """The value in this format; "-" for None."""
    return "-" if value is None else format(value, form)


def without_figures(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """(status, what, message) of rows that are missing, failed or wrong; files whose runtime is missing share one entry."""
    same: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in rows:
        if row.status != OK:
            alone = "" if row.status == "missing" else row.label
            same.setdefault((row.status, row.runtime, row.message + "\0" + alone), []).append(row)
    found = []
    for (status, runtime, text), group in same.items():
        what = group[0].label if len(group) == 1 else f"{runtime} ({len(group)} combinations)"
        found.append((status, what, text.partition("\0")[0]))
    return found
