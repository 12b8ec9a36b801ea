"""Source -> models -> sinks. Capturing, restoring and each output run in threads of their own, with one-frame slots in between.

The calling thread supervises: it ends the run, replaces a restoring thread whose model hangs, and reports that the loop moves.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from device.images.frame import Frame, Restored
from device.loop.rate_control import RateControl
from device.loop.sink_worker import SinkWorker
from device.loop.slot import POLL_S, Slot
from device.sources.source import Source
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
HANG_S = 5.0  # a model that takes longer than this for one tile of a live picture hangs
_LAST_WRITE_S = 10.0  # how long a sink may take to write the last frame of a live run
_JOIN_S = 1.5  # a stop takes less than two seconds, even if a read does not return


class FrameRestorer(Protocol):
    """What the pipeline needs of `device.loop.models.Models`."""

    @property
    def last_progress_s(self) -> float:
        """`time.monotonic()` when the current model last began a picture or finished a tile of it."""

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        """Restore a frame with the model of this index, 0 the best."""

    def recover(self, frame: Frame, why: str) -> Restored:
        """Rebuild the models and pass the frame through. Leaves the old ones to a thread that hangs in them."""


def run_pipeline(
    source: Source,
    models: FrameRestorer,
    sink_workers: list[SinkWorker],
    telemetry: Telemetry,
    stop: threading.Event,
    *,
    rate_control: RateControl | None = None,
    most_frames: int = 0,
    play_fps: float = 0.0,
    hang_s: float = HANG_S,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Restore frames until the source ends, `stop` is set, or `most_frames` (if above 0) have reached the first sink.

    `play_fps` above 0 plays a file at that rate instead of as fast as possible. `beat` is called several times a second while the
    loop moves. An error of the source or the models ends the run and is raised here; so is a sink's error once no sink writes any
    more. The caller closes source, models and sink workers.
    """
    loop = _Loop(
        source,
        models,
        sink_workers,
        telemetry,
        stop,
        rate_control=rate_control,
        most_frames=0 if source.live else most_frames,
        play_fps=play_fps,
    )
    loop.run(hang_s, beat)


class _Loop:
    """The threads of one run."""

    def __init__(
        self,
        source: Source,
        models: FrameRestorer,
        sink_workers: list[SinkWorker],
        telemetry: Telemetry,
        stop: threading.Event,
        *,
        rate_control: RateControl | None,
        most_frames: int,
        play_fps: float,
    ) -> None:
        self._source, self._models, self._sink_workers = source, models, sink_workers
        self._telemetry, self._stop = telemetry, stop
        self._rate_control, self._most_frames, self._play_fps = rate_control, most_frames, play_fps
        self._captured: Slot[Frame] = Slot(source.live, lambda: telemetry.count("dropped"), stop)
        self._errors: list[BaseException] = []
        self._ended = threading.Event()
        self._last_progress_s = time.monotonic()  # when a restored frame was last passed to the sinks
        self._in_progress: tuple[Frame, float] | None = None  # the frame that is being restored, and since when
        self._generation = 0  # of the restoring thread; one left behind in a hanging model must not pass frames on

    def run(self, hang_s: float, beat: Callable[[], None]) -> None:
        capturing = self._start(self._capture, "capture")
        restoring = self._start(lambda: self._restore(0), "restore")
        for worker in self._sink_workers:
            worker.thread.start()
        try:
            while not self._ended.wait(POLL_S) and not self._stop.is_set():
                if self._source.live:
                    restoring = self._replace_if_hanging(restoring, hang_s)
                if time.monotonic() - self._last_progress_s < hang_s:
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
        """Let every thread end, in the order in which frames pass through them."""
        self._captured.close()
        for worker in self._sink_workers:
            worker.slot.close()
        writing = [worker.thread for worker in self._sink_workers]
        # Restored frames of a file are written, however long that takes. Only a live run can be stopped before they are.
        patience = time.monotonic() + (_LAST_WRITE_S if self._source.live else float("inf"))
        while any(t.is_alive() for t in writing) and time.monotonic() < patience:
            if self._source.live and (self._stop.is_set() or self._errors):
                break
            time.sleep(POLL_S / 10)
        give_up = time.monotonic() + _JOIN_S
        for thread, user in ((capturing, "source"), (restoring, "model"), *((t, "sink") for t in writing)):
            thread.join(max(0.0, give_up - time.monotonic()))
            if thread.is_alive():
                log.warning("the %s did not return within %.1f s; its thread is left behind", user, _JOIN_S)

    def _start(self, work: Callable[[], None], name: str) -> threading.Thread:
        def body() -> None:
            try:
                work()
            except BaseException as error:
                self._errors.append(error)
                if self._source.live or name != "capture":  # frames of a file before a damaged one are still written
                    self._ended.set()

        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def _capture(self) -> None:
        began, frames, accepted = time.monotonic(), 0, True
        try:
            while accepted and not self._stop.is_set() and not (self._most_frames and frames >= self._most_frames):
                with self._telemetry.stage("capture"):
                    frame = self._source.read()
                if frame is None:
                    break
                if self._play_fps and self._stop.wait(max(0.0, began + frames / self._play_fps - time.monotonic())):
                    break
                accepted = self._captured.put(frame)
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
                self._in_progress = (frame, began)
                try:
                    restored = self._models.restore(frame, rate_control.step.model if rate_control else 0)
                except BaseException:
                    if generation == self._generation:
                        raise
                    return
                if generation != self._generation:
                    return
                self._in_progress = None
                if rate_control is not None and not restored.mark:
                    now = time.monotonic()
                    rate_control.restored(now, now - began, now - frame.captured_s)
            if not self._pass_on(restored):
                break
            done += 1
            if done == self._most_frames:
                break
        self._ended.set()

    def _pass_on(self, restored: Restored) -> bool:
        """Pass the frame to every sink worker. Returns False if the first one accepts no more, unless it failed."""
        accepted = [worker.slot.put(restored) for worker in self._sink_workers]
        self._last_progress_s = time.monotonic()
        return accepted[0] or self._sink_workers[0].given_up

    def _replace_if_hanging(self, restoring: threading.Thread, hang_s: float) -> threading.Thread:
        """Leave a restoring thread behind if its model hangs, and start a new one. Returns the thread that restores now."""
        in_progress = self._in_progress
        if in_progress is None or time.monotonic() - max(in_progress[1], self._models.last_progress_s) < hang_s:
            return restoring
        self._generation += 1
        self._in_progress = None
        self._pass_on(self._models.recover(in_progress[0], f"the model hangs, for {hang_s:.1f} s by now"))
        generation = self._generation
        return self._start(lambda: self._restore(generation), "restore")

    def _check_sink_workers(self) -> None:
        """End the run when the first sink worker has all its frames. Raises a sink's error if no sink writes any more."""
        if not self._sink_workers[0].thread.is_alive() and not self._sink_workers[0].given_up:
            self._ended.set()
        errors = [worker.error for worker in self._sink_workers if worker.error is not None]
        if len(errors) == len(self._sink_workers):
            raise errors[0]
