"""device/sources/picamera.py through the real picamera2 and libcamera 0.7, on libcamera's virtual camera.

This camera cannot test: any format but NV12 (others silently become NV12), padded rows (it has none), full range and matrix (it
reports Rec709 and draws BT.601, both 16-235), the frame rate (it delivers as fast as frames are read), exposure, gain, focus and
most other controls (it has none), unplugging, and a Raspberry Pi's image processor.
Everything else is real: configuration, buffers, event loop, requests, metadata, release.
"""

import gc
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.bundle.open import open_bundle
from device.errors import CameraLost
from device.images.frame import NO_VIDEO, Frame, Pixels
from device.images.yuv import Yuv
from device.restore.restorer import Restorer
from device.settings import CameraSettings
from device.sources import open_source
from device.sources.picamera import PiCamera, cameras
from device.sources.source import Source

# The bars from left to right, with the pixels of libcamera's ColorBarsGenerator: R G B.
BARS = {
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
}


@pytest.fixture
def camera() -> Iterator[PiCamera]:
    opened = PiCamera(0, CameraSettings())
    yield opened
    opened.close()


def rgb_of(frame: Frame) -> Pixels:
    assert isinstance(frame.image, Yuv)
    return replace(frame.image, matrix="bt601", full_range=False).rgb()  # as libyuv draws it, see above


def resources() -> tuple[int, int]:
    """(open descriptors, threads) of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def rss_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_the_camera_is_listed_with_its_model() -> None:
    (found,) = cameras()
    assert found["Model"] == "imx708"


def test_the_format_that_the_camera_delivers_is_used_and_reported(camera: PiCamera) -> None:
    assert camera.description == "picamera2:0, imx708, 640x480 NV12 at 30 fps"
    image = camera.read().image
    assert isinstance(image, Yuv)
    assert (image.y.shape, image.u.shape, image.v.shape) == ((480, 640), (240, 320), (240, 320))
    assert (image.matrix, image.full_range) == ("bt709", False)  # requested was BT.601 in full range


@pytest.mark.parametrize("size", ["640x480", "1280x720", "1366x768"])
def test_colour_bars_have_their_colours_and_places(size: str) -> None:
    opened = PiCamera(0, CameraSettings(size=size))
    try:
        rgb = rgb_of(opened.read())
    finally:
        opened.close()
    assert f"{rgb.shape[1]}x{rgb.shape[0]}" == size
    centres = ((np.arange(len(BARS)) + 0.5) * rgb.shape[1] / len(BARS)).astype(int)
    for (name, expected), x in zip(BARS.items(), centres, strict=True):
        seen = rgb[rgb.shape[0] // 2, x].astype(int)
        assert np.abs(seen - expected).max() <= 6, f"{name}: {seen}"


def test_a_size_that_it_does_not_have_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    opened = PiCamera(0, CameraSettings(size="800x600"))
    try:
        assert "requested 800x600, but it delivers 1366x768" in caplog.text
        assert opened.read().size_wh == (1366, 768)
    finally:
        opened.close()


def test_a_rate_that_it_does_not_reach_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    opened = PiCamera(0, CameraSettings(fps=120))
    opened.close()
    assert opened.fps == pytest.approx(30, abs=0.01)
    assert "requested 120 fps, but 30 are possible" in caplog.text


def test_controls_that_it_does_not_have_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    settings = CameraSettings(exposure_ms=5, gain=2, focus="2.5", sharpness=0, noise_reduction="off")
    PiCamera(0, settings).close()
    lacking = "AfMode, AnalogueGain, ExposureTime, LensPosition, NoiseReductionMode, Sharpness"
    assert f"this camera has no {lacking}" in caplog.text


def test_timestamps_increase_and_are_recent(camera: PiCamera) -> None:
    before = time.monotonic()
    frames = [camera.read() for _ in range(50)]
    stamps = [f.captured_s for f in frames]
    assert [f.index for f in frames] == list(range(50))
    assert stamps == sorted(set(stamps))
    assert before - 1 < stamps[0] < stamps[-1] <= time.monotonic()


def test_after_a_pause_the_reader_gets_a_new_frame_and_not_one_from_the_buffers(camera: PiCamera) -> None:
    camera.read()
    time.sleep(0.3)
    back = time.monotonic()
    assert camera.read().captured_s >= back - 0.02


def test_a_frame_does_not_change_when_the_camera_continues(camera: PiCamera) -> None:
    frame = camera.read()
    kept = rgb_of(frame)
    for _ in range(20):
        camera.read()
    camera.close()
    np.testing.assert_array_equal(rgb_of(frame), kept)


def test_a_thousand_frames_take_no_more_memory_than_a_hundred(camera: PiCamera) -> None:
    rss = []
    for i in range(1100):
        camera.read()
        if i >= 100 and i % 10 == 0:
            rss.append(rss_kib())
    slope = np.polyfit(np.arange(len(rss)) * 10, rss, 1)[0]
    assert abs(slope) * 1000 < 1024, f"{slope * 1000:.0f} KiB in 1,000 frames"  # one leaked frame a second would be 15 MB


def test_opening_and_closing_twenty_times_leaves_nothing_behind() -> None:
    def once() -> None:
        opened = PiCamera(0, CameraSettings())
        opened.read()
        opened.close()

    for _ in range(3):
        once()
    before, memory = resources(), rss_kib()
    for _ in range(20):
        once()
    assert resources() == before
    assert rss_kib() - memory < 20 * 460  # less than one picture for each opening


def test_closing_twice_is_safe_and_a_closed_camera_says_so(camera: PiCamera) -> None:
    camera.read()
    camera.close()
    camera.close()
    with pytest.raises(CameraLost, match="is closed"):
        camera.read()


def test_a_camera_in_use_is_named_and_free_again_afterwards(camera: PiCamera) -> None:
    with pytest.raises(CameraLost, match="picamera2:0: cannot be started"):
        PiCamera(0, CameraSettings())
    camera.close()
    again = PiCamera(0, CameraSettings())
    again.read()
    again.close()


def test_a_missing_camera_is_named() -> None:
    with pytest.raises(CameraLost, match="picamera2:7: no such camera, libcamera finds 1"):
        PiCamera(7, CameraSettings())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # in picamera2's event loop, which ends
def test_a_silent_camera_ends_the_wait_and_can_be_closed(camera: PiCamera) -> None:
    """picamera2 itself would wait for ever, in capture_request and in stop."""

    def read_on() -> None:
        for _ in range(10):  # some frames are already in the queue
            camera.read()

    camera.read()
    camera._camera.camera.stop()  # libcamera's own stop: the sensor is silent, and picamera2 does not know
    began = time.monotonic()
    with pytest.raises(CameraLost, match=r"no frame within 2.0 s, after \d+ frames; check ribbon cable and power"):
        read_on()
    camera.close()
    assert time.monotonic() - began < 15
    again = PiCamera(0, CameraSettings())
    again.read()
    again.close()


def test_two_streams_and_a_restart_work_at_picamera2_s_own_level() -> None:
    from picamera2 import Picamera2

    with Picamera2(0) as picam2:
        picam2.configure(
            picam2.create_video_configuration(
                main={"size": (1280, 720), "format": "NV12"}, lores={"size": (640, 480), "format": "NV12"}
            )
        )
        for _ in range(3):
            picam2.start()
            (main, lores), metadata = picam2.capture_arrays(["main", "lores"])
            assert (main.shape, lores.shape) == ((1080, 1280), (720, 640))
            assert metadata["SensorTimestamp"] > 0
            picam2.stop()


def test_a_frame_is_restored_without_leaving_4_2_0(camera: PiCamera) -> None:
    image = camera.read().image
    assert isinstance(image, Yuv)
    with Restorer(open_bundle("nano")) as restorer:
        restored = restorer.restore(image)
    assert isinstance(restored, Yuv)
    assert restored.shape == (480, 640)
    np.testing.assert_array_equal(restored.u, image.in_full_range().u)  # a luma model does not change colour
    change = restored.y.astype(int) - image.in_full_range().y
    assert np.abs(change[200:280, 20:60]).max() < 8  # a flat bar stays flat


@pytest.mark.parametrize("spec", ["picamera2", "auto"])
def test_the_watched_camera_delivers_frames_and_recovers_after_its_process_was_killed(spec: str) -> None:
    source = open_source(spec, CameraSettings())
    try:
        frame = next_frame(source)
        assert source.description.startswith("picamera2:0, imx708, 640x480 NV12")
        assert source.status.ok
        rgb = rgb_of(frame)
        assert rgb[240, 440, 0] > 240 > rgb[240, 440, 2]  # red stays red
        for process in children():
            os.kill(process, signal.SIGKILL)
        assert next_frame(source, mark=NO_VIDEO).mark == NO_VIDEO
        assert next_frame(source).index > frame.index
        assert source.status.reopened == 1
    finally:
        source.close()
    assert children() == []


def next_frame(source: Source, mark: str = "") -> Frame:
    """The next frame with this mark; waits for 10 s at most."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        frame = source.read()
        assert frame is not None
        if frame.mark == mark:
            return frame
    raise AssertionError(f"no frame marked {mark!r} within 10 s: {source.status.reason}")


def children() -> list[int]:
    """The child processes of this process."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed]
