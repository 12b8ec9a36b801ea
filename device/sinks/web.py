"""The web page: blurred and restored side by side as MJPEG, a still, and the loop's figures as JSON."""

import json
import logging
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import cv2

from device.errors import RunError
from device.frame import Restored
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
PAGE = Path(__file__).with_name("page.html")
_BOUNDARY = "deblurkit-frame"
_PART = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
_STREAM_QUALITY, _SNAPSHOT_QUALITY = 85, 95  # OpenCV's JPEG quality
_MOST_STREAMS = 16
_SEND_BUFFER = 128 * 1024  # bytes in the kernel for one viewer: a slow one shall see few old frames, not seconds of them


class Web:
    """Serves `/`, `/stream`, `/snapshot` and `/state` on the loopback interface. Encodes nothing while nobody watches."""

    def __init__(self, telemetry: Telemetry, source: str, port: int, host: str = "127.0.0.1") -> None:
        self.telemetry, self.source = telemetry, source
        self.facts: dict[str, object] = {}
        """What else `/state` tells: bundle, artifact, runtime, threads."""
        self._latest: Restored | None = None
        self._fresh = threading.Condition()
        self._encoded: dict[str, tuple[int, bytes]] = {}
        self._encoding = threading.Lock()
        self.closed = threading.Event()
        self.streams = threading.BoundedSemaphore(_MOST_STREAMS)
        try:
            self._server = _Server((host, port), self)
        except OSError as error:
            raise RunError(
                f"{host}:{port}: {error.strerror}; another program may use the port, choose one with --port"
            ) from error
        self.url = f"http://{host}:{self._server.server_port}"
        self.description = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="web", daemon=True)
        self._thread.start()

    def write(self, restored: Restored) -> None:
        """Show a frame: wakes whoever waits for one."""
        with self._fresh:
            self._latest = restored
            self._fresh.notify_all()

    def wait(self, after: int | None, timeout_s: float) -> bool:
        """Wait for a frame with an index other than `after`; False when none came in time or the sink was closed."""
        with self._fresh:
            self._fresh.wait_for(lambda: self.closed.is_set() or self._newer(after), timeout_s)
            return self._newer(after) and not self.closed.is_set()

    def _newer(self, after: int | None) -> bool:
        return self._latest is not None and self._latest.frame.index != after

    def jpeg(self, view: str, quality: int) -> tuple[int, bytes] | None:
        """Index and JPEG of the newest frame, encoded once however many watch; None before the first and when closed.

        `view` is "restored" or "blurred".
        """
        key = f"{view}/{quality}"
        with self._encoding:
            latest = self._latest
            if latest is None or self.closed.is_set():
                return None
            done = self._encoded.get(key)
            if done is None or done[0] != latest.frame.index:
                with self.telemetry.stage("encode"):
                    pixels = latest.pixels if view == "restored" else latest.frame.pixels
                    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
                    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
                done = self._encoded[key] = (latest.frame.index, data)
            return done

    def state(self) -> dict[str, object]:
        """What `/state` answers."""
        with self._fresh:
            latest = self._latest
        size_wh = [latest.pixels.shape[1], latest.pixels.shape[0]] if latest else None
        idle = time.monotonic() - latest.frame.captured_s if latest else None
        return {
            **self.telemetry.snapshot(),
            **self.facts,
            "source": self.source,
            "size_wh": size_wh,
            "newest_frame_s": idle,
        }

    def close(self) -> None:
        """Let viewers go and free the port; closing twice is safe."""
        if self.closed.is_set():
            return
        self.closed.set()
        with self._encoding:  # a thread that the process's end finds in OpenCV would abort it; after this none is, or gets there
            pass
        with self._fresh:
            self._fresh.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], web: Web) -> None:
        self.web = web
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a viewer's connection ended with an error", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a viewer may take to send its request or to take a frame
    disable_nagle_algorithm = True  # the end of a frame shall not wait for the viewer's acknowledgement

    def do_GET(self) -> None:  # the name is http.server's
        parts = urlsplit(self.path)
        view = parse_qs(parts.query).get("view", ["restored"])[0]
        if view not in ("restored", "blurred"):
            self._text(HTTPStatus.BAD_REQUEST, "view is restored or blurred\n")
        elif parts.path == "/":
            self._reply(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes())
        elif parts.path == "/state":
            self._reply(HTTPStatus.OK, "application/json", json.dumps(self.server.web.state()).encode())
        elif parts.path == "/snapshot":
            self._snapshot(view)
        elif parts.path == "/stream":
            self._stream(view)
        else:
            self._text(HTTPStatus.NOT_FOUND, "here are / /stream /snapshot /state\n")

    def _snapshot(self, view: str) -> None:
        web = self.server.web
        encoded = web.jpeg(view, _SNAPSHOT_QUALITY) if web.wait(None, 3.0) else None
        if encoded is None:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, "no frame yet\n")
        else:
            self._reply(HTTPStatus.OK, "image/jpeg", encoded[1])

    def _stream(self, view: str) -> None:
        web = self.server.web
        if not web.streams.acquire(blocking=False):
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, f"all {_MOST_STREAMS} streams are taken\n")
            return
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(_PART)
            shown = None
            while not web.closed.is_set():
                if web.wait(shown, 1.0) and (encoded := web.jpeg(view, _STREAM_QUALITY)):
                    shown, data = encoded
                    # With the next part's head: Chromium shows a frame when that has come.
                    self.wfile.write(data + b"\r\n" + _PART)
        except OSError:  # the viewer has gone, or was too slow
            pass
        finally:
            web.streams.release()

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._reply(status, "text/plain; charset=utf-8", text.encode())

    def _reply(self, status: HTTPStatus, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
        )
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
