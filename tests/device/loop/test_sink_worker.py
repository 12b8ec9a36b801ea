"""A sink and its thread: what it writes, what it repeats, and when it gives up."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from loop_parts import until

from device.errors import RunError, UsageError
from device.images.frame import NO_VIDEO, Frame, Restored
from device.loop import sink_worker
from device.loop.sink_worker import SinkWorker
from device.telemetry import Telemetry


class MemorySink:
    """Remembers what it is given; raises `error` at each write."""

    description = "kept"

    def __init__(self, error: Exception | None = None, closing: Exception | None = None) -> None:
        self.frames: list[Restored] = []
        self.error, self._closing, self.closed = error, closing, 0

    def write(self, restored: Restored) -> None:
        if self.error is not None:
            raise self.error
        self.frames.append(restored)

    def close(self) -> None:
        self.closed += 1
        if self._closing is not None:
            raise self._closing


def restored(index: int, mark: str = "") -> Restored:
    pixels = np.zeros((4, 6, 3), np.uint8)
    return Restored(Frame(index, time.monotonic(), pixels, mark=mark), pixels, mark)


def started(sink: MemorySink, **options: Any) -> tuple[SinkWorker, Telemetry, threading.Event]:
    telemetry, stop = Telemetry(), threading.Event()
    worker = SinkWorker(sink, telemetry, stop, **{"live": True, "first": True, **options})
    worker.thread.start()
    return worker, telemetry, stop


def test_the_last_frame_is_repeated_when_no_new_one_comes_in_time() -> None:
    sink = MemorySink()
    worker, telemetry, stop = started(sink, repeat_s=0.02)
    worker.slot.put(restored(7))
    until(lambda: len(sink.frames) > 4)
    stop.set()
    worker.thread.join(5)
    assert {r.frame.index for r in sink.frames} == {7}
    assert telemetry.frames == 1
    assert telemetry.repeated == len(sink.frames) - 1


def test_the_frame_rate_is_kept_and_not_exceeded_if_fewer_new_frames_arrive() -> None:
    sink = MemorySink()
    worker, telemetry, stop = started(sink, repeat_s=0.04)
    began = time.monotonic()
    for index in range(15):  # a little less than every second frame, as from a slow model
        worker.slot.put(restored(index))
        time.sleep(0.085)
    stop.set()
    seconds = time.monotonic() - began
    worker.thread.join(5)
    assert telemetry.frames == 15
    assert len(sink.frames) <= seconds / 0.04 + 3
    assert telemetry.repeated >= 5


def test_nothing_is_repeated_before_the_first_frame() -> None:
    sink = MemorySink()
    worker, _, stop = started(sink, repeat_s=0.01)
    time.sleep(0.2)
    stop.set()
    worker.thread.join(5)
    assert not sink.frames


def test_placeholder_frames_are_written_but_not_counted() -> None:
    sink = MemorySink()
    worker, telemetry, stop = started(sink, live=False)
    worker.slot.put(restored(0, NO_VIDEO))
    worker.slot.put(restored(1))
    until(lambda: telemetry.frames == 1)
    stop.set()
    worker.thread.join(5)
    assert len(sink.frames) == 2
    assert worker.frames == 1


def test_a_sink_is_opened_again_after_ever_longer_waits_which_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "_FIRST_RETRY_S", 0.1)
    failing, tried = MemorySink(RunError("no space")), []

    def reopen() -> MemorySink:
        tried.append(time.monotonic())
        raise RunError("still no space")

    worker, _, stop = started(failing, reopen=reopen)
    until(lambda: worker.slot.put(restored(0)) and len(tried) >= 3)
    stop.set()
    worker.thread.join(5)
    assert failing.closed == 1
    assert tried[1] - tried[0] >= 0.2
    assert tried[2] - tried[1] >= 0.4
    assert worker.state().error == "still no space"
    assert worker.state().failures == 1 + len(tried)
    assert not worker.given_up
    assert [r.args[-1] for r in caplog.records if "next attempt" in r.msg][:3] == [0.1, 0.2, 0.4]  # type: ignore[index]


@pytest.mark.parametrize("error", [RunError("no space"), UsageError("is not empty")])
def test_a_sink_that_cannot_be_opened_again_is_given_up(error: Exception) -> None:
    reopen = None if isinstance(error, RunError) else (lambda: pytest.fail("opened again"))
    worker, _, _ = started(MemorySink(error), reopen=reopen)
    worker.slot.put(restored(0))
    worker.thread.join(5)
    assert not worker.thread.is_alive()
    assert worker.given_up
    assert worker.error is error
    assert worker.slot.over


def test_an_error_in_closing_is_raised_once_and_kept() -> None:
    sink = MemorySink(closing=RunError("the video is incomplete"))
    worker, _, stop = started(sink)
    stop.set()
    worker.thread.join(5)
    with pytest.raises(RunError, match="is incomplete"):
        worker.close()
    worker.close()
    assert sink.closed == 1
