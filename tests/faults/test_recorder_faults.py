"""What recordings survive: SIGKILL, truncated files, media that are full, read-only, removed, slow or stuck."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from device.errors import RunError
from device.images.frame import Frame, Restored
from device.images.scenes import dead_leaves
from device.images.yuv import from_rgb
from device.loop.sink_worker import SinkWorker
from device.settings import RecordSettings
from device.telemetry import Telemetry

av = pytest.importorskip("av", reason="the recorder needs PyAV: pip install 'deblurkit[live]'")
record = pytest.importorskip("device.sinks.record")
segments = pytest.importorskip("device.sinks.segments")
Recorder = record.Recorder
ROOT = Path(__file__).parent.parent.parent
FPS = 30
SMALL = RecordSettings(max_gib=1, min_free_gib=0, segment_s=1, mbit=0.2)
# Records 30 frames a second, and prints after each frame how many were written.
CHILD = """
import sys, time
from pathlib import Path
from device.images.frame import Frame, Restored
from device.images.scenes import dead_leaves
from device.settings import RecordSettings
from device.sinks.record import Recorder
from device.images.yuv import from_rgb

pictures = [from_rgb(dead_leaves(96, 128, i)) for i in range(8)]
recorder = Recorder(Path(sys.argv[1]), RecordSettings(min_free_gib=0, segment_s=1, mbit=1), 30.0)
began = time.monotonic()
for i in range(10_000):
    time.sleep(max(0.0, began + i / 30 - time.monotonic()))
    picture = pictures[i % 8]
    recorder.write(Restored(Frame(i, time.monotonic(), picture), picture))
    sys.stdout.write(f"{i + 1}\\n")
    sys.stdout.flush()
"""
PICTURES = [from_rgb(np.ascontiguousarray(dead_leaves(150, 128, 5)[i : i + 96])) for i in range(50)]


def restored(index: int) -> Restored:
    image = PICTURES[index % len(PICTURES)]
    return Restored(Frame(index, 1000 + index / FPS, image), image)


def own(folder: Path) -> list[Path]:
    return sorted(folder.glob("deblurkit-*.mp4"))


def frames_in(path: Path) -> int:
    """Number of frames, decoded by a decoder that ignores no error."""
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def recorder() -> Iterator[Callable[..., Recorder]]:
    opened: list[Recorder] = []

    def make(folder: Path, settings: RecordSettings = SMALL) -> Recorder:
        opened.append(Recorder(folder, settings, float(FPS)))
        return opened[-1]

    yield make
    for one in opened:
        with suppress(RunError):  # the test has seen it
            one.close()


def write_until_refused(sink: Recorder, first: int = 0, most: int = 20 * FPS) -> str:
    """Write frames until one is refused; returns the error message."""
    for i in range(first, first + most):
        try:
            sink.write(restored(i))
        except RunError as error:
            return str(error)
    raise AssertionError(f"all {most} frames were written")


def test_sigkill_at_any_moment_costs_at_most_a_second_and_the_next_start_goes_on_within_the_caps(tmp_path: Path) -> None:
    folder, dice = tmp_path / "rec", random.Random(4)
    seen: set[str] = set()
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        last = dice.randrange(FPS, 4 * FPS)
        written = 0
        for line in child.stdout:
            written = int(line)
            if written >= last:
                time.sleep(dice.random() / FPS)
                child.send_signal(signal.SIGKILL)
                break
        written += len(child.stdout.readlines())
        child.wait()
        new = [path for path in own(folder) if path.name not in seen]
        seen |= {path.name for path in new}
        assert written >= last
        *finished, _ = new
        assert all(FPS - 3 <= frames_in(path) <= FPS + 3 for path in finished)
        kept = sum(playable_frames(path) for path in new)  # as they are, even if the last one is incomplete
        assert written - FPS <= kept <= written + 1
    before = own(folder)
    cap = sum(path.stat().st_size for path in before) // 2
    sink = Recorder(folder, RecordSettings(max_gib=cap / 2**30, min_free_gib=0, segment_s=1, mbit=0.2), float(FPS))
    assert all(frames_in(path) > 0 for path in own(folder))  # the last one is repaired
    for i in range(2 * FPS):
        sink.write(restored(i))
    sink.close()
    assert sum(path.stat().st_size for path in own(folder)) <= cap
    assert own(folder)[0].name > before[0].name  # the oldest was deleted
    assert own(folder)[-1].name > before[-1].name


def playable_frames(path: Path) -> int:
    """Number of frames that a player shows: up to the end of the file, complete or not."""
    if path.stat().st_size == 0:
        return 0
    count = 0
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except av.FFmpegError:
            pass
    return count


def test_what_was_synced_at_any_moment_lacks_at_most_a_second_of_what_was_written(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, synced = 0, [(0, 0)]  # (frames written when a sync began, frames in all synced segments after it)
    on_medium: dict[str, int] = {}
    sync = os.fdatasync

    def watched(fd: int) -> None:
        sync(fd)
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.endswith(".mp4"):
            copy = tmp_path / "copy.mp4"
            copy.write_bytes(Path(name).read_bytes())
            on_medium[name] = playable_frames(copy)
            synced.append((written, sum(on_medium.values())))

    monkeypatch.setattr(os, "fdatasync", watched)
    sink = recorder(tmp_path / "rec", RecordSettings(min_free_gib=0, segment_s=2, mbit=1))
    began = time.monotonic()
    for i in range(5 * FPS):
        time.sleep(max(0.0, began + i / FPS - time.monotonic()))
        sink.write(restored(i))
        written = i + 1
    sink.close()
    assert len(synced) >= 10
    assert max(later[0] - earlier[1] for earlier, later in pairwise(synced)) <= FPS


@pytest.mark.parametrize("tail", ["cut", "zeros"])
def test_what_a_power_cut_leaves_of_a_segment_is_whole_after_the_next_start(
    recorder: Callable[..., Recorder], tmp_path: Path, tail: str
) -> None:
    folder = tmp_path / "rec"
    sink = recorder(folder, RecordSettings(min_free_gib=0, segment_s=60, mbit=0.2))
    for i in range(75):
        sink.write(restored(i))
    sink.close()
    path = own(folder)[0]
    data = path.read_bytes()
    dice = random.Random(1)
    counts = set()
    for _ in range(40):
        at = dice.randrange(len(data) // 2 if tail == "zeros" else 0, len(data))
        path.write_bytes(data[:at] + (bytes(len(data) - at) if tail == "zeros" else b""))
        Recorder(folder, SMALL, float(FPS)).close()
        counts.add(frames_in(path) if path.exists() else 0)
    # A fragment is half a second, 15 frames.
    assert counts <= {0, 15, 30, 45, 60, 75}
    assert len(counts) >= 3


def test_a_segment_that_the_power_cut_left_empty_is_removed_and_its_number_not_used_again(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "deblurkit-00000041-20260101T000000Z.mp4").touch()
    sink = recorder(tmp_path / "rec")
    assert own(tmp_path / "rec") == []
    sink.write(restored(0))
    sink.close()
    assert [frames_in(path) for path in own(tmp_path / "rec")] == [1]
    assert own(tmp_path / "rec")[0].name.startswith("deblurkit-00000042-")


def test_on_a_small_medium_it_records_for_ever(recorder: Callable[..., Recorder], disk: Callable[[int], Path]) -> None:
    place = disk(1024)
    sink = recorder(place / "rec")
    for i in range(60 * FPS):
        sink.write(restored(i))
        assert os.statvfs(place).f_bavail > 0
    sink.close()
    assert int(own(place / "rec")[0].name.split("-")[1]) > 1
    assert [frames_in(path) for path in own(place / "rec")[-3:-1]] == [FPS, FPS]


def test_a_medium_filled_by_others_is_named_and_used_again_when_there_is_room(
    recorder: Callable[..., Recorder], disk: Callable[[int], Path]
) -> None:
    place = disk(2048)
    sink = recorder(place / "rec")
    for i in range(60):
        sink.write(restored(i))
    with open(place / "others", "wb", buffering=0) as others, suppress(OSError):
        while os.statvfs(place).f_bavail:
            others.write(bytes(4096))
    said = write_until_refused(sink, 60)
    assert str(place) in said
    assert "No space left" in said or "MiB are free" in said
    assert sink.recording().error == said
    sink.close()
    assert all(frames_in(path) for path in own(place / "rec"))
    again = recorder(place / "rec")
    assert "no older recording to delete" in write_until_refused(again)
    again.close()
    (place / "others").unlink()
    again = recorder(place / "rec")
    for i in range(40):
        again.write(restored(i))
    again.close()
    assert frames_in(own(place / "rec")[-1]) == 10


def test_a_read_only_medium_is_named(recorder: Callable[..., Recorder], disk: Callable[[int], Path]) -> None:
    place = disk(1024)
    (place / "rec").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    said = write_until_refused(recorder(place / "rec"))
    assert f"{place / 'rec'}: recording failed: Read-only file system" in said
    with pytest.raises(RunError, match="cannot be opened: Read-only file system"):
        recorder(place / "new")


def test_a_folder_removed_under_way_is_noticed_within_a_second_and_made_again(
    recorder: Callable[..., Recorder], tmp_path: Path
) -> None:
    folder = tmp_path / "rec"
    sink = recorder(folder)
    for i in range(40):
        sink.write(restored(i))
    folder.rename(tmp_path / "elsewhere")
    assert "disappeared while recording" in write_until_refused(sink, 40, FPS)
    sink.close()
    assert not folder.exists()
    again = recorder(folder)
    again.write(restored(0))
    again.close()
    assert [frames_in(path) for path in own(folder)] == [1]
    assert all(frames_in(path) for path in own(tmp_path / "elsewhere"))


def test_where_the_medium_was_nothing_is_written_after_it_was_removed(
    recorder: Callable[..., Recorder], disk: Callable[[int], Path]
) -> None:
    place = disk(1024)
    sink = recorder(place)
    for i in range(40):
        sink.write(restored(i))
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    try:
        assert "no longer the same folder" in write_until_refused(sink, 40, FPS)
        sink.close()
        with pytest.raises(RunError, match=f"nothing is mounted at {place}"):
            recorder(place)
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1024k", "tmpfs", str(place)], check=True)
    again = recorder(place)
    again.write(restored(0))
    again.close()
    assert [frames_in(path) for path in own(place)] == [1]


def test_a_medium_that_the_system_knows_of_has_to_be_mounted_from_the_start(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "fstab").write_text(f"# media\nLABEL=REC {tmp_path}/stick ext4 nofail 0 2\n\nproc /proc proc defaults 0 0\n")
    monkeypatch.setattr(segments, "_FSTAB", tmp_path / "fstab")
    with pytest.raises(RunError, match=f"nothing is mounted at {tmp_path}/stick; insert the medium"):
        recorder(tmp_path / "stick" / "rec")
    assert list((tmp_path / "stick").iterdir()) == []
    recorder(tmp_path / "rec")


def test_parents_of_the_folder_are_not_made(recorder: Callable[..., Recorder], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is its medium there"):
        recorder(tmp_path / "media" / "stick" / "rec")
    assert not (tmp_path / "media").exists()


def test_a_medium_that_is_slow_to_sync_costs_no_frame(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, returned = threading.Event(), threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        began.set()
        go_on.wait(60)
        returned.set()

    monkeypatch.setattr("device.sinks.syncer.STUCK_S", 60.0)
    monkeypatch.setattr(os, "fdatasync", slow)
    sink = recorder(tmp_path / "rec")
    for i in range(4 * FPS):
        sink.write(restored(i))
    assert began.wait(20)
    assert not returned.is_set()  # four seconds of video were written during one sync
    go_on.set()
    sink.close()
    assert [frames_in(path) for path in own(tmp_path / "rec")] == [FPS] * 4


def test_a_medium_that_does_not_answer_is_named_and_does_not_hold_up_the_end(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, answer, returned = threading.Event(), threading.Event(), threading.Event()

    def stuck(fd: int) -> None:
        began.set()
        answer.wait(60)
        returned.set()

    monkeypatch.setattr("device.sinks.syncer.STUCK_S", 0.05)
    monkeypatch.setattr(os, "fdatasync", stuck)
    sink = recorder(tmp_path / "rec")
    sink.write(restored(0))
    assert began.wait(20)
    assert "has not answered for" in write_until_refused(sink, 1)
    sink.close()
    assert not returned.is_set()  # closing did not wait for the medium
    answer.set()


def test_a_medium_that_fails_to_sync_is_named(
    recorder: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    sink = recorder(tmp_path / "rec")
    sink.write(restored(0))
    assert "could not be written to the medium: Input/output error" in write_until_refused(sink, 1)


def feed_until(worker: SinkWorker, numbers: Iterator[int], done: Callable[[], bool]) -> None:
    """Give the worker frames until `done`; half a minute at most."""
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        worker.slot.put(restored(next(numbers)))
        time.sleep(1 / FPS)
    assert done(), worker.state()


def test_a_sink_worker_with_a_full_disk_tries_again_until_there_is_room(disk: Callable[[int], Path]) -> None:
    place = disk(2048)
    (place / "others").write_bytes(bytes(2020 * 1024))
    stop = threading.Event()

    def opened() -> Recorder:
        return Recorder(place / "rec", SMALL, float(FPS))

    worker = SinkWorker(opened(), Telemetry(), stop, live=True, first=False, reopen=opened)
    worker.thread.start()
    try:
        numbers = iter(range(10**6))
        feed_until(worker, numbers, lambda: "MiB are free" in worker.state().error)
        (place / "others").unlink()
        feed_until(worker, numbers, lambda: worker.frames > 20)
    finally:
        worker.slot.close()
        worker.thread.join(10)
        worker.close()
    assert worker.state().failures >= 1
    assert worker.state().error == ""
    assert sum(frames_in(path) for path in own(place / "rec")) == worker.frames
