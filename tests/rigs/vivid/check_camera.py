"""V4L2 with a real driver: runs inside the machine of scripts/vivid/rig.sh, whose /dev/video0 is the kernel's test camera.

The camera shows bars, has only uncompressed formats, and can be unplugged; it has no exposure, focus or MJPEG. The machine is
emulated: a process takes seconds to start, so no duration means anything.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from device.errors import CameraLost
from device.images.frame import NO_VIDEO
from device.images.yuv import Yuv
from device.settings import CameraSettings
from device.sources import supervised_camera
from device.sources.nodes import cameras
from device.sources.open_camera import first_camera
from device.sources.supervised_camera import SupervisedCamera
from device.sources.v4l2 import V4l2Camera

NODE = "/dev/video0"
DRIVER = Path("/sys/bus/platform/drivers/vivid")
# Bars of equal width, 100 % colours at 75 % brightness: white, yellow, cyan, green, magenta, red, blue, black.
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]


def test_the_camera_is_found() -> None:
    assert cameras() == ([NODE], [])
    assert first_camera() == f"v4l2:{NODE}"


@pytest.mark.parametrize(
    ("size", "fps", "got"),
    [
        ("640x360", 30.0, "640x360 YUYV at 30 fps"),
        ("320x180", 15.0, "320x180 YUYV at 15 fps"),
        ("1280x720", 30.0, "1280x720 YUYV at 12.5 fps (requested: 1280x720 at 30)"),
        ("640x400", 30.0, "640x360 YUYV at 30 fps (requested: 640x400 at 30)"),
    ],
)
def test_frames_have_the_size_rate_and_colours_that_the_camera_reports(size: str, fps: float, got: str) -> None:
    camera = V4l2Camera(NODE, CameraSettings(size=size, fps=fps))
    assert camera.description.endswith(got)
    frames = [camera.read() for _ in range(10)]
    with pytest.raises(CameraLost, match="does another program use it"):
        V4l2Camera(NODE, CameraSettings(size=size))
    camera.close()
    camera.close()
    last = frames[-1]
    assert isinstance(last.image, Yuv)
    assert (last.image.matrix, last.image.full_range) == ("bt601", False)
    stamps = [frame.captured_s for frame in frames]
    assert stamps == sorted(set(stamps))
    assert 0 <= time.monotonic() - stamps[-1] < 5
    height, width = last.image.shape
    if size != "320x180":  # there the driver's text covers the bars
        for number, expected in enumerate(BARS):
            pixel = last.pixels[height // 2, int((number + 0.5) * width / len(BARS))]
            np.testing.assert_allclose(pixel, 190 * np.array(expected), atol=4)


def test_for_a_format_that_it_does_not_have_the_error_lists_those_it_has() -> None:
    with pytest.raises(CameraLost, match=r"delivers .*YUYV.*, expected MJPG"):
        V4l2Camera(NODE, CameraSettings(format="mjpeg"))


def test_unplugging_it_shows_no_video_until_it_is_plugged_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("OPENING_S", "REOPENING_S", "SILENCE_S"):
        monkeypatch.setattr(supervised_camera, patience, 60.0)  # for an emulated processor on a busy machine
    source = SupervisedCamera("auto", CameraSettings(size="640x360"))
    try:
        for _ in range(3):
            while (frame := source.read()) is not None and frame.mark:
                pass
            (DRIVER / "unbind").write_text("vivid.0")
            while (frame := source.read()) is not None and not frame.mark:
                pass
            assert frame is not None
            assert frame.mark == NO_VIDEO
            assert frame.size_wh == (640, 360)
            assert "gone (No such device)" in source.status.reason
            time.sleep(1)
            (DRIVER / "bind").write_text("vivid.0")
        while (frame := source.read()) is not None and frame.mark:
            pass
        assert source.status.ok
        assert source.status.reopened == 3
    finally:
        source.close()
