"""The command `deblurkit bench compare`: is the second result better or worse than the first, and is it acceptable?"""

import logging
import math
from dataclasses import asdict
from pathlib import Path

from benchmarks.comparison import Change, Comparison, compare
from benchmarks.records import read
from benchmarks.verdict import BEYOND, IMPROVED, NOISE, WORSE
from device.errors import GateError, UsageError
from device.system.console import new_parser, print_json, start_logging, table

_EXAMPLE = "deblurkit bench compare before/bench.json after/bench.json --tolerance 5%"
_HEADER = ["what", "A p50 ms", "B p50 ms", "B/A", "95 %", "B/A p95", "gain dB", "verdict"]
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Compare A.json with B.json. Raises GateError if B is worse than A beyond the tolerance."""
    parser = new_parser("bench compare", "Tell whether the second result is better or worse than the first, or noise.", _EXAMPLE)
    parser.add_argument("a", type=Path, metavar="A.json", help="the result before: bench.json of a --report folder")
    parser.add_argument("b", type=Path, metavar="B.json", help="the result after")
    parser.add_argument("--tolerance", default="5%", metavar="SHARE", help="how much slower is accepted, such as 5%% or 0.05")
    parser.add_argument(
        "--tolerance-db", type=float, default=0.05, metavar="DB", help="how much loss of gain is accepted (default: 0.05)"
    )
    parser.add_argument("--across-machines", action="store_true", help="compare times of different machines too")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    tolerance = _share(options.tolerance)
    if not 0 <= options.tolerance_db < math.inf:
        raise UsageError(f"--tolerance-db {options.tolerance_db}: expected decibels, 0 or more")
    comparison = compare(
        read(options.a), read(options.b), tolerance=tolerance, tolerance_db=options.tolerance_db, across=options.across_machines
    )
    for warning in comparison.warnings:
        log.warning("%s", warning)
    worse = [f"{row.label}: {reason}" for row in comparison.rows for reason in row.regressions]
    if options.json:
        print_json({"a": str(options.a), "b": str(options.b), "tolerance": tolerance, "tolerance_db": options.tolerance_db}
                   | asdict(comparison) | {"regressions": worse})  # fmt: skip
    else:
        print(as_table(comparison))
    if worse:
        more = f"; and {len(worse) - 3} more" if len(worse) > 3 else ""
        raise GateError(f"B is worse than A beyond the tolerance: {'; '.join(worse[:3])}{more}")
    return 0


def as_table(comparison: Comparison) -> str:
    """Format for a terminal: a line for each row, then regressions and notes, then changes that may be the reason."""
    text = table(_HEADER, [_cells(row) for row in comparison.rows])
    for row in comparison.rows:
        text += "".join(f"\nregression: {row.label}: {reason}" for reason in row.regressions)
    for row in comparison.rows:
        text += "".join(f"\nnote: {row.label}: {note}" for note in row.notes)
    text += "".join(f"\nchanged: {change}" for change in comparison.changes)
    count = {name: sum(row.verdict == name for row in comparison.rows) for name in (IMPROVED, WORSE, BEYOND, NOISE)}
    return f"{text}\ntimes: " + ", ".join(f"{number} {name}" for name, number in count.items())


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise UsageError(f"--tolerance {text}: expected a share of the time below 100 %, such as 5% or 0.05")
    return share


def _cells(row: Change) -> list[str]:
    a_ms, b_ms = (f"{ms:.2f}" if ms is not None else "-" for ms in row.p50_ms)
    a_db, b_db = (f"{db:+.2f}" if db is not None else "-" for db in row.gain_db)
    of = row.p50_ratio
    ratio = [f"{of.value:.3f}", f"{of.low:.3f}-{of.high:.3f}"] if of else ["-", "-"]
    p95 = f"{row.p95_ratio:.3f}" if row.p95_ratio is not None else "-"
    return [row.label, a_ms, b_ms, *ratio, p95, a_db if a_db == b_db else f"{a_db} -> {b_db}", row.verdict]
