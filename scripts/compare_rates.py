"""How often `deblurkit bench compare` refuses a row, by how much slower it really is: the table of docs/results.md.

    .venv/bin/python scripts/compare_rates.py

For each line 100 runs are simulated and all pairs of them compared. Rounds differ by chance, and so do frames, which are also
correlated with their neighbours.
"""

import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from result_parts import measured_times  # noqa: E402

from benchmarks.records import Estimate, Latency  # noqa: E402
from benchmarks.verdict import BEYOND, NOISE, ratio, verdict  # noqa: E402

NOISES = ((0.01, 0.02), (0.02, 0.02), (0.04, 0.05))
SLOWER = (1.0, 1.05, 1.08, 1.10, 1.15, 1.20)
TOLERANCE, RUNS = 0.05, 100


def main() -> None:
    words = " | ".join(f"refused at +{share - 1:.0%}" for share in SLOWER)
    print(f"| rounds differ by | frames by | equal, but called a change | by the bare intervals | {words} |")
    print("|" + "---|" * (4 + len(SLOWER)))
    for rounds_share, frames_share in NOISES:
        rng = np.random.default_rng(6)
        pairs = list(combinations([measured_times(rng, 20.0, rounds_share, frames_share) for _ in range(RUNS)], 2))
        changed = np.mean([verdict(a, b, ratio(a, b), TOLERANCE) != NOISE for a, b in pairs])
        bare = np.mean([apart(a.p50_ms, b.p50_ms) for a, b in pairs])
        refused = [np.mean([judged(a, b, share) == BEYOND for a, b in pairs]) for share in SLOWER]
        print(
            f"| {rounds_share:.0%} | {frames_share:.0%} | {changed:.1%} | {bare:.1%} | "
            + " | ".join(f"{r:.1%}" for r in refused)
            + " |"
        )


def judged(a: Latency, b: Latency, share: float) -> str:
    slower = replace(b, p50_ms=Estimate(share * b.p50_ms.value, share * b.p50_ms.low, share * b.p50_ms.high))
    return verdict(a, slower, ratio(a, slower), TOLERANCE)


def apart(a: Estimate, b: Estimate) -> bool:
    """Whether the interval of the ratio, from the bootstrap intervals as they are, does not contain 1."""
    below = np.hypot(np.log(b.value / b.low), np.log(a.high / a.value))
    above = np.hypot(np.log(b.high / b.value), np.log(a.value / a.low))
    return not -above <= np.log(b.value / a.value) <= below


if __name__ == "__main__":
    main()
