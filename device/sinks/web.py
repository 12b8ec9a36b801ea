"""The web page: blurred and restored side by side as MJPEG, a still, and the loop's figures as JSON."""

import json
import logging
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
_STREAM_QUALITY, _SNAPSHOT_QUALITY = 85, 95  # OpenCV's JPEG quality
_MOST_STREAMS = 16


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

    def wait(self, after: int, timeout_s: float) -> Restored | None:
        """The newest frame with an index other than `after`, or None when none came in time or the sink was closed."""
        with self._fresh:
            self._fresh.wait_for(lambda: self.closed.is_set() or (self._latest and self._latest.frame.index != after), timeout_s)
            latest = self._latest
        return latest if latest and latest.frame.index != after and not self.closed.is_set() else None

    def jpeg(self, restored: Restored, view: str, quality: int) -> bytes:
        """The frame as JPEG, encoded once however many watch. `view` is "restored" or "blurred"."""
        key, index = f"{view}/{quality}", restored.frame.index
        with self._encoding:
            done = self._encoded.get(key)
            if done is None or done[0] != index:
                with self.telemetry.stage("encode"):
                    pixels = restored.pixels if view == "restored" else restored.frame.pixels
                    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
                    done = (index, cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
                self._encoded[key] = done
            return done[1]

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
        latest = web.wait(-1, 3.0)
        if latest is None:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, "no frame yet\n")
        else:
            self._reply(HTTPStatus.OK, "image/jpeg", web.jpeg(latest, view, _SNAPSHOT_QUALITY))

    def _stream(self, view: str) -> None:
        web = self.server.web
        if not web.streams.acquire(blocking=False):
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, f"all {_MOST_STREAMS} streams are taken\n")
            return
        try:
            self.close_connection = True
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            shown = -1
            while not web.closed.is_set():
                restored = web.wait(shown, 1.0)
                if restored is None:
                    continue
                shown = restored.frame.index
                data = web.jpeg(restored, view, _STREAM_QUALITY)
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
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
            "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
        )
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)
