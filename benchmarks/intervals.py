"""When times are steady, and how certain their percentiles are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import Estimate, Latency

STEADY_SHARE = 0.03
STEADY_MIN_S = 0.3
ROUNDS_SHARE = 0.05
RESOLUTION_MS = 0.02
"""Times that differ by less count as equal: this is the cost of an empty call plus the timer's own resolution."""
_COMPARED_MS = 300.0
_RESAMPLES = 400


def is_steady(seconds: float, ms: Sequence[float]) -> bool:
    """Return whether the warm-up is over, after `seconds` and the frame times `ms` so far.

    It is over once at least 0.3 s have passed and the median of the last five frames lies within 3 % of the median of the five
    before. Of slow frames, as many are compared as fit into 0.3 s; of frames above 150 ms, one.
    """
    if seconds < STEADY_MIN_S or not ms:
        return False
    frames = max(1, min(5, int(_COMPARED_MS / max(ms[-1], RESOLUTION_MS))))
    if len(ms) < 2 * frames:
        return False
    before, last = np.median(ms[-2 * frames : -frames]), np.median(ms[-frames:])
    return bool(abs(last - before) <= STEADY_SHARE * before)


def latency(rounds: Sequence[Sequence[float]], warm_up_frames: int, steady: bool) -> Latency:
    """Compute percentiles over all rounds with 95 % intervals; `rounds` are frame times in ms without the warm-up.

    The bootstrap has two stages: draw rounds with replacement, then draw blocks of neighbouring frames within each drawn round,
    because neighbouring frames are correlated (moving-block bootstrap, Künsch 1989). The seed is fixed: the same times give the
    same intervals.
    """
    arrays = [np.asarray(r, np.float64) for r in rounds]
    pooled = np.concatenate(arrays)
    rng = np.random.default_rng(len(pooled))
    resampled = np.array([_percentiles(np.concatenate(_resample_rounds(arrays, rng))) for _ in range(_RESAMPLES)])
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    values = _percentiles(pooled)
    # The bootstrap of an upper percentile may lie to one side of it, but an interval must contain its value.
    low, high = np.minimum(low, values), np.maximum(high, values)
    p50, p95, p99, jitter = (Estimate(float(v), float(lo), float(hi)) for v, lo, hi in zip(values, low, high, strict=True))
    medians = np.array([np.median(a) for a in arrays])
    middle = float(np.median(medians))
    rounds_match = bool(np.all(np.abs(medians - middle) <= max(ROUNDS_SHARE * middle, RESOLUTION_MS)))
    return Latency(
        frames=len(pooled),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        jitter_ms=jitter,
        rounds_p50_ms=tuple(float(m) for m in medians),
        warm_up_frames=warm_up_frames,
        steady=steady and rounds_match,
    )


def _percentiles(ms: NDArray[np.float64]) -> NDArray[np.float64]:
    p5, p50, p95, p99 = np.percentile(ms, [5, 50, 95, 99])
    return np.array([p50, p95, p99, p95 - p5])


def _resample_rounds(rounds: list[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    chosen = [rounds[i] for i in rng.integers(0, len(rounds), len(rounds))]
    return [_resample_blocks(frames, rng) for frames in chosen]


def _resample_blocks(frames: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    length = max(1, round(len(frames) ** 0.5))
    starts = rng.integers(0, len(frames) - length + 1, -(-len(frames) // length))
    return frames[(starts[:, None] + np.arange(length)).ravel()[: len(frames)]]
