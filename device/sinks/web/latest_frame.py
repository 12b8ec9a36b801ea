"""The latest frame, for any number of viewers: each waits for it in a thread of its own; it is encoded once for all."""

import threading
from dataclasses import dataclass

import numpy as np

from device.images.frame import Frame, Restored, pixels_of
from device.sinks.web.jpeg import to_jpeg
from device.telemetry import Telemetry

VIEWS = ("restored", "blurred")
BOTH = "both"


@dataclass(frozen=True)
class EncodedFrame:
    """One frame as JPEG files."""

    number: int
    """Counts the frames written to the sink; a repeated frame counts once."""
    frame: Frame
    mark: str
    files: tuple[bytes, ...]
    """One file for one view; for both: restored, then blurred. A frame that was not restored has one file for both."""


class LatestFrame:
    """Holds the latest frame. Encodes only on request, and no frame twice at the same quality."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._latest: Restored | None = None
        self._number = 0
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._files: dict[tuple[str, int], tuple[int, bytes]] = {}  # (view, quality) -> frame number, JPEG file
        self.closed = False

    def put(self, restored: Restored) -> None:
        """Show a frame: wakes all who wait for one. The same object again is ignored."""
        with self._changed:
            if restored is not self._latest:
                self._latest = restored
                self._number += 1
                self._changed.notify_all()

    def frame(self) -> Frame | None:
        """The latest frame as it was captured; None before the first."""
        latest = self._latest
        return None if latest is None else latest.frame

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait for a frame with a number other than `after`. Returns False after the timeout and once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._number != after, timeout_s)
            return self._number != after and not self.closed

    def encoded(self, view: str, quality: int) -> EncodedFrame | None:
        """The latest frame; `view` is "restored", "blurred" or "both". None before the first frame and once closed."""
        with self._encoding:
            with self._changed:
                latest, number = self._latest, self._number
            if latest is None or self.closed:
                return None
            views = VIEWS if view == BOTH and latest.image is not latest.frame.image else (view,)
            files = tuple(self._file(latest, number, "restored" if one == BOTH else one, quality) for one in views)
            return EncodedFrame(number, latest.frame, latest.mark, files)

    def side_by_side(self, quality: int) -> bytes | None:
        """One JPEG file with the blurred picture on the left and the restored one on the right; None as for `encoded`."""
        with self._encoding:
            latest = self._latest
            if latest is None or self.closed:
                return None
            with self._telemetry.stage("encode"):
                return to_jpeg(np.hstack([pixels_of(latest.frame.image), pixels_of(latest.image)]), quality)

    def _file(self, latest: Restored, number: int, view: str, quality: int) -> bytes:
        done = self._files.get((view, quality))
        if done is None or done[0] != number:
            with self._telemetry.stage("encode"):
                data = to_jpeg(latest.image if view == "restored" else latest.frame.image, quality)
            done = self._files[view, quality] = (number, data)
        return done[1]

    def close(self) -> None:
        """Wake all who wait. Once this returns, nothing is encoded any more."""
        self.closed = True
        with self._encoding:  # a thread inside OpenCV at the end of the process would abort it: wait until none is
            pass
        with self._changed:
            self._changed.notify_all()
