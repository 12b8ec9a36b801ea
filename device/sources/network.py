"""Network cameras: `rtsp://` through OpenCV's FFmpeg, `http(s)://` as a stream of JPEG pictures, else through FFmpeg as well.

No clock is shared with such a camera, so a frame's age begins when it arrives: what encoding and the way took comes on top.
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

_ANSWER_S = 5.0  # to connect, and to each answer
_LOGGED = 4096  # bytes of what FFmpeg printed that go on to the log
# FFmpeg's options: no waiting for lost packets to come in another order (TCP), and nothing collected before the first picture.
_FFMPEG = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"


def open_stream(address: str) -> Camera:
    """Open a network camera. Raises CameraLost with what it answered, UsageError for what is no address."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"rtsp": 554, "http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise UsageError(f"{without_password(address)}: not an address of a camera; expected rtsp://host/path") from error
    if not parts.hostname:
        raise UsageError(f"{without_password(address)}: has no host; expected {parts.scheme}://host/path")
    if parts.scheme == "rtsp":
        _reach(without_password(address), parts.hostname, port)
        return FfmpegStream(address)
    return open_http(address)


class FfmpegStream:
    """Whatever FFmpeg reads of the network, R G B, in the size and at the rate that the camera is set to."""

    def __init__(self, address: str) -> None:
        """Open. Raises CameraLost."""
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _FFMPEG  # read by OpenCV; this process is the camera's own
        self._name, self._index = without_password(address), 0
        limit_ms = int(1000 * _ANSWER_S)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        with _printed_errors() as said:
            self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)
        if not self._capture.isOpened():
            answered = re.search(r"failed: (\d{3})|error (\d{3})", " ".join(said))
            if answered:
                raise CameraLost(f"{self._name}: {_status(int(answered[1] or answered[2]), _without_user(address)[1])}")
            raise CameraLost(f"{self._name}: carries no video that can be decoded; try the address in another player")
        self.fps = min(float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0, 240.0)  # some say 90,000, their clock's rate
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"{self._name}, {width}x{height} at {self.fps:.4g} fps"

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLost when the stream ends or is silent for five seconds."""
        got, bgr = self._capture.read()
        if not got or bgr is None:
            raise CameraLost(f"{self._name}: the stream ended after {self._index} frames; is the camera on?")
        self._index += 1
        return Frame(self._index - 1, time.monotonic(), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]

    def close(self) -> None:
        """Leave the stream. Closing twice is safe."""
        self._capture.release()


class JpegStream:
    """`multipart/x-mixed-replace`: JPEG after JPEG in one answer that does not end. Each is checked before it is shown."""

    fps = 0.0  # nobody tells; it follows from what arrives

    def __init__(self, name: str, answer: HTTPResponse) -> None:
        """Take over an answer that was opened."""
        self._name, self._answer, self._index = name, answer, 0
        self._parts = parts_of(answer, answer.headers.get_boundary(""))
        self.description = f"{name}, MJPEG"

    def read(self) -> Frame:
        """Wait for the next picture. Raises BadFrame for what is none, CameraLost when the stream ends or is silent."""
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
        """Leave the stream. Closing twice is safe."""
        with contextlib.suppress(OSError, HTTPException):
            self._answer.close()


def open_http(address: str) -> Camera:
    """Open an http(s) address by what it answers with. Raises CameraLost with the reason in words."""
    name = without_password(address)
    bare, user, password = _without_user(address)
    # No proxy: a camera is in the house, and what is set for the web does not reach it.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if user or password:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, bare, user, password)
        handlers += [urllib.request.HTTPDigestAuthHandler(passwords), urllib.request.HTTPBasicAuthHandler(passwords)]
    opener = urllib.request.build_opener(*handlers)
    try:
        answer = opener.open(bare, timeout=_ANSWER_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise CameraLost(f"{name}: {_status(error.code, user)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise CameraLost(f"{name}: {_unreachable(error)}") from None
    kind = answer.headers.get_content_type()
    if kind == "multipart/x-mixed-replace":
        return JpegStream(name, answer)
    answer.close()
    if kind.startswith(("text/html", "image/")):
        what = "one picture" if kind.startswith("image/") else "a web page"
        raise CameraLost(f"{name}: is {what} ({kind}), no video; look up the address of the camera's stream")
    return FfmpegStream(address)


def _reach(name: str, host: str, port: int) -> None:
    """Connect and leave again, only to say in words what is wrong: OpenCV does not tell. Raises CameraLost.

    Asking for more would be a viewer that goes at once, and there are cameras that then send the next one away.
    """
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise CameraLost(f"{name}: {_unreachable(error)}") from None


@contextlib.contextmanager
def _printed_errors() -> Iterator[list[str]]:
    """What libraries print to the standard error inside `with` is in the list after it: nothing else tells FFmpeg's reasons."""
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read()
            os.write(2, text[-_LOGGED:])
            said += text.decode(errors="replace").splitlines()


def _without_user(address: str) -> tuple[str, str, str]:
    """(address without user and password, user, password)."""
    parts = urlsplit(address)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def _status(code: int, user: str) -> str:
    if code in (401, 403):
        if user:
            return f"{code}, user or password is wrong"
        return f"{code}, asks for a user and a password; give them in the address, USER:PASSWORD@ before the host"
    if code == 404:
        return "404, the camera has no stream of that name; look up its path"
    return f"the camera answers with {code}; is the path right, and has it viewers enough already?"


def _unreachable(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "no such host; check the name, or give the camera's number address"
    if isinstance(reason, ConnectionRefusedError):
        return "nothing listens there; is the camera on, and the port right?"
    if isinstance(reason, TimeoutError):
        return f"does not answer within {_ANSWER_S:.0f} s; is the camera on, and in this network?"
    said = reason.strerror if isinstance(reason, OSError) else None
    return f"cannot be opened ({said or type(reason).__name__}); is the camera on, and the address right?"
