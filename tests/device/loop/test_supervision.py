"""What the loop survives: a model that hangs, a camera without a picture, a target that is missed, a sink that fails."""

import threading
import time

import pytest
from loop_parts import FakeSource, MemorySink, SlowModels, run, sink_workers, start, until, until_no_thread

from device.errors import RunError
from device.images.frame import NO_VIDEO, NOT_RESTORED, Frame
from device.loop.pipeline import run_pipeline
from device.loop.rate_control import RateControl
from device.loop.sink_worker import SinkWorker
from device.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)  # a test that hangs has found a deadlock


# A model that hangs


def test_a_model_that_hangs_is_left_behind_and_its_frame_passes_through_with_a_mark(models: SlowModels) -> None:
    source, sink, telemetry, stop = FakeSource(10**9, live=True, pause_s=0.02), MemorySink(), Telemetry(), threading.Event()
    models.hangs_at = {0}
    models.until = threading.Event()  # a live sink gets only the newest frame: later frames wait until this one was shown
    thread, raised = start(source, models, [sink], telemetry, stop, 5, hang_s=1.0)
    until(lambda: sink.marks)
    models.until.set()
    thread.join(20)
    assert not thread.is_alive()
    assert not raised
    assert models.recovered == len(models.failures) == 1
    assert sink.marks[0] == (0, NOT_RESTORED)
    assert [mark for _, mark in sink.marks[1:]] == [""] * 4
    models.released.set()  # the thread that was left behind returns, and must pass nothing on
    until_no_thread()
    assert [index for index, _ in sink.marks].count(0) == 1


def test_a_model_that_hangs_again_and_again_ends_the_run(models: SlowModels) -> None:
    source, sink = FakeSource(10**9, live=True, pause_s=0.02), MemorySink()
    models.hangs_at = set(range(10**4))
    models.most_failures = 3
    with pytest.raises(RunError, match="hangs"):
        run(source, models, [sink], Telemetry(), threading.Event(), hang_s=0.2)
    assert models.recovered == 2
    models.released.set()
    until_no_thread()


def test_beat_is_called_while_frames_move_and_not_while_the_source_hangs(models: SlowModels) -> None:
    beats: list[float] = []
    source, stop = FakeSource(10**9, live=True, pause_s=0.01, hangs_at=20), threading.Event()
    thread, _ = start(source, models, [MemorySink()], Telemetry(), stop, hang_s=0.5, beat=lambda: beats.append(time.monotonic()))
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


# Placeholder frames, frame rate and rate control


def test_a_placeholder_frame_bypasses_the_model_and_is_not_counted(models: SlowModels) -> None:
    class Blind(FakeSource):
        def read(self) -> Frame | None:
            frame = super().read()
            return frame and Frame(frame.index, frame.captured_s, frame.image, mark=NO_VIDEO if frame.index < 3 else "")

    sink, telemetry = MemorySink(), Telemetry()
    run(Blind(5, live=False), models, [sink], telemetry, threading.Event())
    assert [index for index, _ in models.asked] == [3, 4]
    assert [mark for _, mark in sink.marks] == [NO_VIDEO] * 3 + [""] * 2
    assert telemetry.frames == 2


def test_a_frame_rate_is_kept_by_showing_the_last_restored_frame_again(models: SlowModels) -> None:
    source, sink, telemetry, stop = FakeSource(10**9, live=True, hangs_at=2), MemorySink(), Telemetry(), threading.Event()
    made = sink_workers(source, [sink], telemetry, stop, repeat_s=0.05)
    thread = threading.Thread(target=run_pipeline, args=(source, models, made, telemetry, stop), daemon=True)
    thread.start()
    until(lambda: telemetry.repeated >= 5)
    stop.set()
    source.close()
    thread.join(20)
    assert set(sink.indices[-5:]) == {sink.indices[-1]}
    assert telemetry.frames <= 2


def test_rate_control_decides_which_frames_are_restored_and_with_which_model(models: SlowModels) -> None:
    rate_control = RateControl(2, 1000.0, 0.0, 1000.0)
    rate_control._hysteresis.level = 3  # the second model, every second frame
    telemetry = Telemetry()
    run(FakeSource(10, live=False), models, [MemorySink()], telemetry, threading.Event(), rate_control=rate_control)
    assert models.asked == [(index, 1) for index in range(0, 10, 2)]
    assert telemetry.skipped == 5


# A sink that fails beside others


def test_a_sink_that_fails_is_opened_again_and_the_others_miss_nothing(models: SlowModels) -> None:
    source, telemetry, stop = FakeSource(10**9, live=True, pause_s=0.01), Telemetry(), threading.Event()
    good, failing, reopened = MemorySink(), MemorySink(fails_at=2), MemorySink()
    first, second = sink_workers(source, [good, failing], telemetry, stop)
    second = SinkWorker(failing, telemetry, stop, live=True, first=False, reopen=lambda: reopened)
    thread = threading.Thread(target=run_pipeline, args=(source, models, [first, second], telemetry, stop), daemon=True)
    thread.start()
    until(lambda: reopened.indices)
    stop.set()
    thread.join(20)
    assert failing.go.is_set()  # it was closed
    assert (second.failures, second.error) == (1, None)
    assert (first.failures, first.error) == (0, None)
    assert good.indices == sorted(set(good.indices))
    outage = [index for index in good.indices if failing.indices[-1] < index < reopened.indices[0]]
    assert len(outage) > 10  # the failed sink was opened again after a second
    # The first sink misses only frames that are counted as dropped, and those in progress when the run was stopped.
    assert 0 <= source.reads - len(good.indices) - telemetry.dropped <= 4


def test_a_sink_that_never_returns_does_not_stop_the_others(models: SlowModels) -> None:
    source, telemetry, stop = FakeSource(10**9, live=True, pause_s=0.01), Telemetry(), threading.Event()
    good, stuck = MemorySink(), MemorySink(holds_at=0)
    thread, _ = start(source, models, [good, stuck], telemetry, stop)
    until(lambda: len(good.indices) >= 30)
    stop.set()
    stuck.close()
    thread.join(20)
    until_no_thread()
