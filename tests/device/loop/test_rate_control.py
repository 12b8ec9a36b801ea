"""A frame rate or age is kept in steps, without a clock: the test says how long each restoration takes."""

from collections.abc import Callable

import pytest

from device.loop.rate_control import RateControl, Step

INTERVAL_S = 1 / 30


class Board:
    """A board whose models take `seconds[model]`, `heat` times as long when it is hot; 30 frames a second arrive."""

    def __init__(self, *seconds: float, fps: float = 30.0, max_age_s: float = 0.0) -> None:
        self.seconds, self.heat = seconds, 1.0
        self.rate_control = RateControl(len(seconds), fps, max_age_s, 30.0)
        self.now, self.index = 1000.0, 0
        self.steps: list[Step] = []

    def run(self, for_s: float, jitter: Callable[[int], float] = lambda index: 1.0) -> Step:
        end = self.now + for_s
        while self.now < end:
            self.index += 1
            arrived = 1000.0 + self.index * INTERVAL_S
            if arrived < self.now - INTERVAL_S or not self.rate_control.wants(self.index):
                continue  # a newer one has arrived, or this one is skipped
            began = max(self.now, arrived)
            took = self.seconds[self.rate_control.step.model] * self.heat * jitter(self.index)
            self.now = began + took
            self.rate_control.restored(self.now, took, self.now - arrived)
            if not self.steps or self.steps[-1] != self.rate_control.step:
                self.steps.append(self.rate_control.step)
        return self.rate_control.step


def test_a_model_that_is_fast_enough_stays_at_the_best_level() -> None:
    board = Board(0.030, 0.010)
    assert board.run(120) == Step(0, 1)
    assert board.rate_control.changes == 0


def test_a_model_that_is_a_little_slow_restores_every_second_frame() -> None:
    assert Board(0.045, 0.010).run(2) == Step(0, 2)


def test_a_model_that_is_much_too_slow_is_replaced_by_the_smaller_one() -> None:
    assert Board(0.090, 0.020).run(2) == Step(1, 1)


def test_a_slow_smaller_model_restores_every_second_frame_too() -> None:
    assert Board(0.200, 0.050).run(5) == Step(1, 2)


def test_a_target_out_of_reach_leads_to_the_last_step() -> None:
    board = Board(0.9, 0.5)
    assert board.run(60) == Step(1, 2)
    assert board.rate_control.changes == 3


def test_heat_lowers_the_level_and_cooling_restores_it() -> None:
    board = Board(0.025, 0.008)
    assert board.run(10) == Step(0, 1)
    board.heat = 1.8
    assert board.run(5) == Step(0, 2)
    board.heat = 3.0
    assert board.run(5) == Step(1, 1)
    board.heat = 1.0
    assert board.run(30) == Step(0, 1)
    assert board.steps == [Step(0, 1), Step(0, 2), Step(1, 1), Step(0, 2), Step(0, 1)]


def test_a_smaller_model_is_kept_while_the_larger_one_would_not_fit() -> None:
    board = Board(0.090, 0.020)
    assert board.run(600) == Step(1, 1)
    assert board.rate_control.changes == 2  # two steps worse, and no attempt at a better one


@pytest.mark.parametrize("seconds", [0.0305, 0.0320, 0.0330, 0.0345])
def test_a_model_on_the_edge_does_not_flap(seconds: float) -> None:
    board = Board(seconds, 0.010)
    board.run(600, jitter=lambda index: 1.0 + 0.08 * ((index * 7919) % 13 - 6) / 6)
    assert board.rate_control.changes <= 2


def test_a_better_step_that_does_not_last_is_tried_ever_more_rarely() -> None:
    """The larger model fits while the smaller one runs, and heats the board when it runs itself."""
    board = Board(0.090, 0.020)
    board.run(3)
    changes = []
    for _ in range(10):
        before = board.rate_control.changes
        end = board.now + 60
        while board.now < end:
            board.heat = 1.0 if board.rate_control.step.model == 0 else 0.45
            board.run(0.5)
        changes.append(board.rate_control.changes - before)
    assert changes[0] > 0
    assert sum(changes[5:]) < sum(changes[:5])
    assert changes[-1] <= 2


def test_one_slow_frame_changes_nothing() -> None:
    board = Board(0.025, 0.008)
    board.run(60, jitter=lambda index: 10.0 if index % 100 == 50 else 1.0)
    assert board.rate_control.changes == 0


def test_a_frame_age_is_kept_too() -> None:
    board = Board(0.030, 0.010, fps=0.0, max_age_s=0.025)
    assert board.run(5) == Step(1, 1)
    board = Board(0.020, 0.010, fps=0.0, max_age_s=0.025)
    assert board.run(60) == Step(0, 1)


def test_if_the_camera_is_slower_than_the_target_its_rate_sets_the_available_time() -> None:
    rate_control = RateControl(1, 30.0, 0.0, 10.0)
    for i in range(100):
        rate_control.restored(i * 0.1, 0.08, 0.1)
    assert rate_control.step == Step(0, 1)


def test_frames_are_skipped_evenly() -> None:
    rate_control = RateControl(1, 30.0, 0.0, 30.0)
    assert [rate_control.wants(i) for i in range(4)] == [True] * 4
    rate_control._hysteresis.level = 1
    assert [rate_control.wants(i) for i in range(4)] == [True, False, True, False]
