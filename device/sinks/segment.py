"""One segment of a recording: a fragmented MP4 file that is playable up to its last fragment at any time."""

import os

from device.images.frame import Restored
from device.sinks.h264 import Encoder, StreamFormat, as_yuv

FRAGMENT_S = 0.5  # half of the video that a power cut may cost; the other half is the time that the medium needs
# delay_moov: write the header with the first fragment, because hardware encoders report their parameters with the first picture.
_OPTIONS = {"movflags": "empty_moov+delay_moov+default_base_moof", "frag_duration": str(round(FRAGMENT_S * 1e6))}


class Segment:
    """Owns the file descriptor `fd` and an encoder. Used by one thread."""

    def __init__(self, name: str, fd: int, format: StreamFormat, fps: float, mbit: float) -> None:
        self.name, self.fd, self.format = name, fd, format
        self._file = _File(fd)
        self._closed = False
        try:
            self._encoder = Encoder(self._file, "mp4", _OPTIONS, format, fps, mbit)
        except BaseException:
            os.close(fd)
            raise

    @property
    def bytes(self) -> int:
        """Bytes written so far; grows by one fragment at a time."""
        return self._file.bytes

    def write(self, restored: Restored) -> None:
        """Encode one frame. Raises OSError if the medium fails, RunError if the frame cannot be encoded."""
        self._encoder.write(as_yuv(restored.image), restored.frame.captured_s)

    def finish(self) -> None:
        """Write the rest. Raises like `write`."""
        self._encoder.finish()

    def close(self) -> None:
        """Free everything without writing unfinished data. Closing twice is safe."""
        if not self._closed:
            self._closed = True
            self._file.abandoned = True
            self._encoder.abandon()
            os.close(self.fd)


class _File:
    """The file object that FFmpeg writes into. It never writes partially: on an almost full disk FFmpeg would not notice."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.bytes = 0
        self.abandoned = False

    def write(self, data: bytes) -> int:
        """Write all of it."""
        if self.abandoned:
            return len(data)
        left = memoryview(data)
        while left:
            done = os.write(self._fd, left)
            self.bytes += done
            left = left[done:]
        return len(data)
