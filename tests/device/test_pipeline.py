"""The loop: who waits for whom, what is dropped, and how it ends. The model is the shipped one, on small frames."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from device.bundle import Bundle
from device.deadline import Deadline
from device.errors import BundleError, CameraLost, DataError, RunError
from device.frame import NO_VIDEO, NOT_RESTORED, Frame, Restored
from device.outlet import Outlet
from device.pipeline import run_pipeline
from device.restorer import Restorer
from device.sinks import Sink
from device.sinks.null import Null
from device.sources import Source, Status
from device.sources.demo import Demo
from device.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)  # what hangs here is a deadlock
FOREVER_S = 30.0


class Counter:
    """A source of small frames, as fast as they are read; frame i is grey. Fails at frame `fails_at`, if told so."""

    description, fps, origin, status = "counter", 0.0, None, Status()

    def __init__(self, total: int, live: bool, fails_at: int = -1, hangs_at: int = -1, pause_s: float = 0.0) -> None:
        self.total, self.live, self.reads, self._pause_s = total, live, 0, pause_s
        self._fails_at, self._hangs_at = fails_at, hangs_at
        self.ended, self.hanging, self.released = threading.Event(), threading.Event(), threading.Event()

    def read(self) -> Frame | None:
        index = self.reads
        if index == self._hangs_at:
            self.hanging.set()
            self.released.wait(FOREVER_S)
        if index == self._fails_at:
            raise CameraLost(f"unplugged at {index}")
        if index == self.total:
            self.ended.set()
            return None
        self.reads += 1
        time.sleep(self._pause_s)
        return Frame(index, time.monotonic(), np.full((16, 24, 3), index % 256, np.uint8))

    def close(self) -> None:
        self.released.set()


class Kept:
    """A sink that keeps what it gets; from frame `holds_at` on it waits for `go`. Fails at its write `fails_at`, if told so."""

    description = "kept"

    def __init__(self, holds_at: int = 10**9, fails_at: int = -1, pause_s: float = 0.0) -> None:
        self.indices: list[int] = []
        self.marks: list[tuple[int, str]] = []
        self._holds_at, self._fails_at, self._pause_s = holds_at, fails_at, pause_s
        self.holding, self.go = threading.Event(), threading.Event()

    def write(self, restored: Restored) -> None:
        if restored.frame.index >= self._holds_at:
            self.holding.set()
            self.go.wait(FOREVER_S)
        if len(self.indices) == self._fails_at:  # of writes: a live source may have dropped the frame of that number
            raise RunError(f"disk full at {self._fails_at}")
        time.sleep(self._pause_s)
        self.indices.append(restored.frame.index)
        self.marks.append((restored.frame.index, restored.mark))

    def close(self) -> None:
        self.go.set()


class Held:
    """The shipped model, which takes its time: `restore` waits for an event, fails, or hangs at frames of `hangs_at`."""

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self.until: threading.Event | None = None
        self.error: Exception | None = None
        self.hangs_at: set[int] = set()
        self.released = threading.Event()
        self.failures: list[str] = []
        self.most_failures = 10**9
        self.rebuilt = 0
        self.asked: list[tuple[int, int]] = []

    @property
    def moved_s(self) -> float:
        return self._restorer.moved_s

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        self.asked.append((frame.index, model))
        if frame.index in self.hangs_at:
            self.released.wait(FOREVER_S)
        if self.until is not None:
            self.until.wait(FOREVER_S)
        if self.error is not None:
            raise self.error
        return Restored(frame, self._restorer.restore(frame.image))

    def passed_through(self, frame: Frame) -> Restored:
        return Restored(frame, frame.image, NOT_RESTORED)

    def failed(self, why: str) -> None:
        self.failures.append(why)
        if len(self.failures) >= self.most_failures:
            raise RunError(why)

    def rebuild(self) -> None:
        self.rebuilt += 1


@pytest.fixture
def restorer(small: Bundle) -> Iterator[Held]:
    with Restorer(small, threads=1) as opened:
        yield Held(opened)


def ours() -> list[str]:
    """Names of the loop's threads that are alive."""
    return [t.name for t in threading.enumerate() if t.name in ("capture", "restore", "output")]


def outlets(source: Source, sinks: list[Sink], telemetry: Telemetry, stop: threading.Event, **wanted: Any) -> list[Outlet]:
    """Outlets of a run, as a session makes them; none is opened again."""
    return [Outlet(sink, telemetry, stop, live=source.live, first=i == 0, **wanted) for i, sink in enumerate(sinks)]


def run(
    source: Source,
    models: Held,
    sinks: list[Sink],
    telemetry: Telemetry,
    stop: threading.Event,
    most_frames: int = 0,
    pace_fps: float = 0.0,
    progress: Callable[[int], None] = lambda frames: None,
    **wanted: Any,
) -> None:
    made = outlets(source, sinks, telemetry, stop, most_frames=most_frames if source.live else 0, progress=progress)
    run_pipeline(source, models, made, telemetry, stop, most_frames=most_frames, pace_fps=pace_fps, **wanted)


def start(*arguments: Any, **wanted: Any) -> tuple[threading.Thread, list[BaseException]]:
    """Run the pipeline in a thread, so that the test can act while it runs."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            run(*arguments, **wanted)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body, name="pipeline", daemon=True)
    thread.start()
    return thread, raised


def until_no_thread() -> None:
    """Wait for threads that a test has let go."""
    end = time.monotonic() + 10
    while ours() and time.monotonic() < end:
        time.sleep(0.02)
    assert not ours()


# What arrives


def test_files_lose_no_frame_and_keep_their_order_even_with_a_slow_sink(restorer: Held) -> None:
    sink, telemetry = Kept(pause_s=0.01), Telemetry()
    run(Counter(30, live=False), restorer, [sink], telemetry, threading.Event())
    assert sink.indices == list(range(30))
    assert (telemetry.frames, telemetry.dropped) == (30, 0)
    assert not ours()


def test_every_sink_gets_every_frame(restorer: Held) -> None:
    sinks = [Kept(), Kept(pause_s=0.01), Kept()]
    run(Counter(8, live=False), restorer, list(sinks), Telemetry(), threading.Event())
    assert [sink.indices for sink in sinks] == [list(range(8))] * 3


def test_a_live_source_with_a_slow_model_drops_old_frames_and_counts_them(restorer: Held) -> None:
    source, sink, telemetry = Counter(50, live=True), Kept(), Telemetry()
    restorer.until = source.ended
    run(source, restorer, [sink], telemetry, threading.Event())
    assert sink.indices == sorted(sink.indices)
    assert sink.indices[-1] == 49  # the newest is what is kept
    assert telemetry.dropped >= 48
    assert telemetry.dropped + telemetry.frames == 50 == telemetry.dropped + len(sink.indices)


def test_a_live_source_with_a_slow_sink_loses_no_frame_uncounted(restorer: Held) -> None:
    source, sink, telemetry = Counter(50, live=True, pause_s=0.01), Kept(holds_at=0), Telemetry()
    sink.go = source.ended
    run(source, restorer, [sink], telemetry, threading.Event())
    assert sink.indices == sorted(sink.indices)
    assert telemetry.dropped > 0
    assert telemetry.dropped + len(sink.indices) == 50


@pytest.mark.parametrize("live", [False, True])
def test_most_frames_is_exact_however_slow_the_sink(restorer: Held, live: bool) -> None:
    source, sink, telemetry = Counter(10**9, live), Kept(pause_s=0.02), Telemetry()
    run(source, restorer, [sink], telemetry, threading.Event(), 7)
    assert len(sink.indices) == telemetry.frames == 7
    if not live:
        assert source.reads == 7  # a frame that nobody asked for is not read: it may be the broken one
    assert not ours()


def test_the_real_demo_runs_and_leaves_no_thread_behind(restorer: Held) -> None:
    before = set(threading.enumerate())
    source, telemetry, stop = Demo(width=64, height=48, fps=60.0), Telemetry(), threading.Event()
    run(source, restorer, [Null()], telemetry, stop, 10)
    assert telemetry.frames == 10
    assert set(threading.enumerate()) <= before
    assert not stop.is_set()  # the caller's event is the caller's
    assert {"capture", "output"} <= set(telemetry.snapshot()["stages_ms"])


def test_a_file_is_played_at_its_own_rate_when_asked(restorer: Held) -> None:
    source, sink = Counter(6, live=False), Kept()
    began = time.monotonic()
    run(source, restorer, [sink], Telemetry(), threading.Event(), 0, 20.0)
    assert time.monotonic() - began >= 5 / 20
    assert sink.indices == list(range(6))


def test_progress_tells_the_frames_that_are_done(restorer: Held) -> None:
    told: list[int] = []
    run(Counter(4, live=False), restorer, [Kept()], Telemetry(), threading.Event(), progress=told.append)
    assert told == [1, 2, 3, 4]


# Errors


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_the_source_ends_the_run_and_is_raised(restorer: Held, live: bool) -> None:
    sink = Kept()
    with pytest.raises(CameraLost, match="unplugged at 5"):
        run(Counter(9, live, fails_at=5), restorer, [sink], Telemetry(), threading.Event())
    assert live or sink.indices == [0, 1, 2, 3, 4]  # what came before is written
    assert not ours()


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_a_sink_ends_the_run_and_is_raised(restorer: Held, live: bool) -> None:
    sink = Kept(fails_at=0)
    with pytest.raises(RunError, match="disk full at 0"):
        run(Counter(10**9, live), restorer, [sink], Telemetry(), threading.Event())
    assert not ours()


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_the_model_ends_the_run_and_is_raised(restorer: Held, live: bool) -> None:
    restorer.error = BundleError("the model fails")
    with pytest.raises(BundleError, match="the model fails"):
        run(Counter(10**9, live), restorer, [Kept()], Telemetry(), threading.Event())
    assert not ours()


def test_a_sink_that_fails_while_the_camera_hangs_still_ends_the_run(restorer: Held) -> None:
    source, sink = Counter(10**9, live=True, hangs_at=1), Kept(holds_at=0, fails_at=0)
    thread, raised = start(source, restorer, [sink], Telemetry(), threading.Event())
    assert source.hanging.wait(20)
    assert sink.holding.wait(20)
    sink.go.set()
    thread.join(20)
    assert [type(error) for error in raised] == [RunError]
    source.close()
    until_no_thread()


def test_a_sink_that_fails_while_a_frame_waits_for_it_ends_the_run(restorer: Held) -> None:
    source, sink = Counter(10**9, live=False), Kept(holds_at=0, fails_at=0)
    thread, raised = start(source, restorer, [sink], Telemetry(), threading.Event())
    assert sink.holding.wait(20)
    time.sleep(0.3)  # frame 1 is restored and waits to be handed over, frame 2 waits for the model
    sink.go.set()
    thread.join(20)
    assert [type(error) for error in raised] == [RunError]
    assert not ours()


def test_an_error_that_is_no_exception_of_ours_is_raised_too(restorer: Held) -> None:
    class Odd(Kept):
        def write(self, restored: Restored) -> None:
            raise SystemExit("odd")

    with pytest.raises(SystemExit, match="odd"):
        run(Counter(3, live=False), restorer, [Odd()], Telemetry(), threading.Event())


def test_the_frame_of_an_unreadable_file_is_named_and_the_ones_before_it_are_kept(restorer: Held) -> None:
    class Torn(Counter):
        def read(self) -> Frame | None:
            if self.reads == 3:
                raise DataError("frame-3.png: torn")
            return super().read()

    sink = Kept(pause_s=0.01)
    with pytest.raises(DataError, match=r"frame-3\.png"):
        run(Torn(9, live=False), restorer, [sink], Telemetry(), threading.Event())
    assert sink.indices == [0, 1, 2]


# A model that hangs


def test_a_model_that_hangs_is_left_behind_and_its_frame_passes_through_with_a_mark(restorer: Held) -> None:
    source, sink, telemetry, stop = Counter(10**9, live=True, pause_s=0.02), Kept(), Telemetry(), threading.Event()
    restorer.hangs_at = {0}
    thread, raised = start(source, restorer, [sink], telemetry, stop, 5, hang_s=0.4)
    thread.join(20)
    assert not thread.is_alive()
    assert not raised
    assert restorer.rebuilt == len(restorer.failures) == 1
    assert sink.marks[0] == (0, NOT_RESTORED)
    assert [mark for _, mark in sink.marks[1:]] == [""] * 4
    restorer.released.set()  # the thread that was left behind comes back, and hands nothing on
    until_no_thread()
    assert [index for index, _ in sink.marks].count(0) == 1


def test_a_model_that_hangs_again_and_again_ends_the_run(restorer: Held) -> None:
    source, sink = Counter(10**9, live=True, pause_s=0.02), Kept()
    restorer.hangs_at = set(range(10**4))
    restorer.most_failures = 3
    with pytest.raises(RunError, match="hangs"):
        run(source, restorer, [sink], Telemetry(), threading.Event(), hang_s=0.2)
    assert restorer.rebuilt == 2
    restorer.released.set()
    until_no_thread()


def test_the_heart_beats_while_frames_move_and_not_while_nothing_does(restorer: Held) -> None:
    beats: list[float] = []
    source, stop = Counter(10**9, live=True, pause_s=0.01, hangs_at=20), threading.Event()
    thread, _ = start(source, restorer, [Kept()], Telemetry(), stop, hang_s=0.5, beat=lambda: beats.append(time.monotonic()))
    assert source.hanging.wait(20)
    time.sleep(1.5)
    hung = time.monotonic()
    assert beats
    time.sleep(0.5)
    assert beats[-1] < hung
    stop.set()
    source.close()
    thread.join(20)
    until_no_thread()


# Cards and deadlines


def test_a_card_passes_by_the_model_and_is_no_frame(restorer: Held) -> None:
    class Blind(Counter):
        def read(self) -> Frame | None:
            frame = super().read()
            return frame and Frame(frame.index, frame.captured_s, frame.image, mark=NO_VIDEO if frame.index < 3 else "")

    sink, telemetry = Kept(), Telemetry()
    run(Blind(5, live=False), restorer, [sink], telemetry, threading.Event())
    assert [index for index, _ in restorer.asked] == [3, 4]
    assert [mark for _, mark in sink.marks] == [NO_VIDEO] * 3 + [""] * 2
    assert telemetry.frames == 2


def test_a_rate_is_held_by_showing_the_last_restored_frame_again(restorer: Held) -> None:
    source, sink, telemetry, stop = Counter(10**9, live=True, hangs_at=2), Kept(), Telemetry(), threading.Event()
    made = outlets(source, [sink], telemetry, stop, repeat_s=0.05)
    thread = threading.Thread(target=run_pipeline, args=(source, restorer, made, telemetry, stop), daemon=True)
    thread.start()
    time.sleep(1.0)
    stop.set()
    source.close()
    thread.join(20)
    assert telemetry.repeated >= 5
    assert set(sink.indices[-5:]) == {sink.indices[-1]}
    assert telemetry.frames <= 2


def test_the_deadline_says_which_frames_are_restored_and_with_which_model(restorer: Held) -> None:
    deadline = Deadline(2, 1000.0, 0.0, 1000.0)
    deadline.level = 3  # the second model, every second frame
    telemetry = Telemetry()
    run(Counter(10, live=False), restorer, [Kept()], telemetry, threading.Event(), deadline=deadline)
    assert restorer.asked == [(index, 1) for index in range(0, 10, 2)]
    assert telemetry.skipped == 5


# Sinks that fail beside others


def test_a_sink_that_fails_is_opened_again_and_the_others_do_not_notice(restorer: Held) -> None:
    source, telemetry, stop = Counter(10**9, live=True, pause_s=0.01), Telemetry(), threading.Event()
    good, failing, mended = Kept(), Kept(fails_at=2), Kept()
    first, second = outlets(source, [good, failing], telemetry, stop)
    second = Outlet(failing, telemetry, stop, live=True, first=False, reopen=lambda: mended)
    thread = threading.Thread(target=run_pipeline, args=(source, restorer, [first, second], telemetry, stop), daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not mended.indices and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    thread.join(20)
    assert mended.indices
    assert failing.go.is_set()  # it was closed
    assert second.failures == 1
    assert second.error is None
    assert len(good.indices) > len(failing.indices) + len(mended.indices)
    assert first.dropped == 0 or good.indices == sorted(good.indices)


def test_a_sink_that_never_returns_does_not_stop_the_others(restorer: Held) -> None:
    source, telemetry, stop = Counter(10**9, live=True, pause_s=0.01), Telemetry(), threading.Event()
    good, stuck = Kept(), Kept(holds_at=0)
    thread, _ = start(source, restorer, [good, stuck], telemetry, stop)
    end = time.monotonic() + 20
    while len(good.indices) < 30 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(good.indices) >= 30
    stop.set()
    stuck.close()
    thread.join(20)
    until_no_thread()


# Stop


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("after", [0, 3])
def test_stop_ends_the_run_even_when_read_never_returns(
    restorer: Held, live: bool, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    source, stop = Counter(10**9, live, hangs_at=after), threading.Event()
    thread, raised = start(source, restorer, [Null()], Telemetry(), stop)
    assert source.hanging.wait(20)
    stop.set()
    stopped = time.monotonic()
    thread.join(20)
    assert time.monotonic() - stopped < 4  # the promise is two seconds; this machine may be busy
    assert not thread.is_alive()
    assert not raised
    assert "the source did not return" in caplog.text
    source.close()
    until_no_thread()


def test_stop_ends_a_live_run_even_when_source_and_sink_never_return(restorer: Held, caplog: pytest.LogCaptureFixture) -> None:
    source, sink, stop = Counter(10**9, live=True, hangs_at=2), Kept(holds_at=0), threading.Event()
    thread, raised = start(source, restorer, [sink], Telemetry(), stop)
    assert source.hanging.wait(20)
    assert sink.holding.wait(20)
    stop.set()
    stopped = time.monotonic()
    thread.join(20)
    assert time.monotonic() - stopped < 4
    assert not raised
    assert "the sink did not return" in caplog.text
    sink.close()
    source.close()
    until_no_thread()


def test_stop_of_a_file_run_waits_for_the_picture_that_is_being_written(restorer: Held) -> None:
    source, sink, stop = Counter(10**9, live=False), Kept(holds_at=2), threading.Event()
    thread, raised = start(source, restorer, [sink], Telemetry(), stop)
    assert sink.holding.wait(20)
    stop.set()
    time.sleep(0.5)
    assert thread.is_alive()
    sink.go.set()
    thread.join(20)
    assert not raised
    assert sink.indices[:3] == [0, 1, 2]
    assert not ours()


def test_stop_while_a_file_waits_for_the_model_leaves_no_thread(restorer: Held) -> None:
    source, stop = Counter(10**9, live=False), threading.Event()
    restorer.until = threading.Event()
    thread, raised = start(source, restorer, [Kept()], Telemetry(), stop)
    time.sleep(0.3)  # frame 0 is in the model, frame 1 waits to be taken
    stop.set()
    restorer.until.set()
    thread.join(20)
    assert not raised
    assert not ours()


@pytest.mark.parametrize("live", [False, True])
def test_a_run_that_is_stopped_before_it_starts_does_nothing(restorer: Held, live: bool) -> None:
    source, sink, stop = Counter(10**9, live), Kept(), threading.Event()
    stop.set()
    run(source, restorer, [sink], Telemetry(), stop)
    assert (source.reads, sink.indices) == (0, [])
    assert not ours()


def test_stopping_at_any_moment_ends_the_run_in_order(restorer: Held) -> None:
    for turn in range(40):
        source, sink, stop, telemetry = Counter(10**9, live=turn % 2 == 0), Kept(), threading.Event(), Telemetry()
        thread, raised = start(source, restorer, [sink], telemetry, stop)
        time.sleep(turn * 0.0007)
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not raised
        assert sink.indices == sorted(set(sink.indices))
        assert telemetry.frames == len(sink.indices)
        assert not ours()
