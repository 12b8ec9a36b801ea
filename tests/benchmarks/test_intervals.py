"""When times are steady, and how certain their percentiles are."""

import numpy as np
import pytest

from benchmarks.intervals import is_steady, latency


def test_a_falling_series_is_steady_only_once_it_is_flat() -> None:
    falling = [40.0 - i for i in range(15)]
    flat = [25.0, 25.1, 24.9, 25.0, 25.2, 25.0, 25.1, 24.9, 25.0, 25.1]
    assert not is_steady(9.0, falling)
    assert not is_steady(9.0, falling + flat[:5])
    assert is_steady(9.0, falling + flat)


@pytest.mark.parametrize(("last_ms", "steady"), [(51.4, True), (51.6, False), (48.6, True), (48.4, False)])
def test_medians_more_than_three_percent_apart_are_not_steady(last_ms: float, steady: bool) -> None:
    assert is_steady(2.0, [50.0] * 5 + [last_ms] * 5) is steady


def test_the_warm_up_lasts_at_least_three_tenths_of_a_second_and_ten_frames() -> None:
    assert not is_steady(0.2, [10.0] * 20)
    assert is_steady(0.4, [10.0] * 20)
    assert not is_steady(9.0, [10.0] * 9)
    assert not is_steady(9.0, [])


def test_slow_frames_are_compared_one_by_one() -> None:
    assert is_steady(2.0, [900.0, 910.0])
    assert not is_steady(2.0, [1200.0, 900.0])
    assert not is_steady(2.0, [100.0] * 5)  # 0.3 s of them: three against three
    assert is_steady(2.0, [100.0] * 6)


def test_intervals_cover_the_truth_and_are_no_wider_than_the_spread_of_repeated_benchmarks() -> None:
    """Gamma-distributed frame times, rounds that differ by 1 %: 95 % of the intervals cover the true median.

    Repeating the benchmark shows how much its median really varies: a 95 % interval is 3.92 standard deviations wide.
    """
    rng = np.random.default_rng(0)
    true_median = float(np.median(rng.gamma(50, 0.2, 200_000)))
    estimates = []
    for _ in range(40):
        rounds = [list(rng.gamma(50, 0.2, 80) * rng.normal(1, 0.01)) for _ in range(3)]
        estimates.append(latency(rounds, 10, steady=True).p50_ms)
    covered = sum(estimate.low <= true_median <= estimate.high for estimate in estimates)
    width = np.mean([estimate.high - estimate.low for estimate in estimates])
    assert covered >= 38
    assert 0.8 <= width / (3.92 * np.std([estimate.value for estimate in estimates])) <= 1.6


def test_correlated_neighbouring_frames_make_the_interval_wider() -> None:
    """First-order autoregression of 0.9: 400 times say about as much as 20 independent ones. Shuffled, they seem independent."""
    rng = np.random.default_rng(3)
    for _ in range(3):
        times = [20.0]
        for noise in rng.normal(0, 0.4, 400):
            times.append(20 + 0.9 * (times[-1] - 20) + noise)
        ordered, shuffled = (latency([ms], 10, steady=True).p50_ms for ms in (times, list(rng.permutation(times))))
        assert ordered.high - ordered.low > 1.5 * (shuffled.high - shuffled.low)


def test_more_frames_make_intervals_narrower_and_rounds_that_differ_wider() -> None:
    rng = np.random.default_rng(1)
    few, many = ([list(rng.normal(20, 1, n)) for _ in range(3)] for n in (20, 2000))
    apart = [list(rng.normal(20 + shift, 1, 2000)) for shift in (-0.5, 0, 0.5)]
    width = [w.p50_ms.high - w.p50_ms.low for w in (latency(r, 10, steady=True) for r in (many, few, apart))]
    assert width[0] < width[1]
    assert width[0] < width[2]


def test_percentiles_are_ordered_and_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(2)
    found = latency([list(rng.gamma(4, 5, 60)) for _ in range(3)], 12, steady=True)
    assert found.p50_ms.value < found.p95_ms.value < found.p99_ms.value
    for estimate in (found.p50_ms, found.p95_ms, found.p99_ms, found.jitter_ms):
        assert estimate.low <= estimate.value <= estimate.high
    assert found.frames == 180
    assert found.warm_up_frames == 12


def test_the_same_times_give_the_same_intervals() -> None:
    rounds = [[20.0, 21, 20.5, 22, 20.1] * 6, [20.2, 21, 20.4, 25, 20.1] * 6]
    assert latency(rounds, 10, steady=True) == latency(rounds, 10, steady=True)


@pytest.mark.parametrize(("medians", "steady"), [((20.0, 20.8, 19.8), True), ((20.0, 20.0, 21.2), False)])
def test_rounds_more_than_five_percent_apart_are_not_steady(medians: tuple[float, ...], steady: bool) -> None:
    assert latency([[m] * 30 for m in medians], 10, steady=True).steady is steady
    assert latency([[20.0] * 30] * 3, 10, steady=False).steady is False
