"""Motion JPEG: the parts of a `multipart/x-mixed-replace` stream, and the check and decoding of each picture."""

from collections.abc import Iterator
from typing import Protocol

from device.errors import CameraLost, DataError
from device.images.frame import Pixels
from device.images.picture import decode_picture
from device.sources.checks import BadFrame

_LONGEST_LINE = 8192
_LARGEST_PART = 64 << 20  # bytes; a JPEG of 8K in best quality is half of that


class Stream(Protocol):
    """What is read from: an HTTP answer."""

    def readline(self, limit: int = -1, /) -> bytes:
        """One line with its end, or so many bytes of it; empty at the end of the stream."""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes; fewer only at the end of the stream."""


def parts_of(stream: Stream, boundary: str) -> Iterator[bytes]:
    """The body of each part, until the stream ends. Raises CameraLost for what is no such stream.

    A part that tells its length is read by that, others up to the next boundary. Cameras write the boundary with and without
    its two dashes, in the header and in the stream.
    """
    name = boundary.strip('"').lstrip("-").encode()
    at_boundary = False
    while at_boundary or _skipped_to(stream, name):
        length = _told_length(stream)
        if length is None:
            return
        at_boundary = length < 0
        body = _up_to(stream, name) if at_boundary else stream.read(length)
        yield body
        if len(body) < length:
            return


def _is_boundary(line: bytes, name: bytes) -> bool:
    line = line.strip()
    return line.startswith(b"--" + name) or (bool(name) and line.startswith(name))


def _skipped_to(stream: Stream, name: bytes) -> bool:
    """Read past the next boundary; False where the stream ends before it."""
    skipped = 0
    while line := stream.readline(_LONGEST_LINE):
        if _is_boundary(line, name):
            return True
        skipped += len(line)
        if skipped > _LARGEST_PART:
            raise CameraLost("the stream has no parts of the kind that it announces")
    return False


def _told_length(stream: Stream) -> int | None:
    """Read past a part's headers; its length in bytes, -1 where they do not tell, None at the end of the stream."""
    length = -1
    for _ in range(100):
        line = stream.readline(_LONGEST_LINE)
        if not line:
            return None
        if not line.strip():
            return length
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-length" and value.strip().isdigit() and int(value) <= _LARGEST_PART:
            length = int(value)
    raise CameraLost("a part of the stream has nothing but headers")


def _up_to(stream: Stream, name: bytes) -> bytes:
    """A body of unknown length; the boundary behind it is read too."""
    body = bytearray()
    while (line := stream.readline(_LONGEST_LINE)) and not _is_boundary(line, name):
        body += line
        if len(body) > _LARGEST_PART:
            raise CameraLost("a part of the stream does not end")
    return bytes(body).removesuffix(b"\n").removesuffix(b"\r")


def decode_jpeg(data: bytes) -> Pixels:
    """One JPEG of a camera, R G B. Raises BadFrame for what is cut off or no JPEG."""
    if data[:2] != b"\xff\xd8":
        raise BadFrame(f"no JPEG: {len(data)} bytes that begin with {data[:4].hex(' ') or 'nothing'}")
    try:
        return decode_picture(data, "JPEG")
    except DataError as error:
        raise BadFrame(str(error).partition(";")[0]) from error
