"""The parts of device/sources/picamera.py that need no libcamera; the rest is tested in tests/rigs/picamera."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from device.errors import CameraLost
from device.images.frame import Pixels, Shot, pixels_of
from device.images.yuv import Plane, Yuv, from_rgb
from device.settings import CameraSettings
from device.sources.picamera import PiCamera, cameras, captured_at, image_of, matrix_and_range, shot_of

ROOT = Path(__file__).parents[3]
WIDTH, HEIGHT = 70, 46  # not a multiple of the row alignment of image processors
PADDING = 58  # 70 + 58 = 128, like on a Raspberry Pi 5 (picamera2 issue 1182)


@pytest.fixture
def colours() -> Pixels:
    """(46, 70, 3): red, green and blue thirds, each with a brightness gradient."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    slope = np.linspace(120, 250, HEIGHT).astype(np.uint8)[:, None]
    for channel, columns in enumerate((slice(0, 24), slice(24, 48), slice(48, 70))):
        rgb[:, columns, channel] = slope
    return rgb


def padded(plane: Plane, stride: int) -> np.ndarray:
    """Rows of `stride` bytes; the padding must never be visible."""
    rows = np.full((len(plane), stride), 199, np.uint8)
    rows[:, : plane.shape[1]] = plane
    return rows.reshape(-1)


def buffer_of(rgb: Pixels, pixel_format: str, stride: int, tail: int) -> np.ndarray:
    """The bytes of this picture in libcamera's memory, plus `tail` bytes to the end of a page."""
    yuv = from_rgb(rgb)
    pairs = np.stack([yuv.u, yuv.v], axis=2).reshape(len(yuv.u), -1)
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    bytes_of_rows = {
        "RGB888": lambda: [rgb[..., ::-1]],
        "BGR888": lambda: [rgb],
        "XBGR8888": lambda: [np.concatenate([rgb, alpha], axis=2)],
        "XRGB8888": lambda: [np.concatenate([rgb[..., ::-1], alpha], axis=2)],
        "YUV420": lambda: [yuv.y, yuv.u, yuv.v],
        "NV12": lambda: [yuv.y, pairs],
    }[pixel_format]()
    strides = [stride, stride // 2, stride // 2] if pixel_format == "YUV420" else [stride, stride]
    planes = [padded(p.reshape(len(p), -1), s) for p, s in zip(bytes_of_rows, strides, strict=False)]
    return np.concatenate([*planes, np.full(tail, 77, np.uint8)])


@pytest.mark.parametrize("padding", [0, PADDING])
@pytest.mark.parametrize(
    ("pixel_format", "bytes_a_pixel"),
    [("YUV420", 1), ("NV12", 1), ("RGB888", 3), ("BGR888", 3), ("XBGR8888", 4), ("XRGB8888", 4)],
)
def test_every_format_gives_the_same_colours_with_and_without_padded_rows(
    colours: Pixels, pixel_format: str, bytes_a_pixel: int, padding: int
) -> None:
    stride = WIDTH * bytes_a_pixel + padding
    image = image_of(buffer_of(colours, pixel_format, stride, 320), pixel_format, (WIDTH, HEIGHT), stride, "bt601", True)
    rgb = pixels_of(image)
    if isinstance(image, Yuv):
        np.testing.assert_array_equal(rgb, from_rgb(colours).rgb())  # loses only what 4:2:0 loses
        inside = np.r_[2:22, 26:46, 50:68]  # not at the borders, where 4:2:0 mixes colours
        assert np.abs(rgb[:, inside].astype(int) - colours[:, inside]).max() <= 4
    else:
        np.testing.assert_array_equal(rgb, colours)


def test_the_frame_has_the_matrix_and_range_of_the_colour_space(colours: Pixels) -> None:
    limited = from_rgb(colours, "bt709", full_range=False)
    buffer = np.concatenate([limited.y.reshape(-1), limited.u.reshape(-1), limited.v.reshape(-1)])
    image = image_of(buffer, "YUV420", (WIDTH, HEIGHT), WIDTH, "bt709", False)
    np.testing.assert_array_equal(pixels_of(image), limited.rgb())


@pytest.mark.parametrize(
    ("encoding", "reach", "expected"),
    [("Rec601", "Full", ("bt601", True)), ("Rec709", "Limited", ("bt709", False)), ("Null", "Full", ("bt601", True))],
)
def test_matrix_and_range_come_from_the_actual_colour_space(encoding: str, reach: str, expected: tuple[str, bool]) -> None:
    space = SimpleNamespace(ycbcrEncoding=SimpleNamespace(name=encoding), range=SimpleNamespace(name=reach))
    assert matrix_and_range(space) == expected


def test_a_camera_without_a_colour_space_is_treated_like_a_usb_camera() -> None:
    assert matrix_and_range(None) == ("bt601", False)


@pytest.mark.parametrize(
    ("sensor_s", "suspended_s", "expected"),
    [
        (99.98, 0.0, 99.98),  # the board never slept
        (99.98, 50.0, 99.98),  # it slept; the driver uses CLOCK_MONOTONIC
        (149.98, 50.0, 99.98),  # it slept; the driver uses CLOCK_BOOTTIME
        (None, 0.0, 100.0),
        (3.0, 0.0, 100.0),  # invalid: older than any frame can be
        (4e9, 0.0, 100.0),  # invalid: in the future
    ],
)
def test_a_time_stamp_is_converted_to_the_monotonic_clock(sensor_s: float | None, suspended_s: float, expected: float) -> None:
    sensor_ns = None if sensor_s is None else round(sensor_s * 1e9)
    assert captured_at(sensor_ns, 100.0, suspended_s) == pytest.approx(expected)


def test_the_shot_contains_the_settings_in_the_metadata() -> None:
    metadata = {"ExposureTime": 66000, "AnalogueGain": 4.0, "AfState": 2, "LensPosition": 1.5, "Lux": 80.0}
    assert shot_of(metadata) == Shot(0.066, 4.0, True, 1.5, 80.0)
    assert shot_of({"AfState": 3}) == Shot(in_focus=False)
    assert shot_of({"AfState": 1}) == Shot()  # still scanning
    assert shot_of({}) == Shot()


def test_without_picamera2_the_error_says_how_to_install_it() -> None:
    if importlib.util.find_spec("picamera2") is not None:
        pytest.skip("picamera2 is installed here")
    for use in (cameras, lambda: PiCamera(0, CameraSettings())):
        with pytest.raises(CameraLost, match="sudo apt install -y python3-picamera2"):
            use()


def test_importing_the_module_imports_neither_picamera2_nor_libcamera() -> None:
    code = "import sys, device.sources.picamera; sys.exit(bool({'picamera2', 'libcamera'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
