"""The recorder: segments of fragmented MP4 that are playable at any time, limited in size, and survive a power cut.

A fragment is written and synced every half second, so a power cut loses at most the last second. A segment has its final name
from the start and needs no finishing: after a power cut, the next start removes an incomplete fragment at its end and keeps the
rest. Nothing is recorded while there is no video; frames that were not restored are recorded with their stamp.
"""

import logging
import threading
from pathlib import Path

from device.errors import RunError, UsageError
from device.images.frame import NO_VIDEO, Restored
from device.settings import RecordSettings
from device.sinks.h264 import pyav, stream_format
from device.sinks.segment import Segment
from device.sinks.segments import Segments
from device.sinks.syncer import Syncer
from device.state import RecordingState

log = logging.getLogger(__name__)
_AHEAD_S = 2.0  # seconds of video that may be written between two checks of the limits
_LEAST_MBIT = 0.05
_GIB = 2**30
_CLOSE_S = 1.0  # how long `close` waits for a medium that does not answer


class Recorder:
    """A sink. `record` and `recording` may be called from any thread; they never wait for the medium."""

    def __init__(self, folder: Path, settings: RecordSettings, fps: float) -> None:
        """`fps` is the expected frame rate (0: unknown). Creates the folder, but not its parents.

        Raises RunError if the folder cannot be used, UsageError for limits that are too small for a recording.
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
        self._segments: Segments | None = self._open_folder()
        self._segment: Segment | None = None
        self._ends_s, self._ends_bytes = 0.0, 0  # capture time and size at which the segment ends
        self._files, self._bytes = self._segments.files, self._segments.bytes
        self._syncer = Syncer()

    def record(self, on: bool) -> None:
        """Start or stop recording with the next frame."""
        self._on = on

    def recording(self) -> RecordingState:
        """Whether it records, number and total bytes of segments, the last error."""
        return RecordingState(on=self._on, files=self._files, bytes=self._bytes, error=self._error)

    def write(self, restored: Restored) -> None:
        """Record one frame. Raises RunError if the medium fails."""
        with self._lock:
            if self._closed:
                raise RunError(f"{self._folder}: this recorder is already closed")
            if restored is self._last:  # repeated to keep a frame rate: a video shows its last picture anyway
                return
            self._last = restored
            try:
                if self._on and restored.mark != NO_VIDEO:
                    self._write(restored)
                else:
                    self._stop()
            except OSError as error:
                self._error = self._explain(error)
                self._abandon()
                raise RunError(self._error) from error
            self._error = ""

    def _write(self, restored: Restored) -> None:
        if self._segments is None:
            self._segments = self._open_folder()
        format, captured_s = stream_format(restored.image), restored.frame.captured_s
        segment = self._segment
        if segment and (format != segment.format or captured_s >= self._ends_s or segment.bytes >= self._ends_bytes):
            self._end_segment()
        if self._segment is None:
            name, fd, most_bytes = self._segments.begin()
            self._segment = Segment(name, fd, format, self._fps, self._settings.mbit)
            self._ends_s, self._ends_bytes = captured_s + max(1.0, self._settings.segment_s), most_bytes
            self._syncer.request(self._segments.fd)  # the folder's entry must be synced too
        before = self._segment.bytes
        self._segment.write(restored)
        if self._segment.bytes > before:
            self._segments.set_size(self._segment.name, self._segment.bytes)
            self._syncer.request(self._segment.fd)
            self._segments.make_room(self._segment.name)
            self._files, self._bytes = self._segments.files, self._segments.bytes

    def _open_folder(self) -> Segments:
        return Segments(self._folder, self._max, self._min_free, self._ahead)

    def _end_segment(self) -> None:
        segment, segments = self._segment, self._segments
        if segment is None or segments is None:
            return
        segment.finish()
        segments.set_size(segment.name, segment.bytes)
        self._syncer.request(segment.fd)
        segment.close()
        self._segment = None
        if not segment.bytes:
            segments.truncate(segment.name)
        self._files, self._bytes = segments.files, segments.bytes

    def _stop(self) -> None:
        """End the segment and release the folder, so that its medium can be removed while nothing is recorded."""
        self._end_segment()
        if self._segments is not None:
            self._segments.close()
            self._segments = None

    def _abandon(self) -> None:
        """The medium failed: keep the complete part of the segment."""
        if self._segment is not None:
            self._segment.close()
            if self._segments is not None:
                self._segments.truncate(self._segment.name)
            self._segment = None
        if self._segments is not None:
            self._segments.close()
            self._segments = None

    def _explain(self, error: OSError) -> str:
        if isinstance(error, RunError):
            return str(error)
        return f"{self._folder}: recording failed: {error.strerror}; check the medium and its free space"

    def close(self) -> None:
        """Finish the segment. Raises RunError if that fails. Closing twice is safe."""
        if not self._lock.acquire(timeout=_CLOSE_S):
            log.warning("%s: the medium does not answer; the last second of the recording may be lost", self._folder)
            return
        try:
            if self._closed:
                return
            self._closed = True
            self._stop()
        except OSError as error:
            self._error = self._explain(error)
            self._abandon()
            raise RunError(self._error) from error
        finally:
            self._lock.release()
            self._syncer.close(_CLOSE_S)
