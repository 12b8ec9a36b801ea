"""The loop: which thread waits for which, which frames are dropped, and how it ends. Uses the shipped model on small frames."""

import threading
import time

import pytest
from loop_parts import FakeSource, MemorySink, SlowModels, loop_threads, run, start, until_no_thread

from device.errors import BundleError, CameraLost, DataError, RunError
from device.images.frame import Frame, Restored
from device.sinks.null import Null
from device.sources.demo import Demo
from device.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)  # a test that hangs has found a deadlock


# Frames


def test_files_lose_no_frame_and_keep_their_order_even_with_a_slow_sink(models: SlowModels) -> None:
    sink, telemetry = MemorySink(pause_s=0.01), Telemetry()
    run(FakeSource(30, live=False), models, [sink], telemetry, threading.Event())
    assert sink.indices == list(range(30))
    assert (telemetry.frames, telemetry.dropped) == (30, 0)
    assert not loop_threads()


def test_every_sink_gets_every_frame(models: SlowModels) -> None:
    sinks = [MemorySink(), MemorySink(pause_s=0.01), MemorySink()]
    run(FakeSource(8, live=False), models, list(sinks), Telemetry(), threading.Event())
    assert [sink.indices for sink in sinks] == [list(range(8))] * 3


def test_a_live_source_with_a_slow_model_drops_old_frames_and_counts_them(models: SlowModels) -> None:
    source, sink, telemetry = FakeSource(50, live=True), MemorySink(), Telemetry()
    models.until = source.ended
    run(source, models, [sink], telemetry, threading.Event())
    assert sink.indices == sorted(sink.indices)
    assert sink.indices[-1] == 49  # the newest frame is kept
    assert telemetry.dropped >= 48
    assert telemetry.dropped + telemetry.frames == 50 == telemetry.dropped + len(sink.indices)


def test_a_live_source_with_a_slow_sink_counts_every_lost_frame(models: SlowModels) -> None:
    source, sink, telemetry = FakeSource(50, live=True, pause_s=0.01), MemorySink(holds_at=0), Telemetry()
    sink.go = source.ended
    run(source, models, [sink], telemetry, threading.Event())
    assert sink.indices == sorted(sink.indices)
    assert telemetry.dropped > 0
    assert telemetry.dropped + len(sink.indices) == 50


@pytest.mark.parametrize("live", [False, True])
def test_most_frames_is_exact_even_with_a_slow_sink(models: SlowModels, live: bool) -> None:
    source, sink, telemetry = FakeSource(10**9, live), MemorySink(pause_s=0.02), Telemetry()
    run(source, models, [sink], telemetry, threading.Event(), 7)
    assert len(sink.indices) == telemetry.frames == 7
    if not live:
        assert source.reads == 7  # no frame beyond the limit is read: it may be a damaged one
    assert not loop_threads()


def test_the_real_demo_runs_and_leaves_no_thread_behind(models: SlowModels) -> None:
    before = set(threading.enumerate())
    source, telemetry, stop = Demo(width=64, height=48, fps=60.0), Telemetry(), threading.Event()
    run(source, models, [Null()], telemetry, stop, 10)
    assert telemetry.frames == 10
    assert set(threading.enumerate()) <= before
    assert not stop.is_set()  # the event belongs to the caller
    assert {"capture", "output"} <= set(telemetry.snapshot().stages_ms)


def test_a_file_is_played_at_its_own_rate_when_asked(models: SlowModels) -> None:
    source, sink = FakeSource(6, live=False), MemorySink()
    began = time.monotonic()
    run(source, models, [sink], Telemetry(), threading.Event(), 0, 20.0)
    assert time.monotonic() - began >= 5 / 20
    assert sink.indices == list(range(6))


def test_progress_reports_the_number_of_frames_done(models: SlowModels) -> None:
    told: list[int] = []
    run(FakeSource(4, live=False), models, [MemorySink()], Telemetry(), threading.Event(), progress=told.append)
    assert told == [1, 2, 3, 4]


# Errors


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_the_source_ends_the_run_and_is_raised(models: SlowModels, live: bool) -> None:
    sink = MemorySink()
    with pytest.raises(CameraLost, match="unplugged at 5"):
        run(FakeSource(9, live, fails_at=5), models, [sink], Telemetry(), threading.Event())
    assert live or sink.indices == [0, 1, 2, 3, 4]  # the frames before it are written
    assert not loop_threads()


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_a_sink_ends_the_run_and_is_raised(models: SlowModels, live: bool) -> None:
    sink = MemorySink(fails_at=0)
    with pytest.raises(RunError, match="disk full at 0"):
        run(FakeSource(10**9, live), models, [sink], Telemetry(), threading.Event())
    assert not loop_threads()


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_the_model_ends_the_run_and_is_raised(models: SlowModels, live: bool) -> None:
    models.error = BundleError("the model fails")
    with pytest.raises(BundleError, match="the model fails"):
        run(FakeSource(10**9, live), models, [MemorySink()], Telemetry(), threading.Event())
    assert not loop_threads()


def test_a_sink_that_fails_while_the_camera_hangs_still_ends_the_run(models: SlowModels) -> None:
    source, sink = FakeSource(10**9, live=True, hangs_at=1), MemorySink(holds_at=0, fails_at=0)
    thread, raised = start(source, models, [sink], Telemetry(), threading.Event())
    assert source.hanging.wait(20)
    assert sink.holding.wait(20)
    sink.go.set()
    thread.join(20)
    assert [type(error) for error in raised] == [RunError]
    source.close()
    until_no_thread()


def test_a_sink_that_fails_while_a_frame_waits_for_it_ends_the_run(models: SlowModels) -> None:
    source, sink = FakeSource(10**9, live=False), MemorySink(holds_at=0, fails_at=0)
    thread, raised = start(source, models, [sink], Telemetry(), threading.Event())
    assert sink.holding.wait(20)
    time.sleep(0.3)  # frame 1 is restored and waits for the sink, frame 2 waits for the model
    sink.go.set()
    thread.join(20)
    assert [type(error) for error in raised] == [RunError]
    assert not loop_threads()


def test_an_error_that_is_not_an_exception_is_raised_too(models: SlowModels) -> None:
    class Odd(MemorySink):
        def write(self, restored: Restored) -> None:
            raise SystemExit("odd")

    with pytest.raises(SystemExit, match="odd"):
        run(FakeSource(3, live=False), models, [Odd()], Telemetry(), threading.Event())


def test_an_unreadable_file_is_named_and_the_frames_before_it_are_written(models: SlowModels) -> None:
    class Torn(FakeSource):
        def read(self) -> Frame | None:
            if self.reads == 3:
                raise DataError("frame-3.png: torn")
            return super().read()

    sink = MemorySink(pause_s=0.01)
    with pytest.raises(DataError, match=r"frame-3\.png"):
        run(Torn(9, live=False), models, [sink], Telemetry(), threading.Event())
    assert sink.indices == [0, 1, 2]


# Stop


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("after", [0, 3])
def test_stop_ends_the_run_even_when_read_never_returns(
    models: SlowModels, live: bool, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    source, stop = FakeSource(10**9, live, hangs_at=after), threading.Event()
    thread, raised = start(source, models, [Null()], Telemetry(), stop)
    assert source.hanging.wait(20)
    stop.set()
    stopped = time.monotonic()
    thread.join(20)
    assert time.monotonic() - stopped < 4  # the limit is two seconds; the machine may be busy
    assert not thread.is_alive()
    assert not raised
    assert "the source did not return" in caplog.text
    source.close()
    until_no_thread()


def test_stop_ends_a_live_run_even_when_source_and_sink_never_return(
    models: SlowModels, caplog: pytest.LogCaptureFixture
) -> None:
    source, sink, stop = FakeSource(10**9, live=True, hangs_at=2), MemorySink(holds_at=0), threading.Event()
    thread, raised = start(source, models, [sink], Telemetry(), stop)
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


def test_stop_of_a_file_run_waits_for_the_picture_that_is_being_written(models: SlowModels) -> None:
    source, sink, stop = FakeSource(10**9, live=False), MemorySink(holds_at=2), threading.Event()
    thread, raised = start(source, models, [sink], Telemetry(), stop)
    assert sink.holding.wait(20)
    stop.set()
    time.sleep(0.5)
    assert thread.is_alive()
    sink.go.set()
    thread.join(20)
    assert not raised
    assert sink.indices[:3] == [0, 1, 2]
    assert not loop_threads()


def test_stop_while_a_file_waits_for_the_model_leaves_no_thread(models: SlowModels) -> None:
    source, stop = FakeSource(10**9, live=False), threading.Event()
    models.until = threading.Event()
    thread, raised = start(source, models, [MemorySink()], Telemetry(), stop)
    time.sleep(0.3)  # frame 0 is in the model, frame 1 waits to be taken
    stop.set()
    models.until.set()
    thread.join(20)
    assert not raised
    assert not loop_threads()


@pytest.mark.parametrize("live", [False, True])
def test_a_run_that_is_stopped_before_it_starts_does_nothing(models: SlowModels, live: bool) -> None:
    source, sink, stop = FakeSource(10**9, live), MemorySink(), threading.Event()
    stop.set()
    run(source, models, [sink], Telemetry(), stop)
    assert (source.reads, sink.indices) == (0, [])
    assert not loop_threads()


def test_stopping_at_any_moment_ends_the_run_in_order(models: SlowModels) -> None:
    for turn in range(40):
        source, sink, stop, telemetry = FakeSource(10**9, live=turn % 2 == 0), MemorySink(), threading.Event(), Telemetry()
        thread, raised = start(source, models, [sink], telemetry, stop)
        time.sleep(turn * 0.0007)
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not raised
        assert sink.indices == sorted(set(sink.indices))
        assert telemetry.frames == len(sink.indices)
        assert not loop_threads()
