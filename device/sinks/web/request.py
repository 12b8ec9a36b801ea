"""Reads HTTP/1.1 requests from a socket, within hard limits, and builds the bytes of a reply.

http.server of the standard library limits neither the time of a whole request nor the size of its head.
"""

import re
import socket
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs

MOST_HEAD = 16 * 1024  # bytes of the request line and all headers
MOST_HEADERS = 64
MOST_BODY = 4 * 1024  # bytes
REQUEST_S = 5.0  # for a whole head, and again for a whole body, from its first byte to its last
IDLE_S = 15.0  # how long a connection may wait for its next request

_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]{0,2047}) HTTP/1\.([01])")
# The value takes the blanks before it too: two repetitions side by side would try every split of 16 KiB of them, for seconds.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\x20-\x7e\x80-\xff\t]*)")
_LENGTH = re.compile(r"[0-9]{1,9}")


class Refused(Exception):
    """The request is refused: the reply has this status and this sentence, and the connection ends."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Gone(Exception):
    """Nobody waits for a reply: the connection has ended, or no request arrived."""


@dataclass(frozen=True)
class Request:
    """A parsed request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    keep: bool = True
    """Whether the connection may serve another request."""


@dataclass
class Reader:
    """Reads requests from one connection. Bytes after the end of one request are the start of the next."""

    connection: socket.socket
    _buffer: bytearray = field(default_factory=bytearray)

    def request(self, idle_s: float) -> Request:
        """The next request. Raises Gone if none begins within `idle_s`, Refused for one that breaks a rule or a limit."""
        if not self._buffer:
            self._more(time.monotonic() + idle_s)
        head = self._head(time.monotonic() + REQUEST_S)
        request = _parsed(head)
        length = _body_length(request)
        if length:
            if request.headers.get("expect", "").lower() == "100-continue":  # curl asks before it sends
                self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            deadline = time.monotonic() + REQUEST_S
            while len(self._buffer) < length:
                self._more(deadline, HTTPStatus.REQUEST_TIMEOUT)
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return Request(request.method, request.path, request.query, request.headers, body, request.keep)

    def _head(self, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MOST_HEAD:
                break
            self._more(deadline, HTTPStatus.REQUEST_TIMEOUT)
        if not 0 <= end <= MOST_HEAD:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of a request may have at most {MOST_HEAD} bytes")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _more(self, deadline: float, late: HTTPStatus | None = None) -> None:
        """Receive some bytes. At the deadline, raise Refused with the status `late`, or Gone if that is None."""
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.connection.settimeout(left)
            data = self.connection.recv(MOST_HEAD)
        except TimeoutError:
            if late is None:
                raise Gone from None
            raise Refused(late, f"a request must be complete within {REQUEST_S:.0f} s") from None
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        self._buffer += data


def _parsed(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request; for https put a reverse proxy in front")
    if len(lines) > MOST_HEADERS:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request may have at most {MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for header in lines:
        parts = _HEADER.fullmatch(header)
        if parts is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "malformed header")
        name, value = parts[1].decode().lower(), parts[2].decode("latin-1").strip()
        if name in headers and name in ("host", "origin", "content-length", "authorization", "transfer-encoding"):
            raise Refused(HTTPStatus.BAD_REQUEST, f"the header {name} appears twice")
        headers[name] = f"{headers[name]}; {value}" if name == "cookie" and name in headers else value
    path, _, query = line[2].decode().partition("?")
    try:
        values = {name: texts[0] for name, texts in parse_qs(query, keep_blank_values=True, max_num_fields=16).items()}
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "a query with more than 16 fields") from None
    asked = headers.get("connection", "").lower()
    keep = asked != "close" if line[3] == b"1" else asked == "keep-alive"
    return Request(line[1].decode(), path, values, headers, keep=keep)


def _body_length(request: Request) -> int:
    if "transfer-encoding" in request.headers:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "a body needs a Content-Length; transfer encodings are not supported")
    text = request.headers.get("content-length")
    if text is None:
        if request.method == "POST":
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a POST needs a Content-Length")
        return 0
    if not _LENGTH.fullmatch(text):
        raise Refused(HTTPStatus.BAD_REQUEST, "malformed Content-Length")
    if int(text) > MOST_BODY:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have at most {MOST_BODY} bytes")
    return int(text)


@dataclass(frozen=True)
class Reply:
    """A reply."""

    status: HTTPStatus
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, headers: tuple[tuple[str, str], ...], *, keep: bool) -> bytes:
        """Status line, these headers and the reply's own headers."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", f"Content-Type: {self.kind}"]
        lines += [f"{name}: {value}" for name, value in (*headers, *self.headers)]
        lines += [f"Content-Length: {len(self.body)}", f"Connection: {'keep-alive' if keep else 'close'}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def text(status: HTTPStatus, sentence: str, *headers: tuple[str, str]) -> Reply:
    """A reply of one sentence for a person."""
    return Reply(status, "text/plain; charset=utf-8", f"{sentence}\n".encode(), headers)
