"""The choice between levels: worse at once, better after a dwell that grows with each attempt that does not last."""

from device.hysteresis import Hysteresis


def levels() -> Hysteresis:
    return Hysteresis(3, first_dwell_s=2.0, longest_dwell_s=8.0, proven_s=20.0)


def overload(hysteresis: Hysteresis, now: float) -> int:
    return hysteresis.update(now, overloaded=True, has_room=lambda: True)


def seconds_until_better(hysteresis: Hysteresis, now: float) -> float:
    """How long it takes until a better level is tried, if there is always room."""
    waited = 0.0
    while hysteresis.update(now + waited, overloaded=False, has_room=lambda: True) == 0:
        waited += 0.5
        assert waited < 100
    return waited


def test_overload_leads_to_the_next_worse_level_at_once_down_to_the_last() -> None:
    hysteresis = levels()
    assert [overload(hysteresis, now) for now in (0.0, 0.1, 0.2)] == [1, 1, 0]
    assert hysteresis.level == 2


def test_a_better_level_is_tried_only_after_the_dwell_and_if_there_is_room() -> None:
    hysteresis = levels()
    overload(hysteresis, 0.0)
    assert hysteresis.update(1.0, overloaded=False, has_room=lambda: True) == 0
    assert hysteresis.update(3.0, overloaded=False, has_room=lambda: False) == 0
    assert hysteresis.update(3.0, overloaded=False, has_room=lambda: True) == -1
    assert hysteresis.level == 0


def test_the_dwell_doubles_up_to_a_limit_while_better_levels_do_not_last() -> None:
    hysteresis, now, waits = levels(), 0.0, []
    for _ in range(5):
        overload(hysteresis, now)
        waits.append(seconds_until_better(hysteresis, now))
        now += waits[-1] + 1.0  # overloaded again a second later
    assert waits == [2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_dwell_is_short_again_once_a_better_level_has_lasted_even_without_room_for_the_next() -> None:
    hysteresis, now = levels(), 0.0
    for _ in range(3):
        overload(hysteresis, now)
        now += seconds_until_better(hysteresis, now) + 1.0
    overload(hysteresis, now)
    overload(hysteresis, now)
    now += seconds_until_better(hysteresis, now)
    assert hysteresis.level == 1
    hysteresis.update(now + 21.0, overloaded=False, has_room=lambda: False)
    now += 22.0
    overload(hysteresis, now)
    assert seconds_until_better(hysteresis, now) == 2.0
