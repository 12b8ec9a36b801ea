"""Faults of a camera: each one is noticed, NO VIDEO is shown meanwhile, and the picture comes back.

Times go into the test report (`record_property`) and are printed with `-s`. Their limits are those of docs/reliability.md, with
slack for a busy machine.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.images.frame import NO_VIDEO, Frame
from device.settings import CameraSettings
from device.sources import supervised_camera
from device.sources.supervised_camera import SupervisedCamera

ROOT = Path(__file__).resolve().parents[2]
RIGS = ROOT / "tests" / "support"
NOTICED_S, BACK_S = 3.0, 5.0
SLACK_S = 2.0  # the machine may be busy
Record = Callable[[str, object], None]


class Viewer:
    """Reads a source all the time, as the loop does, and remembers when each frame arrived."""

    def __init__(self, source: SupervisedCamera) -> None:
        self.source = source
        self.frames: list[tuple[float, Frame]] = []
        self._thread = threading.Thread(target=self._read, name="viewer", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while (frame := self.source.read()) is not None:
            self.frames.append((time.monotonic(), frame))
            del self.frames[:-2000]

    def wait(self, marked: bool, since_s: float, within_s: float) -> float:
        """Seconds from `since_s` to the next frame that is a placeholder (`marked`) or a picture (not `marked`)."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            for at, frame in list(self.frames):
                if at > since_s and bool(frame.mark) is marked:
                    return at - since_s
            time.sleep(0.02)
        raise AssertionError(f"no {'placeholder' if marked else 'picture'} within {within_s} s: {self.source.status}")

    def end(self) -> None:
        self.source.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def until(done: Callable[[], object]) -> None:
    """Wait for an event that must happen; half a minute at most."""
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    assert done()


def survive(
    source: SupervisedCamera, break_it: Callable[[], object], mend_it: Callable[[], object], record: Record, away_s: float = 1.0
) -> str:
    """Break the camera and repair it. Returns the reason shown meanwhile; checks how soon each was noticed."""
    viewer = Viewer(source)
    try:
        viewer.wait(False, 0.0, 20)
        reopened, broken_s = source.status.reopened, time.monotonic()
        break_it()
        noticed_s = viewer.wait(True, broken_s, NOTICED_S + SLACK_S)
        reason = source.status.reason
        assert not source.status.ok
        placeholder = next(frame for at, frame in viewer.frames if at > broken_s and frame.mark)
        assert placeholder.mark == NO_VIDEO
        time.sleep(away_s)
        mended_s = time.monotonic()
        mend_it()
        back_s = viewer.wait(False, mended_s, BACK_S + SLACK_S)
        assert source.status.ok
        assert source.status.reopened > reopened
        indexes = [frame.index for _, frame in viewer.frames]
        assert indexes == sorted(set(indexes))
        for name, seconds in (("noticed_s", noticed_s), ("back_s", back_s)):
            record(name, round(seconds, 2))
        print(f"\n    noticed after {noticed_s:.2f} s, back after {back_s:.2f} s: {reason}")
        return reason
    finally:
        viewer.end()


# A camera on a cable, whose driver fails in every way (tests/support/fake_cameras.py)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("unplugged", "not plugged in"),
        ("hang", "no frame for 2.5 s"),
        ("hang with the interpreter", "no frame for 2.5 s"),
        ("crash", "ended by SIGSEGV; its output: the driver said this before it fell"),
        ("exit", "ended with exit code 3"),
        ("raise", "ZeroDivisionError: a library's own error"),
        ("green", "only frames that cannot be shown (green"),
        ("truncated", "only frames that cannot be shown (123 bytes, expected 456)"),
        ("empty", "only frames that cannot be shown (empty picture)"),
    ],
)
def test_a_camera_that_fails_is_replaced_by_no_video_and_comes_back(
    fault: str, reason: str, watch: Callable[..., SupervisedCamera], tmp_path: Path, record_property: Record
) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    source = watch("Faulty", f"fake:{plug}")
    break_it = plug.unlink if fault == "unplugged" else lambda: plug.write_text(fault)
    assert reason in survive(source, break_it, lambda: plug.write_text(""), record_property)
    assert (source.status.bad_frames > 0) is (fault in ("green", "truncated", "empty"))


def test_a_camera_that_is_away_for_long_is_back_as_soon(
    watch: Callable[..., SupervisedCamera], tmp_path: Path, record_property: Record
) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    survive(watch("Plugged", f"fake:{plug}"), plug.unlink, plug.touch, record_property, away_s=13.0)


@pytest.mark.parametrize("fault", ["black", "repeat"])
def test_black_and_repeated_pictures_are_shown(fault: str, watch: Callable[..., SupervisedCamera], tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    plug.write_text(fault)
    source = watch("Faulty", f"fake:{plug}")
    end = time.monotonic() + supervised_camera.SILENCE_S + 1
    while time.monotonic() < end:
        frame = source.read()
        assert frame is not None
        assert not frame.mark
    assert source.status.ok
    assert source.status.bad_frames == 0


def test_a_few_bad_frames_are_dropped_and_counted(watch: Callable[..., SupervisedCamera], tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    source = watch("Faulty", f"fake:{plug}")
    viewer = Viewer(source)
    viewer.wait(False, 0.0, 20)
    plug.write_text("green")
    until(lambda: source.status.bad_frames > 0)
    plug.write_text("")
    viewer.wait(False, time.monotonic() + 0.2, 10)
    viewer.end()
    assert source.status.reopened == 0
    for _, frame in viewer.frames:
        assert not frame.mark
        assert frame.image.y.any()  # type: ignore[union-attr]


def test_a_frozen_picture_is_reported_and_still_shown(
    watch: Callable[..., SupervisedCamera], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plug = tmp_path / "plug"
    plug.write_text("repeat")
    source = watch("Faulty", f"fake:{plug}")
    end = time.monotonic() + 15
    while not source.status.reason and time.monotonic() < end:
        source.read()
    assert "frozen" in source.status.reason
    assert source.status.ok
    plug.write_text("")
    end = time.monotonic() + 5
    while source.status.reason and time.monotonic() < end:
        source.read()
    assert source.status.reason == ""
    assert caplog.text.count("picture frozen") == 1


@pytest.mark.parametrize(("warm_up", "cycles"), [(5, 20), pytest.param(10, 100, marks=pytest.mark.slow)])
def test_many_cycles_of_unplugging_leave_nothing_behind(
    warm_up: int, cycles: int, tmp_path: Path, record_property: Record
) -> None:
    """Runs in a process of its own: this one still has objects of other tests that wait for the garbage collector."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(RIGS)))}
    line = [sys.executable, str(RIGS / "unplug_cycles.py"), str(tmp_path / "plug"), str(warm_up), str(cycles)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    assert held["reopened"] == cycles
    for name in ("descriptors", "threads", "children"):
        assert held["late"][name] == held["early"][name], (name, held)
        assert held["after"][name] == held["before"][name], (name, held)
    assert held["late"]["children"] == 1
    grown_kib = held["late"]["rss_kib"] - held["early"]["rss_kib"]
    record_property("rss_grown_kib", grown_kib)
    print(f"\n    {cycles} cycles: {held['late']}, resident memory grown by {grown_kib} KiB after {warm_up}")
    assert grown_kib < 2048


def test_a_process_that_cannot_be_started_leads_to_no_video_and_not_to_the_end(
    watch: Callable[..., SupervisedCamera], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug = tmp_path / "plug"
    plug.touch()
    source = watch("Faulty", f"fake:{plug}")
    source.read()
    interpreter = sys.executable
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    plug.write_text("crash")
    end = time.monotonic() + 20
    while "its process cannot be started" not in source.status.reason and time.monotonic() < end:
        source.read()
    assert "its process cannot be started" in source.status.reason
    monkeypatch.setattr(sys, "executable", interpreter)
    plug.write_text("")
    viewer = Viewer(source)
    viewer.wait(False, time.monotonic(), BACK_S + SLACK_S)
    viewer.end()


# Network cameras: real servers, frozen, killed and changed


def open_camera(address: str) -> SupervisedCamera:
    return SupervisedCamera(address, CameraSettings())


@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
@pytest.mark.parametrize("fault", ["frozen", "killed", "another size"])
def test_a_network_camera_that_fails_is_replaced_by_no_video_and_comes_back(
    kind: str, fault: str, request: pytest.FixtureRequest, record_property: Record
) -> None:
    server: Any = request.getfixturevalue(kind)
    extra = ("well",) if kind == "mjpeg" else ()
    server.start("320x240", *extra)
    source = open_camera(f"{'http' if kind == 'mjpeg' else 'rtsp'}://127.0.0.1:{server.port}/cam")
    size = "160x120" if fault == "another size" else "320x240"
    if fault == "frozen":
        survive(source, server.freeze, server.thaw, record_property)
    else:
        survive(source, server.kill, lambda: server.start(size, *extra), record_property)
    assert f"{source._size_wh[0]}x{source._size_wh[1]}" == size


def test_a_network_camera_that_stays_frozen_for_long_is_back_as_soon(mjpeg: Any, record_property: Record) -> None:
    mjpeg.start("320x240", "well")
    source = open_camera(f"http://127.0.0.1:{mjpeg.port}/cam")
    survive(source, mjpeg.freeze, mjpeg.thaw, record_property, away_s=16.0)


@pytest.mark.parametrize("kind", ["truncated", "garbage"])
def test_a_network_camera_with_damaged_pictures_is_replaced_by_no_video(kind: str, mjpeg: Any, record_property: Record) -> None:
    mjpeg.start("320x240", "well")
    source = open_camera(f"http://127.0.0.1:{mjpeg.port}/cam")

    def spoil() -> None:
        mjpeg.kill()
        mjpeg.start("320x240", kind)

    def mend() -> None:
        mjpeg.kill()
        mjpeg.start("320x240", "well")

    viewer = Viewer(source)
    viewer.wait(False, 0.0, 20)
    spoiled_s = time.monotonic()
    spoil()
    viewer.wait(True, spoiled_s, NOTICED_S + SLACK_S)
    end = time.monotonic() + supervised_camera.OPENING_S + 5
    while "only frames that cannot be shown" not in source.status.reason and time.monotonic() < end:
        time.sleep(0.1)
    assert "only frames that cannot be shown" in source.status.reason
    assert source.status.bad_frames > 0
    mended_s = time.monotonic()
    mend()
    record_property("back_s", round(viewer.wait(False, mended_s, BACK_S + SLACK_S), 2))
    viewer.end()


def test_truncated_pictures_between_whole_ones_are_dropped(mjpeg: Any) -> None:
    mjpeg.start("320x240", "mixed")
    source = open_camera(f"http://127.0.0.1:{mjpeg.port}/cam")
    for _ in range(30):
        frame = source.read()
        assert frame is not None
        assert not frame.mark
        assert frame.pixels[-3, 20, 0] > 180  # the last rows are complete
    assert source.status.bad_frames >= 10
    assert source.status.ok
    source.close()
