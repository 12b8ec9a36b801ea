"""The recorder: segments of fragmented MP4 that play at every moment, kept below caps, and whole after a power cut.

A fragment each half second is written and synced, so a power cut takes at most the last second. A segment has its name from the
beginning and needs no finishing: what a cut leaves is adopted at the next start, after a torn fragment at its end is cut off.
No segment is written while there is no video; frames that were not restored are recorded with the stamp that they carry.
"""

import logging
import threading
from pathlib import Path

from device.errors import RunError, UsageError
from device.images.frame import NO_VIDEO, Restored
from device.settings import RecordSettings
from device.sinks.h264 import form_of, pyav
from device.sinks.segment import Segment
from device.sinks.segments import Segments
from device.sinks.syncer import Syncer
from device.state import RecordingState

log = logging.getLogger(__name__)
_AHEAD_S = 2.0  # of video, which may be written until the caps are looked at again
_LEAST_MBIT = 0.05
_GIB = 2**30
_CLOSE_S = 1.0  # that a stop waits for a medium that does not answer


class Recorder:
    """A sink. `record` and `recording` may be called from any thread; they never wait for the medium."""

    def __init__(self, folder: Path, settings: RecordSettings, fps: float) -> None:
        """`fps` is what is expected (0: unknown). Makes the folder, not its parents.

        Raises RunError when it cannot be recorded to, UsageError for caps that no recording fits in.
        """
        pyav()
        self._ahead = round(max(settings.mbit, _LEAST_MBIT) * 1e6 / 8 * _AHEAD_S)
        self._max, self._min_free = round(settings.max_gib * _GIB), round(settings.min_free_gib * _GIB)
        if settings.mbit < _LEAST_MBIT:
            raise UsageError(f"record.mbit {settings.mbit}: expected at least {_LEAST_MBIT}")
        if self._max < 8 * self._ahead:
            raise UsageError(
                f"record.max_gib {settings.max_gib}: expected at least {8 * self._ahead / _GIB:.3g} for {settings.mbit} Mbit/s"
            )
        self.description = f"recordings in {folder}, at most {settings.max_gib:g} GiB"
        self._on = settings.at_start
        self._folder, self._settings, self._fps = folder, settings, fps
        self._lock = threading.Lock()  # a stop may close while a write has not returned
        self._closed = False
        self._error = ""
        self._last: Restored | None = None
        self._segments: Segments | None = self._opened()
        self._segment: Segment | None = None
        self._ends_s, self._ends_bytes = 0.0, 0  # time of capture and size that end it
        self._files, self._bytes = self._segments.files, self._segments.bytes
        self._syncer = Syncer()

    def record(self, on: bool) -> None:
        """Start or stop with the next frame."""
        self._on = on

    def recording(self) -> RecordingState:
        """Whether it records, how many segments of how many bytes there are, and what is wrong."""
        return RecordingState(on=self._on, files=self._files, bytes=self._bytes, error=self._error)

    def write(self, restored: Restored) -> None:
        """Record one frame. Raises RunError when the medium does not take it."""
        with self._lock:
            if self._closed:
                raise RunError(f"{self._folder}: this recorder is closed already")
            if restored is self._last:  # repeated to keep a frame rate: in a video the last picture stays anyway
                return
            self._last = restored
            try:
                if self._on and restored.mark != NO_VIDEO:
                    self._write(restored)
                else:
                    self._rest()
            except OSError as error:
                self._error = self._in_words(error)
                self._abandon()
                raise RunError(self._error) from error
            self._error = ""

    def _write(self, restored: Restored) -> None:
        if self._segments is None:
            self._segments = self._opened()
        form, captured_s = form_of(restored.image), restored.frame.captured_s
        segment = self._segment
        if segment and (form != segment.form or captured_s >= self._ends_s or segment.bytes >= self._ends_bytes):
            self._end_segment()
        if self._segment is None:
            name, fd, most_bytes = self._segments.begin()
            self._segment = Segment(name, fd, form, self._fps, self._settings.mbit)
            self._ends_s, self._ends_bytes = captured_s + max(1.0, self._settings.segment_s), most_bytes
            self._syncer.request(self._segments.fd)  # the name in the folder is data too
        before = self._segment.bytes
        self._segment.write(restored)
        if self._segment.bytes > before:
            self._segments.grown(self._segment.name, self._segment.bytes)
            self._syncer.request(self._segment.fd)
            self._segments.make_room(self._segment.name)
            self._files, self._bytes = self._segments.files, self._segments.bytes

    def _opened(self) -> Segments:
        return Segments(self._folder, self._max, self._min_free, self._ahead)

    def _end_segment(self) -> None:
        segment, segments = self._segment, self._segments
        if segment is None or segments is None:
            return
        segment.finish()
        segments.grown(segment.name, segment.bytes)
        self._syncer.request(segment.fd)
        segment.close()
        self._segment = None
        if not segment.bytes:
            segments.cut(segment.name)
        self._files, self._bytes = segments.files, segments.bytes

    def _rest(self) -> None:
        """End the segment and let the folder go: its medium can be removed while nothing is recorded."""
        self._end_segment()
        if self._segments is not None:
            self._segments.close()
            self._segments = None

    def _abandon(self) -> None:
        """The medium failed: leave behind what is whole."""
        if self._segment is not None:
            self._segment.close()
            if self._segments is not None:
                self._segments.cut(self._segment.name)
            self._segment = None
        if self._segments is not None:
            self._segments.close()
            self._segments = None

    def _in_words(self, error: OSError) -> str:
        if isinstance(error, RunError):
            return str(error)
        return f"{self._folder}: cannot be recorded to: {error.strerror}; check the medium and its free space"

    def close(self) -> None:
        """Finish the segment. Raises RunError when it could not be. Closing twice is safe."""
        if not self._lock.acquire(timeout=_CLOSE_S):
            log.warning("%s: the medium does not answer; the last second of the recording may be lost", self._folder)
            return
        try:
            if self._closed:
                return
            self._closed = True
            self._rest()
        except OSError as error:
            self._error = self._in_words(error)
            self._abandon()
            raise RunError(self._error) from error
        finally:
            self._lock.release()
            self._syncer.close(_CLOSE_S)
