"""Compare two results row by row: what improved, what is worse, what is noise, and which changes are regressions."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.environment import unsteady_rows
from benchmarks.records import FAILED, MISSING, NETWORK, OK, Estimate, Result, Row
from benchmarks.verdict import BEYOND, IMPROVED, MIN_MS, NOISE, WORSE, ratio, verdict
from device.errors import DataError

UNTIMED, NEW, GONE = "-", "new", "gone"
MEMORY_SHARE, MEMORY_MIB = 0.10, 5.0
_DRIFT_SHARE, _DRIFT_ROWS = 0.03, 5
_CASE_NOTE_DB = 0.1


@dataclass(frozen=True)
class Change:
    """One row that is in both results, or in one of them."""

    label: str
    verdict: str
    """Of the time: `improved`, `worse`, `beyond` (worse beyond the tolerance), `noise`, `-` (not compared); or `new`, `gone`."""
    p50_ms: tuple[float | None, float | None]
    p50_ratio: Estimate | None
    """B's time divided by A's."""
    p95_ratio: float | None
    gain_db: tuple[float | None, float | None]
    regressions: tuple[str, ...]
    """Reasons not to accept B, in words."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All rows, and the limits of the comparison."""

    times_compared: bool
    times_judged: bool
    """Whether a slower row counts as a regression: not if A or B is noisy."""
    quality_compared: bool
    warnings: tuple[str, ...]
    changes: tuple[str, ...]
    """Other differences that may be the reason: bundles, versions, governor."""
    rows: tuple[Change, ...]


@dataclass(frozen=True)
class _Rules:
    """How two rows are judged."""

    times: bool
    quiet: bool
    quality: bool
    tolerance: float
    tolerance_db: float
    b_complete: bool
    same_machine: bool


def compare(a: Result, b: Result, *, tolerance: float = 0.05, tolerance_db: float = 0.05, across: bool = False) -> Comparison:
    """Match the rows of both results and judge each. `across` compares the times of different machines too.

    Raises DataError if they have no row in common.
    """
    times, quality, warnings = _comparable(a, b, across)
    before, after = _by_key(a, "A"), _by_key(b, "B")
    both = [key for key in before if key in after]
    if not both:
        raise DataError("A and B have no row in common (name, variant, format, runtime, threads); nothing can be compared")
    noisy = [name for name, result in (("A", a), ("B", b)) if unsteady_rows(result.rows)]
    if times and noisy:
        warnings.append(f"{' and '.join(noisy)} noisy: no time counts as a regression; measure again on a quiet machine")
    same_machine = a.machine.hardware_hash == b.machine.hardware_hash
    rules = _Rules(
        times=times,
        quiet=not noisy,
        quality=quality,
        tolerance=tolerance,
        tolerance_db=tolerance_db,
        b_complete=b.complete,
        same_machine=same_machine,
    )
    rows = [_change(before[key], after[key], rules) for key in both]
    may_lack = not b.complete or a.suite != b.suite or not same_machine
    rows += [_gone(before[key], may_lack) for key in before if key not in after and before[key].status == OK]
    rows += [_unmatched(after[key], NEW, ()) for key in after if key not in before]
    ratios = [row.p50_ratio.value for row in rows if row.p50_ratio]
    middle = statistics.median(ratios) if len(ratios) >= _DRIFT_ROWS else 1.0
    if abs(middle - 1) > _DRIFT_SHARE:
        warnings.append(f"the median row takes {middle:.2f} of A's time: the machine or a shared part changed, not one file")
    order = {BEYOND: 0, WORSE: 1, IMPROVED: 2, NOISE: 3}
    rows.sort(key=lambda row: (not row.regressions, order.get(row.verdict, 4)))
    return Comparison(
        times_compared=times,
        times_judged=times and not noisy,
        quality_compared=quality,
        warnings=tuple(warnings),
        changes=_other_changes(a, b, [(before[key], after[key]) for key in both]),
        rows=tuple(rows),
    )


def _change(a: Row, b: Row, rules: _Rules) -> Change:
    regressions: list[str] = []
    notes: list[str] = []
    change = _unmatched(b, UNTIMED, ())
    if a.status == OK and b.status != OK:
        unfinished = b.status == FAILED and not rules.b_complete
        excused = unfinished or (b.status == MISSING and not rules.same_machine)
        (notes if excused else regressions).append(f"{b.status}: {b.message}")
    elif a.status != OK and b.status == OK:
        notes.append(f"was {a.status}, is measured now")
    if a.latency and b.latency and a.status == b.status == OK and rules.times:
        p50_ratio = ratio(a.latency, b.latency)
        judged = verdict(a.latency, b.latency, p50_ratio, rules.tolerance)
        p95_ratio = b.latency.p95_ms.value / max(MIN_MS, a.latency.p95_ms.value)
        change = replace(change, verdict=judged, p50_ratio=p50_ratio, p95_ratio=p95_ratio)
        if p50_ratio is None:
            notes.append("measured in one round: it is unknown how much two runs differ by chance")
        elif judged == BEYOND:
            (regressions if rules.quiet else notes).append(
                f"takes {p50_ratio.value:.2f} of the time ({p50_ratio.low:.2f} to {p50_ratio.high:.2f})"
            )
        unsteady = [name for name, of in (("A", a.latency), ("B", b.latency)) if not of.steady]
        if unsteady:
            notes.append(f"not steady in {' and '.join(unsteady)}")
        if _needs_more_memory(a, b):
            regressions.append(f"peak memory {a.peak_rss_mib:.0f} MiB, now {b.peak_rss_mib:.0f}")
    if a.status == b.status == OK:
        _judge_output(a, b, rules, regressions, notes)
    return replace(
        change,
        p50_ms=(_p50_ms(a), _p50_ms(b)),
        gain_db=(a.gain_db, b.gain_db),
        regressions=tuple(regressions),
        notes=tuple(notes),
    )


def _needs_more_memory(a: Row, b: Row) -> bool:
    """Judge networks only: a method that takes microseconds is timed so often that the list of its times grows."""
    if a.kind != NETWORK or a.peak_rss_mib is None or b.peak_rss_mib is None:
        return False
    return b.peak_rss_mib > max(a.peak_rss_mib * (1 + MEMORY_SHARE), a.peak_rss_mib + MEMORY_MIB)


def _judge_output(a: Row, b: Row, rules: _Rules, regressions: list[str], notes: list[str]) -> None:
    if a.agreement and not b.agreement:
        (regressions if rules.b_complete else notes).append("its output was compared with the reference in A, not in B")
    if b.agreement and b.agreement.psnr_db < b.agreement.needed_db:
        regressions.append(f"parity with the reference is {b.agreement.psnr_db:.1f} dB, needed {b.agreement.needed_db:.1f}")
    if not rules.quality:
        return
    if a.gain_db is not None and b.gain_db is None:
        (regressions if rules.b_complete else notes).append(f"gain was {a.gain_db:+.2f} dB, is not measured now")
    if a.gain_db is not None and b.gain_db is not None and round(a.gain_db - b.gain_db, 6) > rules.tolerance_db:
        regressions.append(f"gain {a.gain_db:+.2f} dB, now {b.gain_db:+.2f}")
    for case, of in b.quality.items():
        if case in a.quality and a.quality[case].gain_db - of.gain_db > max(_CASE_NOTE_DB, rules.tolerance_db):
            notes.append(f"{case}: gain {a.quality[case].gain_db:+.2f} dB, now {of.gain_db:+.2f}")


def _gone(row: Row, excused: bool) -> Change:
    words = "was measured in A, is not in B"
    change = _unmatched(row, GONE, () if excused else (words,))
    return replace(change, p50_ms=(_p50_ms(row), None), gain_db=(row.gain_db, None), notes=(words,) if excused else ())


def _unmatched(row: Row, name: str, regressions: tuple[str, ...]) -> Change:
    return Change(
        label=row.label,
        verdict=name,
        p50_ms=(None, _p50_ms(row)),
        p50_ratio=None,
        p95_ratio=None,
        gain_db=(None, row.gain_db),
        regressions=regressions,
        notes=(f"{row.status}: {row.message}",) if name == NEW and row.status != OK else (),
    )


def _p50_ms(row: Row) -> float | None:
    return row.latency.p50_ms.value if row.latency else None


def _comparable(a: Result, b: Result, across: bool) -> tuple[bool, bool, list[str]]:
    """Return (whether times are compared, whether quality is compared, warnings)."""
    times, warnings = True, []
    if a.machine.hardware_hash != b.machine.hardware_hash or a.machine.kind != b.machine.kind:
        times = across
        words = " and ".join(f"{m.board or m.cpu} ({m.cpu}, {m.cores} cores, {m.kind})" for m in (a.machine, b.machine))
        what = "compared, as requested" if across else "NOT compared (--across-machines)"
        warnings.append(f"different machines, {words}: times are {what}")
    if "emulated" in (a.machine.kind, b.machine.kind):
        times = False
        warnings.append("measured on an emulated machine: times are NOT compared, they mean nothing")
    if a.size_wh != b.size_wh:
        times = False
        sizes = " and ".join("x".join(map(str, r.size_wh)) for r in (a, b))
        warnings.append(f"different frames, {sizes}: times are NOT compared")
    quality = a.pictures == b.pictures
    if not quality:
        warnings.append(f"different pictures, {a.pictures} and {b.pictures}: quality is NOT compared")
    if a.suite != b.suite:
        warnings.append(f"different suites, {a.suite} and {b.suite}: rows that only one of them has are not regressions")
    for name, result in (("A", a), ("B", b)):
        if not result.complete:
            warnings.append(f"{name} is partial (interrupted): only its measured rows are compared")
        warnings += [f"{name}: {doubt}" for doubt in result.doubts]
    return times, quality, warnings


def _other_changes(a: Result, b: Result, pairs: Sequence[tuple[Row, Row]]) -> tuple[str, ...]:
    changes = [
        f"{name} {old} -> {new}"
        for name in ("governor", "most_mhz", "memory_mib", "system", "kernel")
        if (old := getattr(a.machine, name)) != (new := getattr(b.machine, name))
    ]
    for old, new in pairs:
        if old.bundle_hash != new.bundle_hash:
            changes.append(f"bundle {new.name} {_short(old.bundle_hash)} -> {_short(new.bundle_hash)}")
        if old.status != OK or new.status != OK:
            continue  # not measured, so its interpreter is unknown
        if old.python != new.python:
            changes.append(f"Python {old.python} -> {new.python}")
        for name in sorted(old.versions.keys() | new.versions.keys()):
            if old.versions.get(name) != new.versions.get(name):
                changes.append(f"{name} {old.versions.get(name, 'none')} -> {new.versions.get(name, 'none')}")
    return tuple(dict.fromkeys(changes))


def _by_key(result: Result, name: str) -> dict[tuple[Any, ...], Row]:
    by_key: dict[tuple[Any, ...], Row] = {}
    for row in result.rows:
        key = (row.name, row.variant, (row.file or "").rpartition(".")[2], row.runtime, row.threads, row.kind)
        if key in by_key:
            raise DataError(f"{name}: two rows of {row.label}; expected one for each combination; measure again")
        by_key[key] = row
    return by_key


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
