"""When times are steady, and how sure their percentiles are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import Estimate, Latency

STEADY_SHARE = 0.03
STEADY_LEAST_S = 0.3
ROUNDS_SHARE = 0.05
RESOLUTION_MS = 0.02
"""Times that differ by less are the same: what a call of nothing takes, and a timer's own steps."""
_COMPARED_MS = 300.0
_RESAMPLES = 400


def is_steady(seconds: float, ms: Sequence[float]) -> bool:
    """Whether the warm-up is over after so many seconds and these frames (milliseconds).

    The median of the last five lies within 3 % of that of the five before, 0.3 s at least; of slow frames, as many as 0.3 s
    hold, and of those above 150 ms one.
    """
    if seconds < STEADY_LEAST_S or not ms:
        return False
    frames = max(1, min(5, int(_COMPARED_MS / max(ms[-1], RESOLUTION_MS))))
    if len(ms) < 2 * frames:
        return False
    before, last = np.median(ms[-2 * frames : -frames]), np.median(ms[-frames:])
    return bool(abs(last - before) <= STEADY_SHARE * before)


def latency(rounds: Sequence[Sequence[float]], warm_up_frames: int, steady: bool) -> Latency:
    """Percentiles over all rounds (milliseconds, warm-up left out) with 95 % intervals.

    Bootstrap in two stages: rounds are drawn with replacement, then within each drawn round blocks of neighbouring frames,
    since neighbours resemble each other (moving-block bootstrap, Künsch 1989). Seeded: the same times give the same intervals.
    """
    arrays = [np.asarray(r, np.float64) for r in rounds]
    pooled = np.concatenate(arrays)
    rng = np.random.default_rng(len(pooled))
    drawn = np.array([_figures(np.concatenate(_redrawn(arrays, rng))) for _ in range(_RESAMPLES)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    values = _figures(pooled)
    # The bootstrap of an upper percentile may lie to one side of it, and an interval holds its value.
    low, high = np.minimum(low, values), np.maximum(high, values)
    p50, p95, p99, jitter = (Estimate(float(v), float(lo), float(hi)) for v, lo, hi in zip(values, low, high, strict=True))
    medians = np.array([np.median(a) for a in arrays])
    middle = float(np.median(medians))
    alike = bool(np.all(np.abs(medians - middle) <= max(ROUNDS_SHARE * middle, RESOLUTION_MS)))
    return Latency(len(pooled), p50, p95, p99, jitter, tuple(float(m) for m in medians), warm_up_frames, steady and alike)


def _figures(ms: NDArray[np.float64]) -> NDArray[np.float64]:
    p5, p50, p95, p99 = np.percentile(ms, [5, 50, 95, 99])
    return np.array([p50, p95, p99, p95 - p5])


def _redrawn(rounds: list[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    chosen = [rounds[i] for i in rng.integers(0, len(rounds), len(rounds))]
    return [_blocks(frames, rng) for frames in chosen]


def _blocks(frames: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    length = max(1, round(len(frames) ** 0.5))
    starts = rng.integers(0, len(frames) - length + 1, -(-len(frames) // length))
    return frames[(starts[:, None] + np.arange(length)).ravel()[: len(frames)]]
