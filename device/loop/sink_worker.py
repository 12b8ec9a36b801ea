"""One sink and the thread that writes to it: a slow or failing sink does not hold up the others."""

import logging
import threading
import time
from collections.abc import Callable

from device.errors import UsageError
from device.images.frame import NO_VIDEO, Restored
from device.loop.slot import Slot
from device.sinks.sink import Sink
from device.state import SinkState
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0


class SinkWorker:
    """Writes the frames of its slot to a sink. Owns the sink, and closes it.

    `reopen` opens the sink again after a failure. It is None where that would overwrite what was written, or where a failure
    must end the run. `repeat_s` above 0 writes the last frame again after that time without a new one, to keep a frame rate; a
    new frame is written at once, in place of the next repetition. Of a run's sink workers, the `first` is the one whose frames
    are counted. `most_frames` above 0 is the number of frames after which it ends.
    """

    def __init__(
        self,
        sink: Sink,
        telemetry: Telemetry,
        stop: threading.Event,
        *,
        live: bool,
        first: bool,
        reopen: Callable[[], Sink] | None = None,
        repeat_s: float = 0.0,
        most_frames: int = 0,
        progress: Callable[[int], None] = lambda frames: None,
    ) -> None:
        self.description = sink.description
        self.frames = self.dropped = self.failures = 0
        self.error: BaseException | None = None
        """Why it does not write at present."""
        self.given_up = False
        """Whether it will not write again, because of `error`."""
        self._sink: Sink | None = sink
        self._reopen, self._first, self._most_frames = reopen, first, most_frames
        self._telemetry, self._progress = telemetry, progress
        self._repeat_s = repeat_s
        self._retry_s, self._retry_at = _FIRST_RETRY_S, 0.0
        self.slot: Slot[Restored] = Slot(live, self._drop, stop)
        self.thread = threading.Thread(target=self._feed, name="output", daemon=True)

    def state(self) -> SinkState:
        """The present state."""
        return SinkState(
            description=self.description,
            frames=self.frames,
            dropped=self.dropped,
            failures=self.failures,
            error=str(self.error) if self.error else "",
        )

    def _drop(self) -> None:
        self.dropped += 1
        if self._first:
            self._telemetry.count("dropped")

    def _feed(self) -> None:
        last: Restored | None = None
        due_s = float("inf")  # when the next frame must be written to keep the rate
        try:
            while not (self._most_frames and self.frames >= self._most_frames) and not self.given_up:
                restored = self.slot.take(due_s - time.monotonic())
                if restored is None and self.slot.over:
                    break
                if self._repeat_s:
                    now = time.monotonic()
                    due_s = now + self._repeat_s if due_s == float("inf") else max(due_s + self._repeat_s, now)
                    due_s = min(due_s, now + 2 * self._repeat_s)
                if restored is not None:
                    last = restored
                    if self._write(restored):
                        self._count(restored)
                elif last is not None and self._write(last) and self._first:
                    self._telemetry.count("repeated")
        finally:
            self.slot.close()

    def _count(self, restored: Restored) -> None:
        if restored.mark == NO_VIDEO:
            return
        self.frames += 1
        if self._first:
            self._telemetry.shown(restored.frame)
            self._progress(self._telemetry.frames)

    def _write(self, restored: Restored) -> bool:
        """Write a frame; returns whether the sink took it. A failure is kept in `error`."""
        try:
            if self._sink is None:
                if time.monotonic() < self._retry_at or self._reopen is None:
                    self._drop()
                    return False
                self._sink = self._reopen()
            with self._telemetry.stage("output"):
                self._sink.write(restored)
        except BaseException as error:
            self._fail(error)
            return False
        if self.error is not None:
            log.info("%s: writes again", self.description)
            self.error, self._retry_s = None, _FIRST_RETRY_S
        return True

    def _fail(self, error: BaseException) -> None:
        self.failures += 1
        self.error = error
        self.given_up = self._reopen is None or isinstance(error, UsageError) or not isinstance(error, Exception)
        if not self.given_up:
            log.error("%s: %s; next attempt in %.0f s", self.description, error, self._retry_s)
            self._retry_at = time.monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
            self.close()

    def close(self) -> None:
        """Close the sink. Raises the error of closing, unless the sink had failed before: then it is only logged."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except Exception as error:
            if self.error is not None:
                log.warning("%s: %s", self.description, error)
                return
            self.error = error
            raise
