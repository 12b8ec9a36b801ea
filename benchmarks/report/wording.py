"""A result in words, for every form of the report: what to run, what each point of the front is best for, why to doubt it."""

import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.pick import SAME_DB, SHARE
from benchmarks.records import NETWORK, OK, Pick, Result, Row

RATES_FPS = (60, 30, 25, 15, 10, 5)
_SHARP = "sharp-in"


def by_speed(rows: Sequence[Row]) -> list[int]:
    """Indices: what was measured, fastest first; then the rows without figures as they came."""

    def order(i: int) -> tuple[bool, float]:
        timed = rows[i].latency
        return rows[i].status != OK, timed.p50_ms.value if timed is not None and rows[i].status == OK else 0.0

    return sorted(range(len(rows)), key=order)


def command(result: Result, pick: Pick) -> str:
    """The line that runs the pick; its bundle as it was given to the benchmark."""
    words = shlex.split(result.command)
    given = [after for word, after in pairwise(words) if word == "--bundle"]
    bundle = next((path for path in given if Path(path).name == pick.name), pick.name)
    flags = ["--bundle", bundle, "--variant", pick.variant, "--runtime", pick.runtime, "--threads", str(pick.threads)]
    return shlex.join(["deblurkit", "run", *flags])


def best_for(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """The front from fast to good, each point with what it is best for; one that is best for nothing named here is left out."""
    front = [rows[i] for i in by_speed(rows) if rows[i].front and rows[i].latency is not None]
    words: dict[int, list[str]] = {i: [] for i in range(len(front))}
    gains = [row.gain_db if row.gain_db is not None else 0.0 for row in front]
    if front:
        words[0].append("the fastest")
        words[_best(gains, range(len(front)))].append("the best picture")
    for fps in RATES_FPS:
        able = [i for i, row in enumerate(front) if row.latency and row.latency.p95_ms.high <= SHARE * 1000 / fps]
        if able:
            words[_best(gains, able)].append(str(fps))
    return [(row, said) for i, row in enumerate(front) if (said := _said(words[i], row))]


def _best(gains: Sequence[float], able: Sequence[int]) -> int:
    """The fastest of those that are as good as the best; `able` goes from fast to slow."""
    return next(i for i in able if gains[i] >= max(gains[k] for k in able) - SAME_DB)


def _said(words: list[str], row: Row) -> str:
    rates = [word for word in words if word.isdigit()]
    said = [word for word in words if not word.isdigit()]
    if rates:
        several = f"{', '.join(rates[:-1])} and {rates[-1]}" if len(rates) > 1 else rates[0]
        said.append(f"the best at {several} frames a second")
    if said and row.kind != NETWORK:
        said.append("not offered by deblurkit run")
    return ", ".join(said)


def doubts(result: Result) -> list[str]:
    """Reasons to distrust the result, the gravest first."""
    reasons = []
    if not result.complete:
        reasons.append("partial: the benchmark was interrupted, and some rows were measured in fewer rounds or not at all")
    if result.machine.kind == "emulated":
        reasons.append("emulated: the times on this machine say nothing about any board")
    return [*reasons, *(doubt for doubt in result.doubts if doubt not in reasons)]


def machine_line(result: Result) -> str:
    """The machine on one line."""
    found = result.machine
    words = [found.board, f"{found.cpu}, {found.cores} core{'' if found.cores == 1 else 's'}", found.system]
    return ", ".join(word for word in words if word)


def machine_facts(result: Result) -> list[tuple[str, str]]:
    """(name, value) of what the figures depend on and what does not change from row to row."""
    found = result.machine
    memory = f"{found.memory_mib} MiB" if found.memory_mib is not None else None
    facts = [
        ("board", found.board),
        ("processor", f"{found.cpu} ({found.machine}), {found.cores} cores for this process"),
        ("features", " ".join(found.features)),
        ("governor", found.governor),
        ("highest clock", f"{found.most_mhz:.0f} MHz" if found.most_mhz is not None else None),
        ("memory", memory),
        ("system", f"{found.system}, kernel {found.kernel}"),
        ("kind", found.kind),
        ("hardware hash", found.hardware_hash),
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
    """Milliseconds in as many digits as one can use; "-" for none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def share(value: float | None) -> str:
    """ "88 %"."""
    return "-" if value is None else f"{100 * value:.0f} %"


def sharp_db(row: Row) -> float | None:
    """PSNR of sharp pictures that went through, dB: what is left of a picture that needed nothing."""
    return row.quality[_SHARP].psnr_db if _SHARP in row.quality else None


def number(value: float | None, form: str) -> str:
    """The value in that format; "-" for none."""
    return "-" if value is None else format(value, form)


def without_figures(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """(status, what, message) of rows that are missing, failed or wrong; files that lack the same runtime are one entry."""
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
