"""Which camera frames may be shown."""

import numpy as np
import pytest

from device.images.yuv import Yuv, from_rgb
from device.sources import checks
from device.sources.checks import BadFrame, FreezeDetector, check_image


def yuv(y: int, u: int, v: int) -> Yuv:
    return Yuv(np.full((48, 64), y, np.uint8), np.full((24, 32), u, np.uint8), np.full((24, 32), v, np.uint8), "bt601", False)


def test_zero_planes_are_bad_but_black_is_good() -> None:
    for level in (0, 16):
        check_image(yuv(level, 128, 128))
        check_image(yuv(level, 128, 128).rgb())
    with pytest.raises(BadFrame, match="green"):
        check_image(yuv(0, 0, 0))
    with pytest.raises(BadFrame, match="empty"):
        check_image(np.zeros((0, 0, 3), np.uint8))


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
def test_zero_planes_are_detected_in_rgb_too(matrix: str, full_range: bool) -> None:
    zero = Yuv(*(np.zeros(shape, np.uint8) for shape in ((48, 64), (24, 32), (24, 32))), matrix, full_range)
    with pytest.raises(BadFrame, match="green"):
        check_image(zero.rgb())


def test_a_frame_without_its_lower_part_is_bad(picture: np.ndarray) -> None:
    image = from_rgb(picture)
    check_image(image)
    for plane in (image.y, image.u, image.v):
        plane[len(plane) * 3 // 4 :] = 0
    with pytest.raises(BadFrame):
        check_image(image)
    with pytest.raises(BadFrame):
        check_image(image.rgb())


def test_a_green_wall_is_a_picture() -> None:
    rng = np.random.default_rng(0)
    wall = np.zeros((48, 64, 3), np.uint8)
    wall[..., 1] = rng.integers(120, 140, (48, 64))
    check_image(wall)


def test_a_picture_that_does_not_change_for_long_is_reported_as_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checks.time, "monotonic", lambda: now[0])
    detector = FreezeDetector()
    said = []
    for level in (1, 1, 1, 2, 2):
        said.append(detector.check(yuv(level, 128, 128)))
        now[0] += checks.FROZEN_S
    assert [bool(text) for text in said] == [False, True, True, False, True]
    assert "frozen" in said[1]
