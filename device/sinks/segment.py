"""One segment of a recording: a fragmented MP4 file that plays up to its last fragment at every moment."""

import os

from device.images.frame import Restored
from device.sinks.h264 import Encoder, Form, planes_of

FRAGMENT_S = 0.5  # half of what a power cut may cost: the other half is for the medium, to take it
# delay_moov: the header waits for the first fragment, because hardware encoders tell their parameters with the first picture.
_OPTIONS = {"movflags": "empty_moov+delay_moov+default_base_moof", "frag_duration": str(round(FRAGMENT_S * 1e6))}


class Segment:
    """Owns the descriptor it is given. Used by one thread; the encoder's buffers go with it."""

    def __init__(self, name: str, fd: int, form: Form, fps: float, mbit: float) -> None:
        self.name, self.fd, self.form = name, fd, form
        self._file = _File(fd)
        self._closed = False
        try:
            self._encoder = Encoder(self._file, "mp4", _OPTIONS, form, fps, mbit)
        except BaseException:
            os.close(fd)
            raise

    @property
    def bytes(self) -> int:
        """Written so far: grows by a fragment at a time."""
        return self._file.bytes

    def write(self, restored: Restored) -> None:
        """Encode one frame. Raises OSError when the medium does not take it, RunError when it cannot be encoded."""
        self._encoder.write(planes_of(restored.image), restored.frame.captured_s)

    def finish(self) -> None:
        """Write what is left. Raises as `write` does."""
        self._encoder.finish()

    def close(self) -> None:
        """Free everything; what was not finished is not written. Closing twice is safe."""
        if not self._closed:
            self._closed = True
            self._file.given_up = True
            self._encoder.abandon()
            os.close(self.fd)


class _File:
    """What FFmpeg writes into. All or nothing: a short write, as on a disk that is nearly full, would pass unnoticed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.bytes = 0
        self.given_up = False

    def write(self, data: bytes) -> int:
        """Write all of it."""
        if self.given_up:
            return len(data)
        left = memoryview(data)
        while left:
            done = os.write(self._fd, left)
            self.bytes += done
            left = left[done:]
        return len(data)
