"""Sinks that write files: a folder, one picture, a video. (The page: tests/device/sinks/web; the recorder: test_record.py.)"""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from state_parts import state

from device.controls import Controls
from device.errors import RunError, UsageError
from device.images.frame import Frame, Pixels, Restored
from device.images.picture import read_picture
from device.images.scenes import dead_leaves
from device.settings import Settings
from device.sinks import open_sink
from device.sinks.pictures import Folder, LastPicture
from device.sinks.sink import Sink
from device.sinks.video import VideoSink
from device.sources.demo import Demo
from device.telemetry import Telemetry


def restored(index: int, name: str = "", size_hw: tuple[int, int] = (48, 64)) -> Restored:
    """A frame with restored pixels of grey 10 * index and white input pixels."""
    white = np.full((*size_hw, 3), 255, np.uint8)
    return Restored(Frame(index, 0.0, white, name), np.full((*size_hw, 3), 10 * index, np.uint8))


def opened(spec: object, replace: bool = False) -> Sink:
    def nothing(*asked: object) -> None: ...

    controls = Controls(state, tuple, nothing, nothing, nothing, nothing, nothing, nothing)
    return open_sink(str(spec), Demo(width=64, height=48), Settings(replace=replace), controls, Telemetry())


def frames_of(path: Path) -> list[Pixels]:
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (got := capture.read())[0]:
        frames.append(cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return frames


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Limit the files of this process to `size` bytes: like a full disk, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("spec", ["null", "web", "folder", "last.png", "video.mp4"])
def test_every_sink_accepts_frames_and_closes_twice(spec: str, tmp_path: Path) -> None:
    sink = opened(spec if spec in ("null", "web") else tmp_path / spec)
    assert sink.description
    for i in range(3):
        sink.write(restored(i))
    sink.close()
    sink.close()


@pytest.mark.parametrize("spec", ["null", "web", "folder", "last.png", "video.mp4"])
def test_a_sink_without_frames_closes_and_leaves_no_file(spec: str, tmp_path: Path) -> None:
    opened(spec if spec in ("null", "web") else tmp_path / spec).close()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


# Folder


def test_a_folder_keeps_the_names_of_pictures_and_numbers_live_frames(tmp_path: Path) -> None:
    sink = opened(tmp_path / "deep" / "er")
    sink.write(restored(1, "one.jpg"))
    sink.write(restored(2, "two.webp"))
    sink.write(restored(13))
    sink.close()
    assert sorted(p.name for p in (tmp_path / "deep/er").iterdir()) == ["frame-000013.png", "one.jpg", "two.webp"]
    np.testing.assert_array_equal(read_picture(tmp_path / "deep/er/frame-000013.png"), restored(13).pixels)
    assert abs(int(read_picture(tmp_path / "deep/er/one.jpg").mean()) - 10) <= 2


def test_a_dotted_folder_name_is_a_folder(tmp_path: Path) -> None:
    assert isinstance(opened(tmp_path / "gauss-1.6"), Folder)


def test_a_folder_that_is_not_empty_is_refused_without_replace(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*--replace"):
        opened(tmp_path)
    sink = opened(tmp_path, replace=True)
    sink.write(restored(1, "one.png"))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UsageError, match="a file without a picture or video suffix"):
        opened(tmp_path / "notes", replace=True)
    with pytest.raises(RunError, match="cannot be created"):
        opened(tmp_path / "notes" / "below")


def test_a_picture_that_cannot_be_written_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    sink = opened(tmp_path / "out")
    leaves = dead_leaves(200, 200, 0)
    with files_of_at_most(5000), pytest.raises(RunError, match=r"noisy\.png"):
        sink.write(Restored(Frame(0, 0.0, leaves, "noisy.png"), leaves))
    assert list((tmp_path / "out").iterdir()) == []


# One picture


def test_a_picture_sink_keeps_the_last_frame(tmp_path: Path) -> None:
    sink = opened(tmp_path / "new" / "last.png")
    assert isinstance(sink, LastPicture)
    for i in range(4):
        sink.write(restored(i))
    assert not (tmp_path / "new").exists()
    sink.close()
    np.testing.assert_array_equal(read_picture(tmp_path / "new/last.png"), restored(3).pixels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["last.png"]


@pytest.mark.parametrize("name", ["last.png", "video.mp4"])
def test_an_existing_file_is_refused_without_replace_and_kept_until_the_new_one_is_complete(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"exists.*--replace"):
        opened(path)
    sink = opened(path, replace=True)
    sink.write(restored(1))
    assert path.read_bytes() == b"old"
    sink.close()
    assert path.read_bytes() != b"old"


# Video


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v"])
@pytest.mark.parametrize("count", [1, 12])
def test_a_video_contains_every_frame_in_order(tmp_path: Path, suffix: str, count: int) -> None:
    sink = VideoSink(tmp_path / "new" / f"v{suffix}", 29.97)
    for i in range(count):
        sink.write(restored(i))
    assert [p.name for p in (tmp_path / "new").iterdir() if not p.name.startswith(".")] == []  # temporary until it is complete
    sink.close()
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"v{suffix}"]
    greys = [float(frame.mean()) for frame in frames_of(tmp_path / "new" / f"v{suffix}")]
    assert len(greys) == count
    assert greys == pytest.approx([10.0 * i for i in range(count)], abs=5)


def test_a_video_has_the_rate_of_the_source_and_correct_colours(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "v.mp4", 12.5)
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 230
    for i in range(5):
        sink.write(Restored(Frame(i, 0.0, red), red))
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    middle = frames_of(tmp_path / "v.mp4")[2][24, 32]
    assert middle[0] > 190
    assert middle[2] < 60


def test_a_frame_of_another_size_is_refused_and_the_video_so_far_is_complete(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "v.mp4", 25.0)
    for i in range(3):
        sink.write(restored(i))
    with pytest.raises(RunError, match=r"\(50, 40\).*\(64, 48\).*folder"):
        sink.write(restored(3, size_hw=(40, 50)))
    sink.close()
    assert len(frames_of(tmp_path / "v.mp4")) == 3


def test_a_video_that_cannot_be_opened_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "v.nonsense", 25.0)
    with pytest.raises(RunError, match=r"v\.nonsense.*cannot write a 64x48 video"):
        sink.write(restored(0))
    sink.close()  # raises no second error
    assert list(tmp_path.iterdir()) == []


def test_a_video_in_a_folder_that_cannot_be_created_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    sink = VideoSink(tmp_path / "file" / "v.mp4", 25.0)
    with pytest.raises(RunError, match="cannot be created"):
        sink.write(restored(0))
    sink.close()


def test_an_incomplete_video_is_an_error_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    sink = opened(path, replace=True)
    leaves = dead_leaves(120, 160, 0)
    with files_of_at_most(20_000):
        for i in range(40):
            sink.write(Restored(Frame(i, 0.0, leaves), np.roll(leaves, 7 * i, 1)))
        with pytest.raises(RunError, match="is the disk full"):
            sink.close()
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert path.read_bytes() == b"old"
    sink.close()


def test_a_closed_video_refuses_frames(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "v.mp4", 25.0)
    sink.write(restored(0))
    sink.close()
    with pytest.raises(RunError, match="closed"):
        sink.write(restored(1))
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_a_video_may_be_closed_while_another_thread_writes_to_it(tmp_path: Path) -> None:
    sink, written, ended = VideoSink(tmp_path / "v.mp4", 25.0), threading.Event(), []

    def write() -> None:
        try:
            for i in range(10_000):
                sink.write(restored(i % 20, size_hw=(240, 320)))
                written.set()
        except RunError as error:
            ended.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert written.wait(10)
    sink.close()
    writer.join(20)
    assert "closed" in str(ended[0])
    assert frames_of(tmp_path / "v.mp4")
