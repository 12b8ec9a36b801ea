"""A sink and its thread: what it is given, what it repeats, and when it is given up."""

import threading
import time
from typing import Any

import numpy as np
import pytest
from loop_parts import until

from device.errors import RunError, UsageError
from device.images.frame import NO_VIDEO, Frame, Restored
from device.loop.sink_worker import SinkWorker
from device.telemetry import Telemetry


class Kept:
    """A sink that keeps what it gets; raises what it is told to at each write."""

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


def worker(sink: Kept, **wanted: Any) -> tuple[SinkWorker, Telemetry, threading.Event]:
    telemetry, stop = Telemetry(), threading.Event()
    made = SinkWorker(sink, telemetry, stop, **{"live": True, "first": True, **wanted})
    made.thread.start()
    return made, telemetry, stop


def test_the_last_frame_is_repeated_when_no_new_one_comes_in_time() -> None:
    sink = Kept()
    made, telemetry, stop = worker(sink, repeat_s=0.02)
    made.slot.put(restored(7))
    until(lambda: len(sink.frames) > 4)
    stop.set()
    made.thread.join(5)
    assert {r.frame.index for r in sink.frames} == {7}
    assert telemetry.frames == 1
    assert telemetry.repeated == len(sink.frames) - 1


def test_the_rate_is_held_and_not_exceeded_where_fewer_new_frames_come() -> None:
    sink = Kept()
    made, telemetry, stop = worker(sink, repeat_s=0.04)
    began = time.monotonic()
    for index in range(15):  # every second frame and a bit, as a slow model delivers them
        made.slot.put(restored(index))
        time.sleep(0.085)
    stop.set()
    seconds = time.monotonic() - began
    made.thread.join(5)
    assert telemetry.frames == 15
    assert len(sink.frames) <= seconds / 0.04 + 3
    assert telemetry.repeated >= 5


def test_nothing_is_repeated_before_the_first_frame() -> None:
    sink = Kept()
    made, _, stop = worker(sink, repeat_s=0.01)
    time.sleep(0.2)
    stop.set()
    made.thread.join(5)
    assert not sink.frames


def test_cards_are_written_but_are_no_frames() -> None:
    sink = Kept()
    made, telemetry, stop = worker(sink, live=False)
    made.slot.put(restored(0, NO_VIDEO))
    made.slot.put(restored(1))
    until(lambda: telemetry.frames == 1)
    stop.set()
    made.thread.join(5)
    assert len(sink.frames) == 2
    assert made.frames == 1


def test_a_sink_is_opened_again_later_and_later_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    failing, tried = Kept(RunError("no space")), []

    def reopen() -> Kept:
        tried.append(time.monotonic())
        raise RunError("still no space")

    made, _, stop = worker(failing, reopen=reopen)
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        made.slot.put(restored(0))
        time.sleep(0.01)
    stop.set()
    made.thread.join(5)
    assert failing.closed == 1
    assert 2 <= len(tried) <= 3  # after one second, after two more
    assert made.state().error == "still no space"
    assert made.state().failures == 1 + len(tried)
    assert not made.given_up
    assert "next attempt in 2 s" in caplog.text


@pytest.mark.parametrize("error", [RunError("no space"), UsageError("is not empty")])
def test_what_cannot_be_opened_again_is_given_up(error: Exception) -> None:
    reopen = None if isinstance(error, RunError) else (lambda: pytest.fail("opened again"))
    made, _, _ = worker(Kept(error), reopen=reopen)
    made.slot.put(restored(0))
    made.thread.join(5)
    assert not made.thread.is_alive()
    assert made.given_up
    assert made.error is error
    assert made.slot.over


def test_an_error_in_closing_is_raised_once_and_kept() -> None:
    sink = Kept(closing=RunError("the video did not come out whole"))
    made, _, stop = worker(sink)
    stop.set()
    made.thread.join(5)
    with pytest.raises(RunError, match="did not come out whole"):
        made.close()
    made.close()
    assert sink.closed == 1
