"""A change of the blur is followed soon, but never at more than the share in the long run."""

import pytest

from device.loop.pace import Pace

SHARE, LOOK_S, ESTIMATE_S = 0.03, 0.03, 0.3


def cpu_s(of_looks: int, settled: bool) -> float:
    """CPU time in twenty minutes in which one of so many looks estimates."""
    pace, now_s, used_s, number = Pace(0.0), 0.0, 0.0, 0
    while now_s < 1200:
        estimated = number % of_looks == 0
        cost_s = ESTIMATE_S if estimated else LOOK_S
        number, used_s, now_s = number + 1, used_s + cost_s, now_s + cost_s
        now_s += pace.pause_s(now_s, cost_s, estimated=estimated, settled=settled)
    return used_s


def test_an_unclear_blur_is_looked_at_again_soon_a_clear_one_at_leisure() -> None:
    pace = Pace(0.0)
    assert pace.pause_s(1.0, LOOK_S, estimated=False, settled=True) == pytest.approx(2.0)
    assert pace.pause_s(4.0, ESTIMATE_S, estimated=True, settled=False) == 0.5
    assert pace.pause_s(5.0, ESTIMATE_S, estimated=True, settled=True) == pytest.approx(2.0)


@pytest.mark.parametrize(("of_looks", "settled"), [(1, False), (1, True), (2, False), (3, True), (32, True), (1000, False)])
def test_in_the_long_run_it_keeps_its_share(of_looks: int, settled: bool) -> None:
    assert cpu_s(of_looks, settled) < 1200 * SHARE + 3.0
