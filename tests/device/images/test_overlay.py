"""Placeholder frames, and the stamp on a picture."""

import numpy as np
import pytest

from device.images.frame import NOT_RESTORED, Pixels, pixels_of
from device.images.overlay import placeholder, stamp
from device.images.yuv import Yuv, from_rgb

REASON = "/dev/video0: no frame for 2.5 s; check its plug, cable and power"
SIZES = [(64, 48), (640, 480), (480, 640), (3840, 2160), (97, 61)]
ODD_SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 5)]


def strokes(plane: np.ndarray) -> float:
    """Mean number of changes between light and dark per row: many for letters, two for a blob, none for an empty plane."""
    light = plane > 120
    return float((light[:, 1:] != light[:, :-1]).sum(axis=1).mean())


@pytest.mark.parametrize("size_wh", SIZES + ODD_SIZES)
def test_a_placeholder_has_the_requested_size(size_wh: tuple[int, int]) -> None:
    frame = placeholder(size_wh, REASON)
    assert frame.shape == size_wh[::-1]
    assert frame.rgb().shape == (*size_wh[::-1], 3)


@pytest.mark.parametrize("size_wh", SIZES)
def test_a_placeholder_is_dark_with_letters_that_do_not_touch_the_edges(size_wh: tuple[int, int]) -> None:
    y = placeholder(size_wh, "").y
    assert np.median(y) < 60
    assert y.max() > 180
    assert strokes(y) > 1
    rows, columns = np.nonzero(y > 120)
    assert rows.min() > 0
    assert rows.max() < size_wh[1] - 1
    assert columns.min() > 0
    assert columns.max() < size_wh[0] - 1
    assert columns.max() - columns.min() > 0.3 * size_wh[0]


def test_a_placeholder_shows_the_reason_if_it_is_readable() -> None:
    for size_wh, readable in (((640, 480), True), ((3840, 2160), True), ((64, 48), False)):
        with_reason, without = placeholder(size_wh, REASON).y, placeholder(size_wh, "").y
        assert (with_reason != without).any() == readable


def test_a_long_reason_with_other_characters_than_ascii_stays_inside() -> None:
    reason = "é→ " + 300 * "W" + " " + 200 * "word "
    y = placeholder((640, 480), reason).y
    assert (y[:, :8] < 60).all()
    assert (y[:, -8:] < 60).all()


@pytest.mark.parametrize("full_range", [True, False])
def test_a_stamped_picture_is_unchanged_above_the_bar_and_legible_on_it(picture: Pixels, full_range: bool) -> None:
    before = from_rgb(picture, "bt709", full_range)
    after = stamp(before, NOT_RESTORED)
    assert isinstance(after, Yuv)
    assert (after.matrix, after.full_range, after.shape) == ("bt709", full_range, before.shape)
    bar = int(np.argmax((after.y != before.y).any(axis=1)))
    assert bar > 0.7 * before.shape[0]
    np.testing.assert_array_equal(after.y[:bar], before.y[:bar])
    np.testing.assert_array_equal(after.u[: bar // 2], before.u[: bar // 2])
    assert strokes(after.y[bar:]) > 5
    assert (after.u[-2:] == 128).all()
    assert after.rgb()[bar + 2 :].std(axis=2).max() <= 2  # grey letters on a grey bar, regardless of the picture's colours


def test_a_stamped_rgb_picture_is_rgb_and_the_original_does_not_change(picture: Pixels) -> None:
    kept = picture.copy()
    after = stamp(picture, NOT_RESTORED)
    np.testing.assert_array_equal(picture, kept)
    assert after.shape == picture.shape
    assert strokes(pixels_of(after)[-12:, :, 0]) > 5


@pytest.mark.parametrize("size_wh", SIZES + ODD_SIZES)
def test_a_stamp_fits_every_size(size_wh: tuple[int, int]) -> None:
    picture = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    assert stamp(picture, NOT_RESTORED).shape == picture.shape
    assert stamp(from_rgb(picture), NOT_RESTORED).shape == picture.shape[:2]
