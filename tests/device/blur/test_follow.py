"""A blur is followed when it changes, and does not flicker while it does not."""

import numpy as np
import pytest
from blur_parts import seen, sharp_luma

from device.blur.follow import Follower
from device.blur.kernels import disk_kernel


def frames(radius: float, count: int, start: int = 0) -> list[np.ndarray]:
    """A picture that drifts past, out of focus by this radius."""
    blurred = seen(np.tile(sharp_luma("coffee"), (1, 2)), disk_kernel(radius) if radius else None)
    return [blurred[:, 3 * (start + i) : 3 * (start + i) + 500] for i in range(count)]


def test_the_first_picture_is_enough_and_the_psf_stays_the_same_object() -> None:
    follower = Follower()
    psfs = [follower.update(plane) for plane in frames(4.0, 6)]
    assert psfs[0].kind == "defocus"
    assert all(psf is psfs[0] for psf in psfs)


def test_a_change_is_followed_within_a_few_pictures() -> None:
    follower = Follower()
    for plane in frames(3.0, 3):
        follower.update(plane)
    sizes = [follower.update(plane).size_px for plane in frames(5.0, 8)]
    assert sizes[-1] == pytest.approx(5.0, rel=0.06)


def test_most_updates_only_look_and_what_drifts_past_is_not_a_change() -> None:
    follower = Follower()
    estimated = []
    for plane in frames(4.0, 20):
        follower.update(plane)
        assert follower.settled
        estimated.append(follower.estimated)
    assert estimated == [True] * 3 + [False] * 17


@pytest.mark.parametrize("after", [0, 2.5, 5.0])
def test_a_change_is_noticed_at_once_and_followed_by_the_third_picture(after: float) -> None:
    follower = Follower()
    for plane in frames(3.5, 10):
        follower.update(plane)
    changed = frames(after, 3)
    before = follower.psf
    assert follower.update(changed[0]) is before
    assert follower.estimated
    assert not follower.settled  # so the next picture is looked at soon
    follower.update(changed[1])
    follower.update(changed[2])
    assert follower.settled
    assert follower.psf.is_blind if after == 0 else follower.psf.size_px == pytest.approx(after, rel=0.06)


def test_a_blur_that_changes_slowly_is_followed() -> None:
    follower = Follower()
    for step, radius in enumerate(np.linspace(2.5, 5.0, 60)):
        follower.update(frames(float(radius), 1, step)[0])
    assert follower.psf.size_px == pytest.approx(5.0, rel=0.12)


def test_a_picture_in_focus_ends_it() -> None:
    follower = Follower()
    for plane in frames(4.0, 3):
        follower.update(plane)
    for plane in frames(0, 14):
        follower.update(plane)
    assert follower.psf.is_blind


def test_a_dark_moment_changes_nothing() -> None:
    follower = Follower()
    before = [follower.update(plane) for plane in frames(4.0, 3)][-1]
    for _ in range(10):
        follower.update(np.zeros_like(frames(4.0, 1)[0]))
    assert follower.psf is before
    assert not before.is_blind


def test_another_picture_size_starts_again() -> None:
    follower = Follower()
    for plane in frames(4.0, 3):
        follower.update(plane)
    half = seen(sharp_luma("coffee"), disk_kernel(2.5))[:300, :400]
    assert follower.update(half).size_px != pytest.approx(4.0, rel=0.2)
