"""How much a viewer is sent, with a simulated clock and network."""

import pytest

from device.sinks.web.stream_quality import LEVELS, StreamQuality


class Network:
    """Takes frames 30 times a second as far as its rate allows. At the best quality a frame has 150,000 bytes."""

    def __init__(self) -> None:
        self.now, self.quality = 100.0, StreamQuality(100.0)
        self.levels = [0]

    def run(self, seconds: float, bytes_per_s: float) -> None:
        end = self.now + seconds
        while self.now < end:
            level = self.quality.level
            size = {85: 150_000, 65: 100_000, 40: 70_000}[level.quality]
            busy_s = size / bytes_per_s
            self.now += max(busy_s, 1 / 30, level.interval_s)
            self.quality.sent(self.now, busy_s)
            if LEVELS.index(self.quality.level) != self.levels[-1]:
                self.levels.append(LEVELS.index(self.quality.level))


@pytest.fixture
def network() -> Network:
    return Network()


def test_a_quick_network_gets_every_frame_at_the_best_quality(network: Network) -> None:
    network.run(60, 100e6)
    assert network.levels == [0]


def test_a_slow_network_first_loses_quality_and_then_frames(network: Network) -> None:
    network.run(30, 200e3)
    assert network.levels[:4] == [0, 1, 2, 3]
    assert network.quality.level.interval_s > 0


def test_quality_and_rate_return_step_by_step_when_the_network_recovers(network: Network) -> None:
    network.run(30, 100e3)
    assert network.quality.level == LEVELS[-1]
    network.run(120, 100e6)
    assert network.levels[-5:] == [4, 3, 2, 1, 0]


def test_with_a_network_between_two_levels_the_better_one_is_tried_ever_more_rarely(network: Network) -> None:
    network.run(600, 4e6)  # quality 65 at 30 frames a second uses three quarters of it, 85 does not fit
    assert len(network.levels) < 25


def test_a_single_slow_frame_costs_one_step_and_comes_back(network: Network) -> None:
    network.run(5, 100e6)
    network.now += 4
    network.quality.sent(network.now, 4.0)
    assert network.quality.level == LEVELS[1]
    network.run(5, 100e6)
    assert network.quality.level == LEVELS[0]
