"""The recorder: its files are decoded again with PyAV and OpenCV."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import RunError, UsageError
from device.images.frame import NO_VIDEO, NOT_RESTORED, Frame, Image, Pixels, Restored
from device.images.scenes import dead_leaves
from device.images.yuv import Yuv, from_rgb
from device.settings import RecordSettings
from device.state import RecordingState

av = pytest.importorskip("av", reason="the recorder needs PyAV: pip install 'deblurkit[live]'")
record = pytest.importorskip("device.sinks.record")
h264 = pytest.importorskip("device.sinks.h264")
Recorder = record.Recorder
FPS = 30.0
PLENTY = RecordSettings(max_gib=1.0, min_free_gib=0.0, segment_s=1.0)


def restored(image: Image, index: int, fps: float = FPS, mark: str = "") -> Restored:
    frame = Frame(index, 1000 + index / fps, image, mark=mark if mark == NO_VIDEO else "")
    return Restored(frame, image, mark)


def moving(count: int, height: int = 96, width: int = 128) -> list[Yuv]:
    scene = dead_leaves(height + count, width, 5)
    return [from_rgb(np.ascontiguousarray(scene[i : i + height])) for i in range(count)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def decoded(path: Path) -> list[av.VideoFrame]:
    """Every frame, from a decoder that does not ignore errors."""
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        return list(container.decode(video=0))


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def open_below(folder: Path) -> list[str]:
    """Files in that folder that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(str(folder))]


def rgb_by_opencv(path: Path) -> Pixels:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    got, bgr = capture.read()
    capture.release()
    assert got
    return bgr[..., ::-1]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    opened: list[Recorder] = []

    def make(settings: RecordSettings = PLENTY, folder: Path = tmp_path / "rec", fps: float = FPS) -> Recorder:
        opened.append(Recorder(folder, settings, fps))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_every_frame_reads_back_in_order_in_segments_of_the_requested_length(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    frames = moving(75)
    sink = recorder()
    for i, image in enumerate(frames):
        sink.write(restored(image, i))
    sink.close()
    segments = files(tmp_path / "rec")
    got = [decoded(path) for path in segments]
    assert [len(g) for g in got] == [30, 30, 15]
    for frame, image in zip([f for g in got for f in g], frames, strict=True):
        assert np.abs(luma_of(frame).astype(int) - image.y).mean() < 4
    assert sink.recording() == RecordingState(on=True, files=3, bytes=sum(p.stat().st_size for p in segments), error="")


def test_opencv_reads_every_segment_to_its_end(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    sink = recorder()
    for i, image in enumerate(moving(70)):
        sink.write(restored(image, i))
    sink.close()
    counts = []
    for path in files(tmp_path / "rec"):
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        counts.append(count)
    assert counts == [30, 30, 10]


def test_time_stamps_are_capture_times_and_there_is_a_key_frame_every_second(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    sink = recorder(RecordSettings(min_free_gib=0, segment_s=60))
    at_s = [0.0, 0.033, 0.2, 0.21, 0.9, 1.4, 1.5, 2.6, 2.6, 2.5, 3.0]  # one repeated, one that goes back
    for i, (second, image) in enumerate(zip(at_s, moving(len(at_s)), strict=True)):
        sink.write(Restored(Frame(i, 50 + second, image), image))
    sink.close()
    got = decoded(files(tmp_path / "rec")[0])
    times = [float(f.time) for f in got]
    assert times[:8] == pytest.approx(at_s[:8], abs=1e-4)
    assert all(later > earlier for earlier, later in pairwise(times))
    assert [at_s[i] for i, f in enumerate(got) if f.key_frame] == [0.0, 1.4, 2.6]


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
def test_players_see_the_right_colours_for_every_matrix_and_range(
    recorder: Callable[..., Recorder], tmp_path: Path, matrix: str, full_range: bool
) -> None:
    chart = np.zeros((96, 160, 3), np.uint8)
    for i, colour in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200), (255, 255, 255), (0, 0, 0)]):
        chart[:, 32 * i : 32 * i + 32] = colour
    sink = recorder()
    sink.write(restored(from_rgb(chart, matrix, full_range), 0))
    sink.close()
    path = files(tmp_path / "rec")[0]
    middles = chart[48, 16::32].astype(int)
    frame = decoded(path)[0]
    assert (frame.color_range, frame.colorspace) == (2 if full_range else 1, 5 if matrix == "bt601" else 1)
    by_pyav = frame.to_ndarray(format="rgb24")
    assert np.abs(by_pyav[48, 16::32].astype(int) - middles).max() <= 6
    # OpenCV's reader requests B G R from FFmpeg without the stream's matrix if that is not the default.
    if matrix == "bt601":
        assert np.abs(rgb_by_opencv(path)[48, 16::32].astype(int) - middles).max() <= 6


def test_rgb_pictures_are_recorded_like_planes(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    pixels = dead_leaves(96, 128, 9)
    sink = recorder(RecordSettings(min_free_gib=0, mbit=40))
    sink.write(restored(pixels, 0))
    sink.close()
    got = decoded(files(tmp_path / "rec")[0])[0]
    assert np.abs(luma_of(got).astype(int) - from_rgb(pixels).y).mean() < 3


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (97, 131), (640, 1)])
def test_odd_sizes_repeat_their_last_row_and_column(
    recorder: Callable[..., Recorder], tmp_path: Path, width: int, height: int
) -> None:
    image = from_rgb(dead_leaves(height, width, 2))
    sink = recorder(RecordSettings(min_free_gib=0, mbit=40))
    sink.write(restored(image, 0))
    sink.close()
    luma = luma_of(decoded(files(tmp_path / "rec")[0])[0]).astype(int)
    assert luma.shape == (height + height % 2, width + width % 2)
    assert np.abs(luma[:height, :width] - image.y).mean() < 4
    assert np.abs(luma[:, -1] - luma[:, width - 1]).mean() < 6


def test_planes_with_padded_rows_are_cropped(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    image = from_rgb(dead_leaves(64, 96, 2))
    padded = [np.full((p.shape[0], p.shape[1] + 32), 255, np.uint8) for p in (image.y, image.u, image.v)]
    for wide, plane in zip(padded, (image.y, image.u, image.v), strict=True):
        wide[:, : plane.shape[1]] = plane
    views = Yuv(*(wide[:, :-32] for wide in padded))
    sink = recorder(RecordSettings(min_free_gib=0, mbit=40))
    sink.write(restored(views, 0))
    sink.close()
    assert np.abs(luma_of(decoded(files(tmp_path / "rec")[0])[0]).astype(int) - image.y).mean() < 4


def test_a_change_of_size_matrix_or_range_starts_a_new_segment(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    rgb = dead_leaves(64, 96, 1)
    kinds = [from_rgb(rgb), from_rgb(rgb[:32].copy()), from_rgb(rgb, "bt709"), from_rgb(rgb, "bt709", False)]
    sink = recorder(RecordSettings(min_free_gib=0, segment_s=60))
    for i in range(12):
        sink.write(restored(kinds[i // 3], i))
    sink.close()
    assert [len(decoded(path)) for path in files(tmp_path / "rec")] == [3, 3, 3, 3]


def test_a_repeated_frame_is_recorded_once(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    sink = recorder()
    for i, image in enumerate(moving(5)):
        one = restored(image, i)
        for _ in range(3):
            sink.write(one)
    sink.close()
    assert len(decoded(files(tmp_path / "rec")[0])) == 5


def test_no_segment_is_written_while_there_is_no_video(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    frames = moving(30)
    sink = recorder(RecordSettings(min_free_gib=0, segment_s=60))
    for i, image in enumerate(frames):
        sink.write(restored(image, i, mark=NO_VIDEO if 10 <= i < 20 else ""))
        if i == 15:
            whole = len(decoded(files(tmp_path / "rec")[0]))
    sink.close()
    assert whole == 10
    assert [len(decoded(path)) for path in files(tmp_path / "rec")] == [10, 10]


def test_frames_that_were_not_restored_are_recorded(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    sink = recorder()
    for i, image in enumerate(moving(4)):
        sink.write(restored(image, i, mark=NOT_RESTORED))
    sink.close()
    assert len(decoded(files(tmp_path / "rec")[0])) == 4


def test_recording_can_be_switched_and_releases_the_folder_when_off(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    sink = recorder(RecordSettings(min_free_gib=0, segment_s=60, at_start=False))
    for i, image in enumerate(moving(30)):
        if i in (10, 20):
            sink.record(i == 10)
        sink.write(restored(image, i))
        assert sink.recording().on is (10 <= i < 20)
    assert [len(decoded(path)) for path in files(tmp_path / "rec")] == [10]
    until = time.monotonic() + 10
    while (held := open_below(tmp_path / "rec")) and time.monotonic() < until:  # the last sync may still be running
        time.sleep(0.01)
    assert not held


def test_names_stay_unique_and_in_order_if_the_clock_is_changed(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([1_800_000_000.0, 1_800_000_000.0, 5.0, 5.0, 1_800_000_060.0, 0.0])
    real = time.gmtime
    monkeypatch.setattr("device.sinks.segments.time.gmtime", lambda: real(next(clock)))
    for _ in range(2):  # a restart in the middle
        sink = recorder()
        for i, image in enumerate(moving(75)):
            sink.write(restored(image, i))
        sink.close()
    names = [path.name for path in files(tmp_path / "rec")]
    assert [name[: len("deblurkit-00000001")] for name in names] == [f"deblurkit-{n:08d}" for n in range(1, 7)]
    assert "19700101T000005Z" in names[2]


def test_the_oldest_segments_are_deleted_first_regardless_of_their_times(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    settings = RecordSettings(max_gib=400 * 2**10 / 2**30, min_free_gib=0, segment_s=1, mbit=0.2)
    sink = recorder(settings)
    stranger = tmp_path / "rec" / "holiday.mp4"
    stranger.write_bytes(b"x" * 2**20)
    largest = 0
    for i, image in enumerate(moving(60) * 15):
        sink.write(restored(image, i))
        own = [p for p in files(tmp_path / "rec") if p != stranger]
        largest = max(largest, sum(p.stat().st_size for p in own))
        if i % 90 == 0:
            for k, path in enumerate(own):
                os.utime(path, (1000 - k, 1000 - k))
    sink.close()
    own = [p for p in files(tmp_path / "rec") if p != stranger]
    numbers = [int(p.name.split("-")[1]) for p in own]
    assert 200 * 2**10 < largest <= 400 * 2**10
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 1
    assert stranger.stat().st_size == 2**20
    assert all(decoded(p) for p in own)


def test_limits_that_are_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"max_gib 0.0001: expected at least 0.00745 for 4.0 Mbit/s"):
        Recorder(tmp_path / "rec", RecordSettings(max_gib=0.0001), FPS)
    with pytest.raises(UsageError, match=r"mbit 0: expected at least"):
        Recorder(tmp_path / "rec", RecordSettings(mbit=0), FPS)


def test_two_recorders_do_not_share_a_folder(recorder: Callable[..., Recorder]) -> None:
    first = recorder()
    with pytest.raises(RunError, match="another recorder uses it"):
        recorder()
    first.close()
    recorder()


def test_a_closed_recorder_refuses_frames_and_closes_twice(recorder: Callable[..., Recorder]) -> None:
    sink = recorder()
    sink.write(restored(moving(1)[0], 0))
    sink.close()
    sink.close()
    with pytest.raises(RunError, match="already closed"):
        sink.write(restored(moving(1)[0], 1))


def test_closing_from_another_thread_while_writing_leaves_complete_segments(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    sink, frames, refused = recorder(), moving(40), threading.Event()

    def feed() -> None:
        try:
            for i in range(100_000):
                sink.write(restored(frames[i % 40], i))
        except RunError:
            refused.set()

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(0.3)
    sink.close()
    thread.join(10)
    assert refused.is_set()
    assert all(decoded(path) for path in files(tmp_path / "rec"))


def test_if_the_hardware_encoder_does_not_open_x264_is_used_and_it_is_logged(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sys" / "video11").mkdir(parents=True)
    (tmp_path / "sys" / "video11" / "name").write_text("bcm2835-codec-encode\n")
    monkeypatch.setattr(h264, "_NAMES", tmp_path / "sys")
    h264._hardware_works.cache_clear()
    sink = recorder()
    sink.write(restored(moving(1)[0], 0))
    sink.close()
    h264._hardware_works.cache_clear()
    assert "using x264 instead" in caplog.text
    assert decoded(files(tmp_path / "rec")[0])


def test_memory_does_not_grow_over_ten_thousand_frames_and_many_segments(recorder: Callable[..., Recorder]) -> None:
    settings = RecordSettings(max_gib=3 * 2**20 / 2**30, min_free_gib=0, segment_s=1, mbit=1)
    sink, frames = recorder(settings), moving(60)

    def resident_kib() -> int:
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    marks = []
    for i in range(10_000):
        sink.write(restored(frames[i % 60], i))
        if i in (2_000, 9_999):
            until = time.monotonic() + 30
            while (sink._syncer._waiting or sink._syncer._busy_since is not None) and time.monotonic() < until:
                time.sleep(0.01)  # queued syncs hold descriptors
            marks.append((resident_kib(), len(os.listdir("/proc/self/fd")), threading.active_count()))
    (kib, fds, threads), (kib_later, fds_later, threads_later) = marks
    assert kib_later - kib < 4096
    assert fds_later == fds
    assert threads_later == threads
