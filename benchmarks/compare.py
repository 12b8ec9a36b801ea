"""Two results of `deblurkit bench`: what improved, what is worse, what is noise; whether a change may be let in."""

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.boards.contributed import read
from benchmarks.environment import restless
from benchmarks.records import FAILED, MISSING, NETWORK, OK, Estimate, Result, Row
from benchmarks.verdict import BEYOND, IMPROVED, LEAST_MS, NOISE, WORSE, ratio, verdict
from device.errors import DataError, GateError, UsageError
from device.system.console import new_parser, print_json, start_logging, table

UNTIMED, NEW, GONE = "-", "new", "gone"
MEMORY_SHARE, MEMORY_MIB = 0.10, 5.0
_DRIFT_SHARE, _DRIFT_ROWS = 0.03, 5
_EXAMPLE = "deblurkit bench compare before/bench.json after/bench.json --tolerance 5%"
_HEADER = ["what", "A p50 ms", "B p50 ms", "B/A", "95 %", "B/A p95", "gain dB", "verdict"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """One row of both results, or of one of them."""

    label: str
    verdict: str
    """Of the time: `improved`, `worse`, `beyond` (worse beyond the tolerance), `noise`, `-` (not compared); or `new`, `gone`."""
    p50_ms: tuple[float | None, float | None]
    p50_ratio: Estimate | None
    """B's time by A's."""
    p95_ratio: float | None
    gain_db: tuple[float | None, float | None]
    regressions: tuple[str, ...]
    """What may not be let in, in words."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All rows, and what limits the comparison."""

    times_compared: bool
    times_judged: bool
    """Whether a slower row is called a regression: not where A or B is noisy."""
    quality_compared: bool
    warnings: tuple[str, ...]
    changes: tuple[str, ...]
    """What differs besides the figures and may be their reason: bundles, versions, governor."""
    rows: tuple[Change, ...]


def main(argv: list[str]) -> int:
    """`deblurkit bench compare A.json B.json`. Raises GateError where B is worse than A beyond the tolerance."""
    parser = new_parser("bench compare", "Tell whether the second result is better or worse than the first, or noise.", _EXAMPLE)
    parser.add_argument("a", type=Path, metavar="A.json", help="the result before: bench.json of a --report folder")
    parser.add_argument("b", type=Path, metavar="B.json", help="the result after")
    parser.add_argument("--tolerance", default="5%", metavar="SHARE", help="how much slower is let in, such as 5%% or 0.05")
    parser.add_argument(
        "--tolerance-db", type=float, default=0.05, metavar="DB", help="how much gain may be lost (default: 0.05)"
    )
    parser.add_argument("--across-machines", action="store_true", help="compare times of different machines too")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    tolerance = _share(options.tolerance)
    if not 0 <= options.tolerance_db < math.inf:
        raise UsageError(f"--tolerance-db {options.tolerance_db}: expected decibels, 0 or more")
    found = compare(
        read(options.a), read(options.b), tolerance=tolerance, tolerance_db=options.tolerance_db, across=options.across_machines
    )
    for warning in found.warnings:
        log.warning("%s", warning)
    worse = [f"{row.label}: {reason}" for row in found.rows for reason in row.regressions]
    if options.json:
        print_json({"a": str(options.a), "b": str(options.b), "tolerance": tolerance, "tolerance_db": options.tolerance_db}
                   | asdict(found) | {"regressions": worse})  # fmt: skip
    else:
        print(as_table(found))
    if worse:
        more = f"; and {len(worse) - 3} more" if len(worse) > 3 else ""
        raise GateError(f"B is worse than A beyond the tolerance: {'; '.join(worse[:3])}{more}")
    return 0


def compare(a: Result, b: Result, *, tolerance: float = 0.05, tolerance_db: float = 0.05, across: bool = False) -> Comparison:
    """Match the rows of both and judge each; `across` compares the times of different machines too.

    Raises DataError where they have no row in common.
    """
    times, quality, warnings = _comparable(a, b, across)
    before, after = _by_key(a, "A"), _by_key(b, "B")
    both = [key for key in before if key in after]
    if not both:
        raise DataError("A and B have no row in common (name, variant, format, runtime, threads); nothing can be compared")
    noisy = [name for name, result in (("A", a), ("B", b)) if restless(result.rows)]
    if times and noisy:
        warnings.append(f"{' and '.join(noisy)} noisy: no time is called a regression; measure again on a quiet machine")
    rows = [_change(before[key], after[key], times, not noisy, quality, tolerance, tolerance_db, a, b) for key in both]
    may_lack = not b.complete or a.suite != b.suite or a.machine.hardware_hash != b.machine.hardware_hash
    rows += [_gone(before[key], may_lack) for key in before if key not in after and before[key].status == OK]
    rows += [_alone(after[key], NEW, ()) for key in after if key not in before]
    ratios = [row.p50_ratio.value for row in rows if row.p50_ratio]
    middle = statistics.median(ratios) if len(ratios) >= _DRIFT_ROWS else 1.0
    if abs(middle - 1) > _DRIFT_SHARE:
        warnings.append(f"all rows together take {middle:.2f} of A's time: the machine or what all share, rather than one file")
    order = {BEYOND: 0, WORSE: 1, IMPROVED: 2, NOISE: 3}
    rows.sort(key=lambda row: (not row.regressions, order.get(row.verdict, 4)))
    pairs = [(before[key], after[key]) for key in both]
    return Comparison(times, times and not noisy, quality, tuple(warnings), _reasons(a, b, pairs), tuple(rows))


def as_table(found: Comparison) -> str:
    """For a terminal: a line for each row, then what is to be said of it, then reasons that there may be."""
    text = table(_HEADER, [_cells(row) for row in found.rows])
    for row in found.rows:
        text += "".join(f"\nregression: {row.label}: {reason}" for reason in row.regressions)
    for row in found.rows:
        text += "".join(f"\nnote: {row.label}: {note}" for note in row.notes)
    text += "".join(f"\nchanged: {change}" for change in found.changes)
    count = {name: sum(row.verdict == name for row in found.rows) for name in (IMPROVED, WORSE, BEYOND, NOISE)}
    return f"{text}\ntimes: " + ", ".join(f"{number} {name}" for name, number in count.items())


def _change(
    a: Row, b: Row, times: bool, calm: bool, quality: bool, tolerance: float, tolerance_db: float, of_a: Result, of_b: Result
) -> Change:
    regressions: list[str] = []
    notes: list[str] = []
    made = _alone(b, UNTIMED, ())
    if a.status == OK and b.status != OK:
        reason = f"{b.status}: {b.message}"
        unfinished = b.status == FAILED and not of_b.complete
        excused = unfinished or (b.status == MISSING and of_a.machine.hardware_hash != of_b.machine.hardware_hash)
        (notes if excused else regressions).append(reason)
    elif a.status != OK and b.status == OK:
        notes.append(f"was {a.status}, is measured now")
    if a.latency and b.latency and a.status == b.status == OK and times:
        between = ratio(a.latency, b.latency)
        said = verdict(a.latency, b.latency, between, tolerance)
        p95 = b.latency.p95_ms.value / max(LEAST_MS, a.latency.p95_ms.value)
        made = replace(made, verdict=said, p50_ratio=between, p95_ratio=p95)
        if between is None:
            notes.append("measured in one round: nothing says how far two runs differ by chance")
        elif said == BEYOND:
            (regressions if calm else notes).append(
                f"takes {between.value:.2f} of the time ({between.low:.2f} to {between.high:.2f})"
            )
        unsteady = [name for name, of in (("A", a.latency), ("B", b.latency)) if not of.steady]
        if unsteady:
            notes.append(f"not steady in {' and '.join(unsteady)}")
        if _needs_more_memory(a, b):
            regressions.append(f"peak memory {a.peak_rss_mib:.0f} MiB, now {b.peak_rss_mib:.0f}")
    if a.status == b.status == OK:
        _judge_pictures(a, b, quality, tolerance_db, of_b.complete, regressions, notes)
    p50_ms = (_p50_ms(a), _p50_ms(b))
    return replace(made, p50_ms=p50_ms, gain_db=(a.gain_db, b.gain_db), regressions=tuple(regressions), notes=tuple(notes))


def _needs_more_memory(a: Row, b: Row) -> bool:
    """Of networks only: a method that takes microseconds is timed so often that the list of its times is what grows."""
    if a.kind != NETWORK or a.peak_rss_mib is None or b.peak_rss_mib is None:
        return False
    return b.peak_rss_mib > max(a.peak_rss_mib * (1 + MEMORY_SHARE), a.peak_rss_mib + MEMORY_MIB)


def _judge_pictures(
    a: Row, b: Row, quality: bool, tolerance_db: float, complete: bool, regressions: list[str], notes: list[str]
) -> None:
    if a.agreement and not b.agreement:
        (regressions if complete else notes).append("its pictures were compared with the reference, and are no more")
    if b.agreement and b.agreement.psnr_db < b.agreement.needed_db:
        regressions.append(f"agrees with the reference to {b.agreement.psnr_db:.1f} dB, needed {b.agreement.needed_db:.1f}")
    if not quality:
        return
    if a.gain_db is not None and b.gain_db is None:
        (regressions if complete else notes).append(f"gain was {a.gain_db:+.2f} dB, is not measured")
    if a.gain_db is not None and b.gain_db is not None and round(a.gain_db - b.gain_db, 6) > tolerance_db:
        regressions.append(f"gain {a.gain_db:+.2f} dB, now {b.gain_db:+.2f}")
    for case, of in b.quality.items():
        if case in a.quality and a.quality[case].gain_db - of.gain_db > max(0.1, tolerance_db):
            notes.append(f"{case}: gain {a.quality[case].gain_db:+.2f} dB, now {of.gain_db:+.2f}")


def _gone(row: Row, excused: bool) -> Change:
    words = "was measured in A, is not in B"
    made = _alone(row, GONE, () if excused else (words,))
    return replace(made, p50_ms=(_p50_ms(row), None), gain_db=(row.gain_db, None), notes=(words,) if excused else ())


def _alone(row: Row, name: str, regressions: tuple[str, ...]) -> Change:
    notes = (f"{row.status}: {row.message}",) if name == NEW and row.status != OK else ()
    return Change(row.label, name, (None, _p50_ms(row)), None, None, (None, row.gain_db), regressions, notes)


def _p50_ms(row: Row) -> float | None:
    return row.latency.p50_ms.value if row.latency else None


def _comparable(a: Result, b: Result, across: bool) -> tuple[bool, bool, list[str]]:
    """(whether times are compared, whether quality is, what has to be said)."""
    times, said = True, []
    if a.machine.hardware_hash != b.machine.hardware_hash or a.machine.kind != b.machine.kind:
        times = across
        words = " and ".join(f"{m.board or m.cpu} ({m.cpu}, {m.cores} cores, {m.kind})" for m in (a.machine, b.machine))
        said.append(
            f"different machines, {words}: times are {'compared, as wished' if across else 'NOT compared (--across-machines)'}"
        )
    if "emulated" in (a.machine.kind, b.machine.kind):
        times = False
        said.append("measured on an emulated machine: times are NOT compared, they say nothing")
    if a.size_wh != b.size_wh:
        times = False
        said.append(
            "different frames, " + " and ".join("x".join(map(str, r.size_wh)) for r in (a, b)) + ": times are NOT compared"
        )
    quality = a.pictures == b.pictures
    if not quality:
        said.append(f"different pictures, {a.pictures} and {b.pictures}: quality is NOT compared")
    if a.suite != b.suite:
        said.append(f"different suites, {a.suite} and {b.suite}: rows that one has not are no regression")
    for name, result in (("A", a), ("B", b)):
        if not result.complete:
            said.append(f"{name} is partial (interrupted): compared as far as it goes")
        said += [f"{name}: {doubt}" for doubt in result.doubts]
    return times, quality, said


def _reasons(a: Result, b: Result, pairs: Sequence[tuple[Row, Row]]) -> tuple[str, ...]:
    found = [
        f"{name} {old} -> {new}"
        for name in ("governor", "most_mhz", "memory_mib", "system", "kernel")
        if (old := getattr(a.machine, name)) != (new := getattr(b.machine, name))
    ]
    for old, new in pairs:
        if old.bundle_hash != new.bundle_hash:
            found.append(f"bundle {new.name} {_short(old.bundle_hash)} -> {_short(new.bundle_hash)}")
        if old.status != OK or new.status != OK:
            continue  # nothing was measured, so no interpreter is known
        if old.python != new.python:
            found.append(f"Python {old.python} -> {new.python}")
        for name in sorted(old.versions.keys() | new.versions.keys()):
            if old.versions.get(name) != new.versions.get(name):
                found.append(f"{name} {old.versions.get(name, 'none')} -> {new.versions.get(name, 'none')}")
    return tuple(dict.fromkeys(found))


def _by_key(result: Result, name: str) -> dict[tuple[Any, ...], Row]:
    found: dict[tuple[Any, ...], Row] = {}
    for row in result.rows:
        key = (row.name, row.variant, (row.file or "").rpartition(".")[2], row.runtime, row.threads, row.kind)
        if key in found:
            raise DataError(f"{name}: two rows of {row.label}; expected one for each combination; measure again")
        found[key] = row
    return found


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise UsageError(f"--tolerance {text}: expected a share of the time below 100 %, such as 5% or 0.05")
    return share


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"


def _cells(row: Change) -> list[str]:
    a_ms, b_ms = (f"{ms:.2f}" if ms is not None else "-" for ms in row.p50_ms)
    a_db, b_db = (f"{db:+.2f}" if db is not None else "-" for db in row.gain_db)
    of = row.p50_ratio
    between = [f"{of.value:.3f}", f"{of.low:.3f}-{of.high:.3f}"] if of else ["-", "-"]
    p95 = f"{row.p95_ratio:.3f}" if row.p95_ratio is not None else "-"
    return [row.label, a_ms, b_ms, *between, p95, a_db if a_db == b_db else f"{a_db} -> {b_db}", row.verdict]
