"""Source -> restorer -> sinks. Capture, restoring and output overlap: one thread each, with a slot of one frame between."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from device.frame import Frame, Restored
from device.restorer import Restorer
from device.sinks import Sink
from device.sources import Source
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
Item = TypeVar("Item")
_JOIN_S = 1.5  # a stop ends within two seconds, also when a read does not return
_LOOK_S = 0.1  # how often a waiting thread looks whether it shall stop


class Slot(Generic[Item]):
    """Hands one item from thread to thread. `newest`: a newer item replaces one not yet taken; else `put` waits for the taking.

    `stop` ends every wait within a tenth of a second. It is looked at, because a signal handler that sets it cannot wake
    others: it may have interrupted a thread that holds the lock.
    """

    def __init__(self, newest: bool, dropped: Callable[[], None], stop: threading.Event) -> None:
        self._newest, self._dropped, self._stop = newest, dropped, stop
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Hand over an item; False, and the item is not kept, when closed or stopped."""
        with self._changed:
            if self._over():
                return False
            if self._item is not None:
                self._dropped()
            self._item = item
            self._changed.notify_all()
            while not self._newest and self._item is not None and not self._over():
                self._changed.wait(_LOOK_S)
            return True

    def take(self) -> Item | None:
        """Wait for an item; None when there is none left and the slot is closed or stopped."""
        with self._changed:
            while self._item is None and not self._over():
                self._changed.wait(_LOOK_S)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more items: takers get what is left, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _over(self) -> bool:
        return self._closed or self._stop.is_set()


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
    captured: Slot[Frame] = Slot(source.live, telemetry.drop, stop)
    finished: Slot[Restored] = Slot(False, lambda: None, stop)
    errors: list[BaseException] = []

    def capture() -> None:
        began, frames, going = time.monotonic(), 0, True
        while going and not stop.is_set() and (source.live or not most_frames or frames < most_frames):
            with telemetry.stage("capture"):
                frame = source.read()
            if frame is None:
                break
            if pace_fps and stop.wait(max(0.0, began + frames / pace_fps - time.monotonic())):
                break
            going = captured.put(frame)
            frames += 1

    def output() -> None:
        while (restored := finished.take()) is not None:
            with telemetry.stage("output"):
                for sink in sinks:
                    sink.write(restored)
            telemetry.shown(restored.frame.captured_s)
            progress(telemetry.frames)

    def guarded(work: Callable[[], None], *ends: Slot[Any]) -> Callable[[], None]:
        def body() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)
            finally:
                for slot in ends:
                    slot.close()

        return body

    capturing = threading.Thread(target=guarded(capture, captured), name="capture", daemon=True)
    writing = threading.Thread(target=guarded(output, captured, finished), name="output", daemon=True)
    capturing.start()
    writing.start()
    done = 0
    try:
        while (frame := captured.take()) is not None and not errors and not stop.is_set():
            finished.put(Restored(frame, restorer.restore(frame.pixels)))
            done += 1
            if done == most_frames:
                break
    finally:
        captured.close()
        finished.close()
        # What was restored gets written, however long that takes; only a live run's stop is a stop.
        while writing.is_alive() and not (source.live and stop.is_set()):
            writing.join(_LOOK_S)
        give_up = time.monotonic() + _JOIN_S
        for thread, what in ((capturing, "source"), (writing, "sink")):
            thread.join(max(0.0, give_up - time.monotonic()))
            if thread.is_alive():
                log.warning("the %s did not return within %.1f s; left behind", what, _JOIN_S)
    if errors:
        raise errors[0]
