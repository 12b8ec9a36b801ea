"""Network cameras: `rtsp://` through OpenCV's FFmpeg; `http(s)://` as an MJPEG stream, or through FFmpeg if it is another kind.

We share no clock with such a camera, so a frame's age counts from its arrival; encoding and transmission are not included.
"""

import contextlib
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2

from device.errors import CameraLost, UsageError
from device.images.frame import Frame
from device.sources.camera import Camera
from device.sources.checks import BadFrame
from device.sources.mjpeg import decode_jpeg, parts_of
from device.system.address import without_password

_ANSWER_S = 5.0  # to connect, and for each response
_LOGGED = 4096  # bytes of FFmpeg's output that are logged
# FFmpeg's options: TCP, so no waiting for reordered packets; no buffering before the first picture.
_FFMPEG = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"


def open_stream(address: str) -> Camera:
    """Open a network camera. Raises CameraLost with its answer, UsageError for an invalid address."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"rtsp": 554, "http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise UsageError(f"{without_password(address)}: not a valid camera address; expected rtsp://host/path") from error
    if not parts.hostname:
        raise UsageError(f"{without_password(address)}: has no host; expected {parts.scheme}://host/path")
    if parts.scheme == "rtsp":
        _check_reachable(without_password(address), parts.hostname, port)
        return FfmpegStream(address)
    return open_http(address)


class FfmpegStream:
    """Any stream that FFmpeg can read, as R G B, at the size and rate set in the camera."""

    def __init__(self, address: str) -> None:
        """Open. Raises CameraLost."""
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _FFMPEG  # read by OpenCV; this process has only this camera
        self._name, self._index = without_password(address), 0
        limit_ms = int(1000 * _ANSWER_S)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        with _captured_stderr() as lines:
            self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)
        if not self._capture.isOpened():
            status = re.search(r"failed: (\d{3})|error (\d{3})", " ".join(lines))
            if status:
                raise CameraLost(f"{self._name}: {_explain_status(int(status[1] or status[2]), _split_credentials(address)[1])}")
            raise CameraLost(f"{self._name}: has no video that can be decoded; try the address in another player")
        self.fps = min(
            float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0, 240.0
        )  # some cameras report 90,000, the rate of their clock
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"{self._name}, {width}x{height} at {self.fps:.4g} fps"

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLost if the stream ends or is silent for five seconds."""
        got, bgr = self._capture.read()
        if not got or bgr is None:
            raise CameraLost(f"{self._name}: the stream ended after {self._index} frames; is the camera on?")
        self._index += 1
        return Frame(self._index - 1, time.monotonic(), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the stream. Closing twice is safe."""
        self._capture.release()


class JpegStream:
    """`multipart/x-mixed-replace`: one endless response with JPEG after JPEG. Each is checked before it is shown."""

    fps = 0.0  # unknown: the stream does not contain it

    def __init__(self, name: str, response: HTTPResponse) -> None:
        """Take ownership of an open response."""
        self._name, self._response, self._index = name, response, 0
        self._parts = parts_of(response, response.headers.get_boundary(""))
        self.description = f"{name}, MJPEG"

    def read(self) -> Frame:
        """Wait for the next picture. Raises BadFrame for an invalid picture, CameraLost if the stream ends or is silent."""
        try:
            data = next(self._parts)
        except CameraLost as error:
            raise CameraLost(f"{self._name}: {error}; is this a camera's stream?") from error
        except (StopIteration, OSError, HTTPException) as error:
            how = "is silent" if isinstance(error, TimeoutError) else "ended"
            raise CameraLost(f"{self._name}: the stream {how} after {self._index} pictures; is the camera on?") from error
        arrived_s = time.monotonic()
        try:
            pixels = decode_jpeg(data)
        except BadFrame as error:
            raise BadFrame(f"{self._name}: {error}") from error
        self._index += 1
        return Frame(self._index - 1, arrived_s, pixels)

    def close(self) -> None:
        """Close the stream. Closing twice is safe."""
        with contextlib.suppress(OSError, HTTPException):
            self._response.close()


def open_http(address: str) -> Camera:
    """Open an http(s) address according to the type of its response. Raises CameraLost with the reason."""
    name = without_password(address)
    bare, user, password = _split_credentials(address)
    # No proxy: the camera is in the local network, which a proxy for the web does not reach.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if user or password:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, bare, user, password)
        handlers += [urllib.request.HTTPDigestAuthHandler(passwords), urllib.request.HTTPBasicAuthHandler(passwords)]
    opener = urllib.request.build_opener(*handlers)
    try:
        response = opener.open(bare, timeout=_ANSWER_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise CameraLost(f"{name}: {_explain_status(error.code, user)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise CameraLost(f"{name}: {_explain_failure(error)}") from None
    kind = response.headers.get_content_type()
    if kind == "multipart/x-mixed-replace":
        return JpegStream(name, response)
    response.close()
    if kind.startswith(("text/html", "image/")):
        what = "one picture" if kind.startswith("image/") else "a web page"
        raise CameraLost(f"{name}: is {what} ({kind}), not a video; look up the address of the camera's stream")
    return FfmpegStream(address)


def _check_reachable(name: str, host: str, port: int) -> None:
    """Connect and disconnect, to report a reason that OpenCV would not. Raises CameraLost.

    It requests no stream: some cameras would count that as a viewer and reject the next one.
    """
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise CameraLost(f"{name}: {_explain_failure(error)}") from None


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Collect in the list what libraries print to stderr inside `with`: FFmpeg gives its reasons only there."""
    lines: list[str] = []
    sys.stderr.flush()
    stderr = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            text = file.read()
            os.write(2, text[-_LOGGED:])
            lines += text.decode(errors="replace").splitlines()


def _split_credentials(address: str) -> tuple[str, str, str]:
    """(address without user and password, user, password)."""
    parts = urlsplit(address)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def _explain_status(code: int, user: str) -> str:
    if code in (401, 403):
        if user:
            return f"{code}, wrong user or password; correct them in the address"
        return f"{code}, user and password required; put USER:PASSWORD@ before the host in the address"
    if code == 404:
        return "404, the camera has no such stream; look up its path"
    return f"the camera answers with {code}; check the path, and whether it has too many viewers"


def _explain_failure(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "no such host; check the name, or use the camera's IP address"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused; check that the camera is on and the port is correct"
    if isinstance(reason, TimeoutError):
        return f"no answer within {_ANSWER_S:.0f} s; check that the camera is on and in this network"
    text = reason.strerror if isinstance(reason, OSError) else None
    return f"cannot be opened ({text or type(reason).__name__}); check that the camera is on and the address is correct"
