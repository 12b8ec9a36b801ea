"""Camera planes and R G B must agree for every matrix, range and row padding."""

import cv2
import numpy as np
import pytest

from device.images.frame import Frame, luma_of
from device.images.scenes import chart
from device.images.yuv import Yuv, from_i420, from_nv12, from_rgb, from_yuyv

KINDS = [(matrix, full) for matrix in ("bt601", "bt709") for full in (True, False)]
# Colours whose confusion would be noticed, and their limited-range values from the tables of BT.601 and BT.709.
COLOURS = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (90, 120, 30), (17, 200, 201)]
STUDIO = {
    "bt601": {
        (255, 0, 0): (81, 90, 240),
        (0, 255, 0): (145, 54, 34),
        (0, 0, 255): (41, 240, 110),
        (255, 255, 255): (235, 128, 128),
    },
    "bt709": {(255, 0, 0): (63, 102, 240), (0, 255, 0): (173, 42, 26), (0, 0, 255): (32, 240, 118), (0, 0, 0): (16, 128, 128)},
}


def flat(colour: tuple[int, int, int], height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that change slowly, so that chroma of half the size is accurate to a level."""
    y, x = np.mgrid[:height, :width] / 400
    return np.clip(np.stack([60 + 120 * x, 200 - 100 * y, 90 + 60 * (x + y)], -1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("matrix", STUDIO)
def test_primaries_have_the_values_of_the_standard(matrix: str) -> None:
    for colour, expected in STUDIO[matrix].items():
        yuv = from_rgb(flat(colour), matrix, full_range=False)
        seen = np.array([yuv.y[0, 0], yuv.u[0, 0], yuv.v[0, 0]], int)
        assert np.abs(seen - expected).max() <= 1  # OpenCV's integers have ten fractional bits


@pytest.mark.parametrize(("matrix", "full"), KINDS)
@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_flat_colours_come_back_within_one_level(matrix: str, full: bool, colour: tuple[int, int, int]) -> None:
    back = from_rgb(flat(colour), matrix, full).rgb()
    assert np.abs(back.astype(int) - flat(colour)).max() <= (1 if full else 2)  # 219 levels for 255


@pytest.mark.parametrize(("matrix", "full"), KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (33, 47), (64, 96)], ids=str)
def test_every_size_keeps_its_shape(matrix: str, full: bool, size: tuple[int, int]) -> None:
    yuv = from_rgb(smooth(*size), matrix, full)
    assert yuv.shape == size
    assert yuv.u.shape == yuv.v.shape == (-(-size[0] // 2), -(-size[1] // 2))
    assert np.abs(yuv.rgb().astype(int) - smooth(*size)).max() <= 3


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_limited_and_full_range_agree_within_one_level_of_rgb(matrix: str) -> None:
    rgb = smooth(64, 96)
    limited = from_rgb(rgb, matrix, full_range=False)
    assert limited.in_full_range().full_range
    difference = np.abs(limited.in_full_range().y.astype(int) - from_rgb(rgb, matrix).y)
    assert difference.max() <= 1
    assert np.abs(limited.in_full_range().rgb().astype(int) - limited.rgb()).max() <= 2  # rounded once more
    assert np.abs(limited.rgb().astype(int) - from_rgb(rgb, matrix).rgb()).mean() < 1


def test_full_range_luma_equals_what_luma_models_were_trained_on() -> None:
    picture = chart(96, 128)
    assert np.abs(from_rgb(picture).y.astype(int) - luma_of(picture)).max() <= 1


@pytest.mark.parametrize("stride", [96, 128, 704])
@pytest.mark.parametrize("height", [48, 49])
def test_padded_rows_are_cropped_by_stride(stride: int, height: int) -> None:
    yuv = from_rgb(chart(height, 96), "bt601", full_range=False)
    rows = -(-height // 2)
    planar = np.full(stride * height + 2 * (stride // 2) * rows, 255, np.uint8)
    views = from_i420(planar, 96, height, stride, "bt601", full_range=False)
    pairs = np.full(stride * (height + rows), 255, np.uint8)
    both = from_nv12(pairs, 96, height, stride, "bt601", full_range=False)
    for view in (views, both):  # views: writing to them fills the buffer like a camera
        view.y[:], view.u[:], view.v[:] = yuv.y, yuv.u, yuv.v
    assert (planar.reshape(-1)[96:stride] == 255).all()
    for view in (views, both):
        assert np.array_equal(view.rgb(), yuv.rgb())
        assert np.array_equal(view.copy().rgb(), yuv.rgb())


def test_planar_and_semi_planar_layouts_equal_those_of_opencv() -> None:
    rgb = smooth(64, 96)
    yuv = from_rgb(rgb, "bt601", full_range=False)
    planar = np.concatenate([yuv.y.ravel(), yuv.u.ravel(), yuv.v.ravel()]).reshape(96, 96)
    pairs = np.concatenate([yuv.y.ravel(), np.stack([yuv.u, yuv.v], -1).ravel()]).reshape(96, 96)
    for buffer, code, read in (
        (planar, cv2.COLOR_YUV2RGB_I420, from_i420),
        (pairs, cv2.COLOR_YUV2RGB_NV12, from_nv12),
    ):
        ours = read(buffer, 96, 64, 96, "bt601", full_range=False).rgb()
        assert np.abs(ours.astype(int) - cv2.cvtColor(buffer, code)).max() <= 3  # OpenCV repeats chroma, we interpolate it


@pytest.mark.parametrize("height", [64, 63])
def test_packed_yuyv_equals_opencv_and_its_padding_is_cropped(height: int) -> None:
    yuv = from_rgb(smooth(64, 96), "bt601", full_range=False)
    packed = np.full((64, 256), 255, np.uint8)
    packed[:, 0:192:2] = yuv.y
    packed[:, 1:192:4], packed[:, 3:192:4] = np.repeat(yuv.u, 2, 0), np.repeat(yuv.v, 2, 0)
    ours = from_yuyv(packed[:height], 96, height, 256, "bt601", full_range=False)
    assert ours.shape == (height, 96)
    theirs = cv2.cvtColor(np.ascontiguousarray(packed[:height, :192]).reshape(height, 96, 2), cv2.COLOR_YUV2RGB_YUYV)
    assert np.abs(ours.rgb().astype(int) - theirs).max() <= 3


def test_a_frame_converts_its_planes_when_pixels_are_needed() -> None:
    image = from_rgb(smooth(64, 96))
    frame = Frame(0, 0.0, image)
    assert frame.size_wh == (96, 64)
    assert frame.pixels is frame.pixels
    assert np.array_equal(frame.pixels, image.rgb())
    assert isinstance(frame.image, Yuv)
