"""Compare two medians: is the second better or worse than the first, or is the difference noise?"""

import math

from benchmarks.intervals import RESOLUTION_MS
from benchmarks.records import Estimate, Latency

IMPROVED, WORSE, BEYOND, NOISE = "improved", "worse", "beyond", "noise"
MIN_MS = 0.001
"""Shorter than any method: a logarithm needs a time above 0."""
_T_975 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
"""Student's t at 97.5 % by degrees of freedom."""
_Z_975 = 1.960


def ratio(a: Latency, b: Latency) -> Estimate | None:
    """B's median divided by A's, with a 95 % interval; None if either was measured in fewer than two rounds.

    The two bootstrap intervals are treated as independent and combined on the log scale, each side with its own distance
    (MOVER, Zou and Donner 2008). They are widened first: drawing n rounds with replacement covers only (n - 1)/n of their
    variance, and so few rounds need Student's t instead of the normal distribution (1.7 times for three and three). Without
    this, the interval of two equal runs misses 1 in 17 to 21 % of rows instead of 5 % (scripts/compare_rates.py).
    """
    fewest, freedom = min(len(a.rounds_p50_ms), len(b.rounds_p50_ms)), len(a.rounds_p50_ms) + len(b.rounds_p50_ms) - 2
    if fewest < 2:
        return None
    wider = _T_975[min(freedom, max(_T_975))] / _Z_975 * math.sqrt(fewest / (fewest - 1))
    (a_log, a_down, a_up), (b_log, b_down, b_up) = _logarithms(a.p50_ms), _logarithms(b.p50_ms)
    middle = b_log - a_log
    low, high = middle - wider * math.hypot(b_down, a_up), middle + wider * math.hypot(b_up, a_down)
    return Estimate(math.exp(middle), math.exp(low), math.exp(high))


def verdict(a: Latency, b: Latency, between: Estimate | None, tolerance: float) -> str:
    """Judge the times by the interval of their ratio: noise if it contains 1, or if both differ by less than 0.02 ms.

    A row is beyond the tolerance only if its whole interval is. A comparison judges dozens of rows: if the value alone counted,
    two equal runs on a noisy machine would fail. The price: a slowdown just beyond it on a noisy row is only `worse`.
    """
    if between is None or between.low <= 1 <= between.high or abs(b.p50_ms.value - a.p50_ms.value) < RESOLUTION_MS:
        return NOISE
    if between.high < 1:
        return IMPROVED
    return BEYOND if between.low > 1 + tolerance else WORSE


def _logarithms(of: Estimate) -> tuple[float, float, float]:
    """(log of the value, distance down to the interval's end, distance up)."""
    low, value, high = (math.log(max(MIN_MS, ms)) for ms in (of.low, of.value, of.high))
    return value, max(0.0, value - low), max(0.0, high - value)
