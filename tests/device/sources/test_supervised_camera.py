"""Supervised cameras: fakes that fail on purpose, with the real process, shared memory and supervision."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device.errors import CameraLost, UsageError
from device.images.frame import NO_VIDEO, Frame
from device.images.yuv import Yuv
from device.settings import CameraSettings
from device.sources import supervised_camera
from device.sources.supervised_camera import SupervisedCamera

Watch = Callable[..., SupervisedCamera]


def picture_of(source: SupervisedCamera, within_s: float = 20.0) -> Frame:
    """The next frame that is a picture."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        frame = source.read()
        assert frame is not None
        if not frame.mark:
            return frame
    raise AssertionError(f"no picture within {within_s} s: {source.status}")


def gone(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


# Frames


def test_frames_arrive_with_their_camera_settings(watch: Watch) -> None:
    source = watch("Fake")
    assert source.live
    assert source.total == 0
    assert source.origin is None
    assert "fake camera" in source.description
    assert source.fps == 50.0
    assert source.status.ok
    frames = [picture_of(source) for _ in range(10)]
    assert [f.index for f in frames] == sorted({f.index for f in frames})
    for frame in frames:
        assert isinstance(frame.image, Yuv)
        assert (frame.image.matrix, frame.image.full_range, frame.size_wh) == ("bt709", False, (64, 48))
        assert (frame.image.y == 1 + frame.index % 250).all()
        assert (frame.image.v == 128).all()
        assert 0 <= time.monotonic() - frame.captured_s < 5
        assert frame.shot is not None
        assert (frame.shot.exposure_s, frame.shot.gain, frame.shot.in_focus) == (0.01, None, True)


def test_a_frame_does_not_change_while_others_arrive(watch: Watch) -> None:
    source = watch("Fake")
    first = picture_of(source)
    assert isinstance(first.image, Yuv)
    kept = first.image.y.copy()
    for _ in range(20):
        picture_of(source)
    np.testing.assert_array_equal(first.image.y, kept)
    assert first.image.y.flags.writeable
    assert first.image.y.base is None


def test_a_late_reader_gets_the_newest_frame(watch: Watch) -> None:
    source = watch("Fake")
    until, skipped, newer_s = time.monotonic() + 30, 0, 0.0
    while skipped < 15 and time.monotonic() < until:  # a queue would always deliver the next frame
        first = picture_of(source)
        time.sleep(0.6)
        late = picture_of(source)
        skipped, newer_s = late.index - first.index, late.captured_s - first.captured_s
    assert skipped >= 15
    assert newer_s > 0.3


def test_row_padding_is_removed(watch: Watch) -> None:
    image = picture_of(watch("Padded", size="99x51")).image
    assert isinstance(image, Yuv)
    assert image.y.shape == (51, 99)
    assert image.u.shape == (26, 50)
    assert image.y.max() < 255
    assert image.y.flags.c_contiguous


def test_red_stays_red_and_blue_blue(watch: Watch) -> None:
    pixels = picture_of(watch("Rgb")).pixels
    assert tuple(pixels[20, 5][:2]) == (200, 0)
    assert pixels[20, -5][0] == 0
    assert pixels[20, -5][2] == 200


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_picture_is_rotated_clockwise(watch: Watch, degrees: int, corner: tuple[int, int]) -> None:
    frame = picture_of(watch("Rgb", rotation=degrees))
    assert frame.size_wh == ((64, 48) if degrees == 180 else (48, 64))
    assert frame.pixels[corner].tolist() == [255, 255, 255]


def test_planes_are_rotated_like_pictures(watch: Watch) -> None:
    frame = picture_of(watch("Fake", rotation=90, size="33x21"))
    assert isinstance(frame.image, Yuv)
    assert frame.image.y.shape == (33, 21)
    assert frame.image.u.shape == (17, 11)


def test_a_change_of_size_passes_through_and_is_logged(watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    source = watch("Faulty", f"fake:{plug}")
    assert picture_of(source).size_wh == (64, 48)
    sizes = set()
    with caplog.at_level(logging.INFO):
        for fault, size_wh in (("large", (128, 96)), ("small", (32, 24)), ("", (64, 48))):
            plug.write_text(fault)
            for _ in range(50):
                frame = picture_of(source)
                assert isinstance(frame.image, Yuv)
                assert (frame.image.y == frame.image.y[0, 0]).all()
                sizes.add(frame.size_wh)
                if frame.size_wh == size_wh:
                    break
            assert frame.size_wh == size_wh
    assert source.status.reopened == 0
    assert "changed to 128x96 from 64x48" in caplog.text


# Opening


def test_a_missing_camera_is_reported_at_once(watch: Watch, tmp_path: Path) -> None:
    with pytest.raises(CameraLost, match="not plugged in"):
        watch("Plugged", f"fake:{tmp_path / 'none'}")


def test_an_invalid_spec_is_wrong_usage_even_with_wait(watch: Watch) -> None:
    with pytest.raises(UsageError, match="no such kind"):
        watch("wrong_spec", wait=True)


def test_placeholders_are_delivered_until_the_camera_appears(watch: Watch, tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    source = watch("Plugged", f"fake:{plug}", wait=True, rotation=90)
    placeholder = source.read()
    assert placeholder is not None
    assert placeholder.mark == NO_VIDEO
    assert placeholder.size_wh == (48, 64)
    assert not source.status.ok
    assert "not plugged in" in source.status.reason
    plug.touch()
    frame = picture_of(source)
    assert frame.index > placeholder.index
    assert source.status.ok
    assert source.status.reopened == 0


def test_a_camera_that_delivers_nothing_but_bad_frames_does_not_open(watch: Watch, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(supervised_camera, "OPENING_S", 1.0)
    plug = tmp_path / "plug"
    plug.write_text("green")
    with pytest.raises(CameraLost, match=r"only frames that cannot be shown \(green"):
        watch("Faulty", f"fake:{plug}")


def test_the_start_of_the_process_does_not_count_as_opening_time(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1.5)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(supervised_camera, "OPENING_S", 1.0)
    plug = tmp_path / "plug"
    plug.write_text("in")
    assert watch("Faulty", f"fake:{plug}").status.ok


def test_a_process_that_never_starts_is_named(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(3600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(supervised_camera, "STARTING_S", 0.5)
    with pytest.raises(CameraLost, match="its process was not ready within"):
        watch("SlowToOpen", "fake:0")


def test_opening_that_takes_forever_is_ended(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_camera, "OPENING_S", 1.0)
    with pytest.raises(CameraLost, match="no frame for 1 s"):
        watch("SlowToOpen", "fake:3600")


def test_a_stop_ends_the_wait_for_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "support"))
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    source = SupervisedCamera("fake:3600", CameraSettings(), opener="fake_cameras:SlowToOpen", stop=stop)
    assert stop.is_set()
    source.close()


def test_an_opener_that_does_not_exist_is_a_lost_camera_with_the_reason() -> None:
    with pytest.raises(CameraLost, match="ended with exit code 1; its output:"):
        SupervisedCamera("fake:", CameraSettings(), opener="device.sources.open_camera:no_such_thing")


# Closing


def test_close_ends_the_process_even_while_a_read_waits(watch: Watch, tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    source = watch("Faulty", f"fake:{plug}")
    picture_of(source)
    plug.write_text("hang")
    pid = source._process.pid  # type: ignore[union-attr]
    got: list[Frame | None] = []
    reader = threading.Thread(target=lambda: [got.append(f) for f in iter(source.read, None)], daemon=True)
    reader.start()
    time.sleep(0.5)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert gone(pid)
    assert source.read() is None
    source.close()


def test_two_threads_may_close_at_once(watch: Watch) -> None:
    source = watch("Fake")
    threads = [threading.Thread(target=source.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert source.read() is None


def test_the_camera_is_closed_before_its_process_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "closing.py").write_text(
        "import pathlib, fake_cameras\n"
        "class Closing(fake_cameras.Fake):\n"
        f"    def close(self): pathlib.Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    rigs = Path(__file__).resolve().parents[2] / "support"
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{rigs}")
    source = SupervisedCamera("fake:", CameraSettings(size="64x48"), opener="closing:Closing")
    picture_of(source)
    source.close()
    assert (tmp_path / "closed").exists()


def test_signals_for_the_process_group_do_not_end_the_camera_process(watch: Watch) -> None:
    source = watch("Fake")
    pid = source._process.pid  # type: ignore[union-attr]
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    for _ in range(20):
        picture_of(source)
    assert source.status.reopened == 0
    assert source._process.pid == pid  # type: ignore[union-attr]


PARENT = """
import sys, time
from device.settings import CameraSettings
from device.sources.supervised_camera import SupervisedCamera
source = SupervisedCamera(sys.argv[1], CameraSettings(size="64x48"), opener="fake_cameras:Faulty")
source.read()
print(source._process.pid, flush=True)
while True:
    source.read()
"""


@pytest.mark.parametrize("fault", ["", "hang", "hang with the interpreter"])
def test_no_process_is_left_when_its_parent_is_killed(fault: str, tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests" / "support")])}
    line = [sys.executable, "-c", PARENT, f"fake:{plug}"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        plug.write_text(fault)
        time.sleep(0.5)
        parent.kill()
        parent.wait()
    assert gone(child)


# Secrets


def test_a_password_is_not_in_logs_errors_status_or_the_process_list(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    spec = "rtsp://admin:s3cr3t-word@camera.invalid/stream?token=hidden-query"
    with caplog.at_level(logging.DEBUG):
        source = watch("Chatty", spec, wait=True)
        placeholder = source.read()
        assert placeholder is not None
        pid = source._process.pid  # type: ignore[union-attr]
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    seen = caplog.text + source.description + repr(source.status) + arguments + environment
    assert "opening rtsp://camera.invalid/stream?…" in caplog.text
    assert "rtsp://camera.invalid/stream?…: refused" in source.status.reason
    for secret in ("s3cr3t", "hidden", "admin"):
        assert secret not in seen
