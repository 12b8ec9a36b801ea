"""The live pictures of one viewer, until the viewer leaves.

`view=restored` and `view=blurred` are plain MJPEG (`multipart/x-mixed-replace`), for <img>, VLC and Home Assistant.
`view=both` is for the page: each part holds both pictures of one frame, so that one connection carries the comparison and its two
sides always match. Two files in a part cost less than one file of both pictures: at 640x480 the copy into one picture costs up to
0.2 ms of 2 ms a frame and saves 0.4 % of the bytes (`scripts/stream_cost.py`); and views share files.
"""

import select
import socket
import time

from device.sinks.web.latest_frame import BOTH, LatestFrame
from device.sinks.web.server import SEND_S, Connection
from device.sinks.web.stream_quality import StreamQuality
from device.telemetry import Telemetry

_BOUNDARY = "deblurkit-frame"
_SEND_BUFFER = 128 * 1024  # bytes in the kernel for one viewer
_UNSENT = 16 * 1024  # a frame is chosen only when less than this is unsent: a slow viewer sees few frames, but no old ones
_POLL_S = 1.0  # how often a waiting stream checks whether its viewer is still there


def stream(
    viewer: Connection, latest: LatestFrame, view: str, telemetry: Telemetry, headers: tuple[tuple[str, str], ...]
) -> None:
    """Send frames until the viewer leaves, takes longer than SEND_S for one, or the sink closes. Raises OSError then."""
    connection = viewer.socket
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * SEND_S))
    # Safari splits multipart/x-mixed-replace itself, so that `fetch` sees no boundaries.
    content_type = "multipart/mixed" if view == BOTH else "multipart/x-mixed-replace"
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}; boundary={_BOUNDARY}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    viewer.send(("\r\n".join(lines) + f"\r\n\r\n--{_BOUNDARY}\r\n").encode())
    stream_quality, number, next_s = StreamQuality(time.monotonic()), 0, 0.0
    while not latest.closed:
        if not latest.wait(number, _POLL_S):
            if viewer.gone():
                return
            continue
        time.sleep(max(0.0, next_s - time.monotonic()))
        began = time.monotonic()
        _wait_until_sent(connection)
        waited_s = time.monotonic() - began
        level = stream_quality.level
        encoded = latest.encoded(view, level.quality)
        if encoded is None:
            return
        number, captured_s = encoded.number, encoded.frame.captured_s
        began = time.monotonic()
        next_s = began + level.interval_s
        lengths = ",".join(str(len(file)) for file in encoded.files)
        part = (
            f"Content-Type: {'application/octet-stream' if view == BOTH else 'image/jpeg'}\r\n"
            f"Content-Length: {sum(map(len, encoded.files))}\r\n"
            f"X-Files: {lengths}\r\nX-Index: {encoded.frame.index}\r\nX-Mark: {encoded.mark}\r\n"
            f"X-Captured: {captured_s:.4f}\r\nX-Age: {began - captured_s:.4f}\r\nX-Quality: {level.quality}\r\n\r\n"
        )
        # The boundary of the next part goes with it: a browser shows a picture only when that has arrived.
        viewer.send(b"".join((part.encode(), *encoded.files, f"\r\n--{_BOUNDARY}\r\n".encode())))
        now = time.monotonic()
        stream_quality.sent(now, waited_s + now - began)
        telemetry.add("sent", now - captured_s)


def _wait_until_sent(connection: socket.socket) -> None:
    """Wait until almost nothing is left to send. Raises TimeoutError after SEND_S."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    if not poll.poll(1000 * SEND_S):
        raise TimeoutError
