"""Source -> models -> sinks. Capture, restoring and each output overlap: a thread each, with a slot of one frame between.

The calling thread supervises: it sees an end, a stop, a model that hangs, and that the loop still moves.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from device.images.frame import Frame, Restored
from device.loop.rate_control import RateControl
from device.loop.sink_worker import SinkWorker
from device.loop.slot import LOOK_S, Slot
from device.sources.source import Source
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
HANG_S = 5.0  # a model that takes longer than this over one tile of a live picture hangs
_LAST_WRITE_S = 10.0  # that a sink may take over the last frame of a live run
_JOIN_S = 1.5  # a stop ends within two seconds, also when a read does not return


class Models(Protocol):
    """What restores; `device.loop.models.Models`."""

    @property
    def moved_s(self) -> float:
        """`time.monotonic()` when the model at work last moved."""

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        """Restore a frame with the model of that place, best first."""

    def passed_through(self, frame: Frame) -> Restored:
        """The frame as it came, marked."""

    def failed(self, why: str) -> None:
        """Note a failure; raises when there were too many."""

    def rebuild(self) -> None:
        """Build the models anew, leaving the old ones to a thread that hangs in them."""


def run_pipeline(
    source: Source,
    models: Models,
    sink_workers: list[SinkWorker],
    telemetry: Telemetry,
    stop: threading.Event,
    *,
    rate_control: RateControl | None = None,
    most_frames: int = 0,
    pace_fps: float = 0.0,
    hang_s: float = HANG_S,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Restore frames until the source ends, `stop` is set, or `most_frames` (if above 0) have reached the first sink worker.

    `pace_fps` above 0 plays a file at that rate instead of as fast as it can. `beat` is called now and then while the loop
    moves. An error of source or models ends the run and is raised here; so is a sink worker's once none is left that writes.
    The caller closes source, models and sink workers.
    """
    loop = _Loop(source, models, sink_workers, telemetry, stop, rate_control, 0 if source.live else most_frames, pace_fps)
    loop.run(hang_s, beat)


class _Loop:
    """The threads of one run."""

    def __init__(
        self,
        source: Source,
        models: Models,
        sink_workers: list[SinkWorker],
        telemetry: Telemetry,
        stop: threading.Event,
        rate_control: RateControl | None,
        most_frames: int,
        pace_fps: float,
    ) -> None:
        self._source, self._models, self._sink_workers, self._telemetry, self._stop = (
            source,
            models,
            sink_workers,
            telemetry,
            stop,
        )
        self._rate_control, self._most, self._pace_fps = rate_control, most_frames, pace_fps
        self._captured: Slot[Frame] = Slot(source.live, lambda: telemetry.count("dropped"), stop)
        self._errors: list[BaseException] = []
        self._ended = threading.Event()
        self._moved_s = time.monotonic()  # when the restoring thread last handed something on
        self._at_work: tuple[Frame, float] | None = None  # the frame that is being restored, and since when
        self._generation = 0  # of the restoring thread: one that was left behind in a model may not hand anything on

    def run(self, hang_s: float, beat: Callable[[], None]) -> None:
        capturing = self._start(self._capture, "capture")
        restoring = self._start(lambda: self._restore(0), "restore")
        for worker in self._sink_workers:
            worker.thread.start()
        try:
            while not self._ended.wait(LOOK_S) and not self._stop.is_set():
                if self._source.live:
                    restoring = self._watch(restoring, hang_s)
                if time.monotonic() - self._moved_s < hang_s:
                    beat()
                self._check_sink_workers()
        except BaseException as error:
            self._errors.append(error)
        self._wind_up(capturing, restoring)
        if not self._errors:
            self._errors += [worker.error for worker in self._sink_workers if worker.given_up and worker.error is not None]
        if self._errors:
            raise self._errors[0]

    def _wind_up(self, capturing: threading.Thread, restoring: threading.Thread) -> None:
        """Let every thread end, in the order of the frames."""
        self._captured.close()
        for worker in self._sink_workers:
            worker.slot.close()
        writing = [worker.thread for worker in self._sink_workers]
        # What was restored gets written, however long that takes; only a live run's stop is a stop.
        patience = time.monotonic() + (_LAST_WRITE_S if self._source.live else float("inf"))
        while any(t.is_alive() for t in writing) and time.monotonic() < patience:
            if self._source.live and (self._stop.is_set() or self._errors):
                break
            time.sleep(LOOK_S / 10)
        give_up = time.monotonic() + _JOIN_S
        for thread, what in ((capturing, "source"), (restoring, "model"), *((t, "sink") for t in writing)):
            thread.join(max(0.0, give_up - time.monotonic()))
            if thread.is_alive():
                log.warning("the %s did not return within %.1f s; left behind", what, _JOIN_S)

    def _start(self, work: Callable[[], None], name: str) -> threading.Thread:
        def body() -> None:
            try:
                work()
            except BaseException as error:
                self._errors.append(error)
                if self._source.live or name != "capture":  # what a file held before its torn picture is still written
                    self._ended.set()

        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def _capture(self) -> None:
        began, frames, going = time.monotonic(), 0, True
        try:
            while going and not self._stop.is_set() and not (self._most and frames >= self._most):
                with self._telemetry.stage("capture"):
                    frame = self._source.read()
                if frame is None:
                    break
                if self._pace_fps and self._stop.wait(max(0.0, began + frames / self._pace_fps - time.monotonic())):
                    break
                going = self._captured.put(frame)
                frames += 1
        finally:
            self._captured.close()

    def _restore(self, generation: int) -> None:
        done, rate_control = 0, self._rate_control
        while (frame := self._captured.take()) is not None and not self._stop.is_set():
            if frame.mark:
                restored = Restored(frame, frame.image, frame.mark)
            elif rate_control is not None and not rate_control.wants(frame.index):
                self._telemetry.count("skipped")
                continue
            else:
                began = time.monotonic()
                self._at_work = (frame, began)
                try:
                    restored = self._models.restore(frame, rate_control.step.model if rate_control else 0)
                except BaseException:
                    if generation == self._generation:
                        raise
                    return
                if generation != self._generation:
                    return
                self._at_work = None
                if rate_control is not None and not restored.mark:
                    now = time.monotonic()
                    rate_control.restored(now, now - began, now - frame.captured_s)
            if not self._hand_on(restored):
                break
            done += 1
            if done == self._most:
                break
        self._ended.set()

    def _hand_on(self, restored: Restored) -> bool:
        """Give it to every sink worker; False when the first one takes no more."""
        taken = [worker.slot.put(restored) for worker in self._sink_workers]
        self._moved_s = time.monotonic()
        return taken[0] or self._sink_workers[0].given_up

    def _watch(self, restoring: threading.Thread, hang_s: float) -> threading.Thread:
        """Leave a restoring thread that hangs in its model behind, and go on with a new one."""
        at_work = self._at_work
        if at_work is None or time.monotonic() - max(at_work[1], self._models.moved_s) < hang_s:
            return restoring
        self._generation += 1
        self._at_work = None
        self._models.failed(f"the model hangs, for {hang_s:.1f} s by now")
        self._models.rebuild()
        self._hand_on(self._models.passed_through(at_work[0]))
        generation = self._generation
        return self._start(lambda: self._restore(generation), "restore")

    def _check_sink_workers(self) -> None:
        """End the run when the first sink worker has all its frames. Raises a sink's error when no sink writes any more."""
        if not self._sink_workers[0].thread.is_alive() and not self._sink_workers[0].given_up:
            self._ended.set()
        errors = [worker.error for worker in self._sink_workers if worker.error is not None]
        if len(errors) == len(self._sink_workers):
            raise errors[0]
