"""Source -> restorer -> sinks. Capture, restoring and output overlap: one thread each, with a slot of one frame between."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from device.frame import Frame, Restored
from device.restorer import Restorer
from device.sinks import Sink
from device.sources import Source
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
Item = TypeVar("Item")
_JOIN_S = 1.5  # a stop ends within two seconds, also when a read does not return


class Slot(Generic[Item]):
    """Hands one item from thread to thread. `newest`: a newer item replaces one not yet taken; else `put` waits its turn."""

    def __init__(self, newest: bool, dropped: Callable[[], None]) -> None:
        self._newest, self._dropped = newest, dropped
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> None:
        """Hand over an item; returns at once when closed."""
        with self._changed:
            if not self._newest:
                self._changed.wait_for(lambda: self._item is None or self._closed)
            elif self._item is not None:
                self._dropped()
            if not self._closed:
                self._item = item
                self._changed.notify_all()

    def take(self) -> Item | None:
        """Wait for an item; None when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more items: waiting takers get what is left, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def run_pipeline(
    source: Source,
    restorer: Restorer,
    sinks: list[Sink],
    telemetry: Telemetry,
    stop: threading.Event,
    most_frames: int = 0,
    pace_fps: float = 0.0,
    progress: Callable[[int], None] = lambda frames: None,
) -> None:
    """Restore frames until the source ends, `stop` is set, or `most_frames` (if above 0) are done.

    `pace_fps` above 0 plays a file at that rate instead of as fast as it can. An error of any thread ends the run and is
    raised here. The caller closes source, restorer and sinks.
    """
    captured: Slot[Frame] = Slot(source.live, telemetry.drop)
    finished: Slot[Restored] = Slot(source.live, lambda: None)
    errors: list[BaseException] = []

    def capture() -> None:
        began, frames = time.monotonic(), 0
        while not stop.is_set() and (source.live or not most_frames or frames < most_frames):
            with telemetry.stage("capture"):
                frame = source.read()
            if frame is None:
                break
            if pace_fps and stop.wait(max(0.0, began + frames / pace_fps - time.monotonic())):
                break
            captured.put(frame)
            frames += 1
        captured.close()

    def output() -> None:
        while (restored := finished.take()) is not None:
            with telemetry.stage("output"):
                for sink in sinks:
                    sink.write(restored)
            telemetry.shown(restored.frame.captured_s)
            progress(telemetry.frames)

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def body() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)
                stop.set()
                captured.close()
                finished.close()

        return body

    def end_at_stop() -> None:  # a capture that does not return must not keep `take` waiting
        stop.wait()
        captured.close()

    capturing = threading.Thread(target=guarded(capture), name="capture", daemon=True)
    writing = threading.Thread(target=guarded(output), name="output", daemon=True)
    watching = threading.Thread(target=end_at_stop, name="stop", daemon=True)
    for thread in (capturing, writing, watching):
        thread.start()
    done = 0
    try:
        while not errors and (frame := captured.take()) is not None and not stop.is_set():
            finished.put(Restored(frame, restorer.restore(frame.pixels)))
            done += 1
            if most_frames and done >= most_frames:
                break
    finally:
        finished.close()
        # Files: let the last picture be written, however long that takes. Live: a stop is a stop.
        writing.join(None if not source.live and not errors else _JOIN_S)
        stop.set()
        capturing.join(_JOIN_S)
        watching.join(_JOIN_S)
        if capturing.is_alive():
            log.warning("the source did not return from reading within %.1f s; left behind", _JOIN_S)
    if errors:
        raise errors[0]
