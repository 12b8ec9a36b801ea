"""The one rule for "best at F frames a second", and the Pareto front. The pick, the report and the table of boards use it.

A row reaches a rate if restoring a frame leaves 15 % of its interval to capture and output, even at the upper end of the
confidence interval of p95. Of the rows that reach it, the one with the most gain is best; the faster of two equal gains.
"""

from collections.abc import Iterable, Sequence

from benchmarks.records import NON_BLIND, OK, Latency, Row

INTERVAL_SHARE = 0.85
"""Share of the interval between two frames that restoring may take."""
EQUAL_DB = 0.05
"""Gains that differ by no more count as equal."""


def limit_ms(fps: float) -> float:
    """The most that restoring a frame may take at this rate."""
    return INTERVAL_SHARE * 1000 / fps


def fits(latency: Latency, most_ms: float) -> bool:
    """Return whether p95 is within `most_ms`, even at the upper end of its confidence interval."""
    return latency.p95_ms.high <= most_ms


def equal_to_best_db(gains_db: Iterable[float]) -> float:
    """The least gain that counts as equal to the best of `gains_db`."""
    return max(gains_db) - EQUAL_DB


def best_at(rows: Iterable[Row], fps: float) -> Row | None:
    """The best of `rows` at this rate; None if none of them reaches it."""
    able = [row for row in rows if row.latency and row.gain_db is not None and fits(row.latency, limit_ms(fps))]
    if not able:
        return None
    least_db = equal_to_best_db(row.gain_db or 0.0 for row in able)
    return min((row for row in able if (row.gain_db or 0.0) >= least_db), key=p50_ms)


def p50_ms(row: Row) -> float:
    """The median of a row that was timed."""
    assert row.latency is not None
    return row.latency.p50_ms.value


def pareto_front(rows: Sequence[Row]) -> set[int]:
    """Indices of the rows that no other row dominates: as fast (p50) and as good (gain to 0.01 dB), and better in one of both.

    Non-blind methods and `nothing` are left out.
    """
    points = {
        i: (row.latency.p50_ms.value, -round(row.gain_db, 2))
        for i, row in enumerate(rows)
        if row.status == OK and row.kind != NON_BLIND and row.name != "nothing" and row.latency and row.gain_db is not None
    }
    return {i for i, p in points.items() if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points.values())}
