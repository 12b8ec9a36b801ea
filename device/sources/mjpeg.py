"""Motion JPEG: split a `multipart/x-mixed-replace` stream into parts, and check and decode each picture."""

from collections.abc import Iterator
from typing import Protocol

from device.errors import CameraLost, DataError
from device.images.frame import Pixels
from device.images.picture import decode_picture
from device.sources.checks import BadFrame

_LONGEST_LINE = 8192
_LARGEST_PART = 64 << 20  # bytes; an 8K JPEG of best quality has half of that


class Stream(Protocol):
    """What is read from: an HTTP response."""

    def readline(self, limit: int = -1, /) -> bytes:
        """One line including its end, or at most `limit` bytes of it; empty at the end of the stream."""

    def read(self, size: int = -1, /) -> bytes:
        """`size` bytes; fewer only at the end of the stream."""


def parts_of(stream: Stream, boundary: str) -> Iterator[bytes]:
    """The body of each part until the stream ends. Raises CameraLost if it is not a multipart stream.

    A part with a Content-Length is read by its length, others up to the next boundary. Some cameras omit the boundary's two
    dashes, in the header or in the stream.
    """
    name = boundary.strip('"').lstrip("-").encode()
    at_boundary = False
    while at_boundary or _skip_to_boundary(stream, name):
        length = _content_length(stream)
        if length is None:
            return
        at_boundary = length < 0
        body = _read_to_boundary(stream, name) if at_boundary else stream.read(length)
        yield body
        if len(body) < length:
            return


def _is_boundary(line: bytes, name: bytes) -> bool:
    line = line.strip()
    return line.startswith(b"--" + name) or (bool(name) and line.startswith(name))


def _skip_to_boundary(stream: Stream, name: bytes) -> bool:
    """Read past the next boundary; False if the stream ends before it."""
    skipped = 0
    while line := stream.readline(_LONGEST_LINE):
        if _is_boundary(line, name):
            return True
        skipped += len(line)
        if skipped > _LARGEST_PART:
            raise CameraLost("the stream has no parts with the boundary in its header")
    return False


def _content_length(stream: Stream) -> int | None:
    """Read past a part's headers; its length in bytes, -1 if they do not contain it, None at the end of the stream."""
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
    raise CameraLost("a part of the stream has too many headers")


def _read_to_boundary(stream: Stream, name: bytes) -> bytes:
    """A body of unknown length; also reads the boundary after it."""
    body = bytearray()
    while (line := stream.readline(_LONGEST_LINE)) and not _is_boundary(line, name):
        body += line
        if len(body) > _LARGEST_PART:
            raise CameraLost("a part of the stream is too long")
    return bytes(body).removesuffix(b"\n").removesuffix(b"\r")


def decode_jpeg(data: bytes) -> Pixels:
    """Decode one JPEG of a camera to R G B. Raises BadFrame if it is truncated or not a JPEG."""
    if data[:2] != b"\xff\xd8":
        raise BadFrame(f"not a JPEG: {len(data)} bytes that begin with {data[:4].hex(' ') or 'nothing'}")
    try:
        return decode_picture(data, "JPEG")
    except DataError as error:
        raise BadFrame(str(error).partition(";")[0]) from error
