"""A network camera that sends MJPEG, on the loopback interface. Prints its port, then serves forever.

    python mjpeg_server.py PORT WIDTHxHEIGHT KIND [USER:PASSWORD]

KIND: `well`; `no-length` and `bare-boundary`, like some cameras; `truncated`, `garbage`, `mixed` (every second picture is good);
`page` (HTML), `picture` (one JPEG), `missing` (404), `busy` (503); `digest` asks for a digest of the password, not the password.
"""

import hashlib
import http.server
import itertools
import sys
import time

import cv2
import numpy as np

FPS = 30.0
port, size, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3]
login = sys.argv[4] if len(sys.argv) > 4 else ""
width, height = (int(n) for n in size.split("x"))


def jpeg(number: int) -> bytes:
    """Left half red, right half blue, brightness counts at the top."""
    bgr = np.zeros((height, width, 3), np.uint8)
    bgr[:, : width // 2] = (0, 0, 200)
    bgr[:, width // 2 :] = (200, 0, 0)
    bgr[: height // 4] = number * 16 % 256
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


JPEGS = [jpeg(number) for number in range(16)]


def part(number: int) -> bytes:
    data = JPEGS[number % len(JPEGS)]
    spoilt = kind in ("truncated", "garbage") or (kind == "mixed" and number % 2)
    if spoilt:
        data = b"\x00garbage\n" * 40 if kind == "garbage" else data[: len(data) // 2]
    length = b"" if kind == "no-length" else b"Content-Length: %d\r\n" % len(data)
    dashes = b"" if kind == "bare-boundary" else b"--"
    return dashes + b"frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + data + b"\r\n"


class Camera(http.server.BaseHTTPRequestHandler):
    """One viewer."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        if login and not self.let_in():
            scheme = 'Digest realm="camera", nonce="abc", qop="auth"' if kind == "digest" else 'Basic realm="camera"'
            self.answer(401, ("WWW-Authenticate", scheme), b"")
        elif kind in ("missing", "busy"):
            self.answer({"missing": 404, "busy": 503}[kind], ("Content-Type", "text/plain"), b"")
        elif kind in ("page", "picture"):
            page, picture = ("text/html", b"<h1>camera</h1>"), ("image/jpeg", JPEGS[0])
            content, body = page if kind == "page" else picture
            self.answer(200, ("Content-Type", content), body)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for number in itertools.count():
                    self.wfile.write(part(number))
                    time.sleep(1 / FPS)
            except OSError:
                pass  # the viewer is gone

    def answer(self, code: int, header: tuple[str, str], body: bytes) -> None:
        self.send_response(code)
        self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def let_in(self) -> bool:
        given = self.headers.get("Authorization", "")
        user, _, password = login.partition(":")
        if kind != "digest":
            import base64

            return given == "Basic " + base64.b64encode(login.encode()).decode()
        told = dict(item.strip().split("=", 1) for item in given.removeprefix("Digest ").split(",") if "=" in item)
        told = {key: value.strip('"') for key, value in told.items()}

        def md5(*words: str) -> str:
            return hashlib.md5(":".join(words).encode()).hexdigest()

        secret, asked = md5(user, "camera", password), md5("GET", self.path)
        right = md5(secret, "abc", told.get("nc", ""), told.get("cnonce", ""), "auth", asked)
        return told.get("response") == right


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Camera)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
