"""What each address of the page answers: pictures, figures, and requests to the loop."""

import hashlib
import json
import re
import threading
import time
from base64 import b64encode
from http import HTTPStatus
from pathlib import Path

from device.blur.focus import sharpness_at
from device.controls import Controls
from device.errors import DeblurkitError, RunError
from device.images.frame import plane_of
from device.sinks.web.auth import Auth, without_token
from device.sinks.web.latest_frame import BOTH, VIEWS, LatestFrame
from device.sinks.web.metrics import CONTENT_TYPE, metrics
from device.sinks.web.request import Refused, Reply, Request, text
from device.sinks.web.server import Connection
from device.sinks.web.stream import stream
from device.state import ModelOption, PageState, State, Viewers
from device.telemetry import Telemetry

PAGE = Path(__file__).with_name("page.html")
_SNAPSHOT_QUALITY = 95
_FIRST_FRAME_S = 3.0  # how long a snapshot waits for the first frame
_STATE_S = 0.2  # a state younger than this also serves the next viewer
_POST = {  # path -> keys of its JSON object
    "/switch": "bundle, variant, runtime",
    "/reload": "nothing",
    "/record": "on",
    "/blur": "blur, and keep or strength",
    "/region": "x, y, width and height in pixels, or nothing",
}
_GET = ("/", "/stream", "/snapshot", "/focus", "/state", "/metrics", "/healthz")


class Routes:
    """Answers requests. After construction it reads no file."""

    def __init__(self, latest: LatestFrame, controls: Controls, telemetry: Telemetry, most_viewers: int, auth: Auth) -> None:
        self._latest, self._controls, self._telemetry, self._auth = latest, controls, telemetry, auth
        self._most_viewers = most_viewers
        self._viewers = 0
        self._lock = threading.Lock()
        self._state: tuple[float, State] | None = None
        self._page = PAGE.read_bytes()
        self.headers = _headers(self._page)
        """Sent with every reply."""

    def answer(self, viewer: Connection, request: Request) -> Reply | None:
        """The reply; None for a stream, which has then ended. Raises Refused."""
        self._auth.check(request, viewer.local_address)
        if request.path in _POST:
            allowed: tuple[str, ...] = ("POST",)
        elif request.path in _GET:
            allowed = ("GET", "HEAD")
        else:
            return text(HTTPStatus.NOT_FOUND, f"no such address; there are {' '.join(_GET)}")
        if request.method not in allowed:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed[0]}", ("Allow", ", ".join(allowed)))
        authorised = self._auth.has_token(request, viewer.address)
        if request.path == "/healthz":
            return self._healthz(details=authorised)
        if not authorised:
            return without_token()
        match request.path:
            case "/":
                if "token" in request.query:
                    return self._auth.enter(request)
                return Reply(HTTPStatus.OK, "text/html; charset=utf-8", self._page)
            case "/state":
                now = ("X-Now", f"{time.monotonic():.4f}")  # lets the page compare its own clock with the frames' clock
                return Reply(HTTPStatus.OK, "application/json", json.dumps(self.state().to_dict()).encode(), (now,))
            case "/metrics":
                return Reply(HTTPStatus.OK, CONTENT_TYPE, metrics(self.state()).encode())
            case "/snapshot":
                return self._snapshot(_view(request))
            case "/focus":
                return self._focus(request)
            case "/stream":
                return self._stream(viewer, request)
        return self._control(request)

    def state(self) -> PageState:
        """The state of the loop with its viewers, at most 0.2 s old."""
        with self._lock:
            now = time.monotonic()
            if self._state is None or now - self._state[0] > _STATE_S:
                self._state = (now, self._controls.state())
            return PageState(**vars(self._state[1]), viewers=Viewers(self._viewers, self._most_viewers))

    def _healthz(self, *, details: bool) -> Reply:
        state = self.state()
        if state.healthy:
            return text(HTTPStatus.OK, "ok")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, state.health if details else "not healthy")

    def _snapshot(self, view: str) -> Reply:
        if self._latest.wait(0, _FIRST_FRAME_S):
            if view == BOTH:
                data = self._latest.side_by_side(_SNAPSHOT_QUALITY)
            else:
                encoded = self._latest.encoded(view, _SNAPSHOT_QUALITY)
                data = encoded.files[0] if encoded else None
            if data is not None:
                return Reply(HTTPStatus.OK, "image/jpeg", data)
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "no frame yet", ("Retry-After", "2"))

    def _focus(self, request: Request) -> Reply:
        """How sharp the original is around a point, given as shares of width and height."""
        try:
            x, y = (float(request.query.get(name, "0.5")) for name in ("x", "y"))
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise ValueError
        except ValueError:
            raise Refused(HTTPStatus.BAD_REQUEST, "x and y are shares of the picture's width and height, from 0 to 1") from None
        frame = self._latest.frame()
        sharpness = None if frame is None else sharpness_at(plane_of(frame.image), x, y)
        return Reply(HTTPStatus.OK, "application/json", json.dumps({"sharpness": sharpness}).encode())

    def _stream(self, viewer: Connection, request: Request) -> Reply | None:
        view = _view(request)
        if request.method == "HEAD":
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "/stream takes GET", ("Allow", "GET"))
        with self._lock:
            full = self._viewers >= self._most_viewers
            self._viewers += not full
        if full:
            reason = f"all {self._most_viewers} places for viewers are taken; try again later"
            return text(HTTPStatus.SERVICE_UNAVAILABLE, reason, ("Retry-After", "2"))
        try:
            stream(viewer, self._latest, view, self._telemetry, self.headers)
        finally:
            with self._lock:
                self._viewers -= 1
        return None

    def _blur(self, body: dict[str, object]) -> None:
        if not {"blur", "strength"} & set(body):
            raise KeyError("blur")
        if "strength" in body:
            strength = body["strength"]
            if isinstance(strength, bool) or not isinstance(strength, int | float):
                raise TypeError
            self._controls.strength(float(strength))
        if "blur" in body:
            self._controls.blur(str(body["blur"]), bool(body.get("keep", False)))

    def _control(self, request: Request) -> Reply:
        """Pass a viewer's request to the loop; the state shows its result."""
        try:
            body = json.loads(request.body or b"{}")
            if not isinstance(body, dict):
                raise TypeError
            match request.path:
                case "/switch":
                    self._controls.switch(ModelOption(*(str(body[name]) for name in ("bundle", "variant", "runtime"))))
                case "/reload":
                    self._controls.reload()
                case "/record":
                    if not isinstance(body["on"], bool):
                        raise TypeError
                    self._controls.record(body["on"])
                case "/blur":
                    self._blur(body)
                case "/region":
                    corners = tuple(int(body[name]) for name in ("x", "y", "width", "height")) if body else None
                    self._controls.region(corners)  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError, RecursionError, RunError) as error:
            if isinstance(error, DeblurkitError):
                return text(HTTPStatus.CONFLICT, str(error))
            return text(HTTPStatus.BAD_REQUEST, f"{request.path} takes a JSON object with {_POST[request.path]}")
        with self._lock:
            self._state = None
        return Reply(HTTPStatus.ACCEPTED, "application/json", b"{}")


def _view(request: Request) -> str:
    view = request.query.get("view", VIEWS[0])
    if view not in (*VIEWS, BOTH):
        raise Refused(HTTPStatus.BAD_REQUEST, "view is restored, blurred or both")
    return view


def _headers(page: bytes) -> tuple[tuple[str, str], ...]:
    """Headers of every reply. Only the page's own script and style are allowed, by their hashes."""

    def hashes(tag: bytes) -> str:
        found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found)

    policy = (
        f"default-src 'none'; script-src {hashes(b'script')}; style-src {hashes(b'style')}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )
    return (
        ("Content-Security-Policy", policy),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    )
