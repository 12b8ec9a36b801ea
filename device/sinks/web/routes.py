"""What the page's addresses answer: pictures, figures, and the few things that a viewer may ask."""

import hashlib
import json
import re
import threading
import time
from base64 import b64encode
from http import HTTPStatus
from pathlib import Path
from typing import Any

from device.controls import Controls, ModelOption
from device.errors import DeblurkitError
from device.sinks.web.auth import Auth, without_token
from device.sinks.web.latest_frame import BOTH, VIEWS, LatestFrame
from device.sinks.web.metrics import KIND, metrics
from device.sinks.web.request import Refused, Reply, Request, text
from device.sinks.web.server import Connection
from device.sinks.web.stream import stream
from device.telemetry import Telemetry

PAGE = Path(__file__).with_name("page.html")
_SNAPSHOT_QUALITY = 95
_FIRST_FRAME_S = 3.0  # that a snapshot waits for the first frame
_STATE_S = 0.2  # a state that is younger serves the next viewer too
_ASKED = {"/switch": "bundle, variant, runtime", "/reload": "nothing", "/record": "on"}
_READ = ("/", "/stream", "/snapshot", "/state", "/metrics", "/healthz")


class Routes:
    """Answers requests. Nothing in it reads a file after its making."""

    def __init__(self, latest: LatestFrame, controls: Controls, telemetry: Telemetry, most_viewers: int, auth: Auth) -> None:
        self._latest, self._controls, self._telemetry, self._auth = latest, controls, telemetry, auth
        self._most = most_viewers
        self._viewers = 0
        self._lock = threading.Lock()
        self._state: tuple[float, dict[str, Any]] | None = None
        self._page = PAGE.read_bytes()
        self.headers = _headers(self._page)
        """Sent with every reply."""

    def answer(self, viewer: Connection, request: Request) -> Reply | None:
        """The reply; None for a stream, which has then ended. Raises Refused."""
        self._auth.check(request, viewer.local_address)
        if request.path in _ASKED:
            allowed: tuple[str, ...] = ("POST",)
        elif request.path in _READ:
            allowed = ("GET", "HEAD")
        else:
            return text(HTTPStatus.NOT_FOUND, f"here are {' '.join(_READ)}")
        if request.method not in allowed:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed[0]}", ("Allow", ", ".join(allowed)))
        known = self._auth.knows(request, viewer.address)
        if request.path == "/healthz":
            return self._healthz(details=known)
        if not known:
            return without_token()
        match request.path:
            case "/":
                if "token" in request.query:
                    return self._auth.enter(request)
                return Reply(HTTPStatus.OK, "text/html; charset=utf-8", self._page)
            case "/state":
                now = ("X-Now", f"{time.monotonic():.4f}")  # tells the page's clock from the frames' one
                return Reply(HTTPStatus.OK, "application/json", json.dumps(self.state()).encode(), (now,))
            case "/metrics":
                return Reply(HTTPStatus.OK, KIND, metrics(self.state()).encode())
            case "/snapshot":
                return self._snapshot(_view(request))
            case "/stream":
                return self._stream(viewer, request)
        return self._ask(request)

    def state(self) -> dict[str, Any]:
        """The loop's state with `viewers`, at most 0.2 s old."""
        with self._lock:
            now = time.monotonic()
            if self._state is None or now - self._state[0] > _STATE_S:
                self._state = (now, self._controls.state())
            return {**self._state[1], "viewers": {"now": self._viewers, "most": self._most}}

    def _healthz(self, *, details: bool) -> Reply:
        state = self.state()
        if state["healthy"]:
            return text(HTTPStatus.OK, "ok")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, state["health"] if details else "not healthy")

    def _snapshot(self, view: str) -> Reply:
        if self._latest.wait(0, _FIRST_FRAME_S):
            if view == BOTH:
                data = self._latest.beside(_SNAPSHOT_QUALITY)
            else:
                encoded = self._latest.encoded(view, _SNAPSHOT_QUALITY)
                data = encoded.files[0] if encoded else None
            if data is not None:
                return Reply(HTTPStatus.OK, "image/jpeg", data)
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "no frame yet", ("Retry-After", "2"))

    def _stream(self, viewer: Connection, request: Request) -> Reply | None:
        view = _view(request)
        if request.method == "HEAD":
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "/stream takes GET", ("Allow", "GET"))
        with self._lock:
            taken = self._viewers >= self._most
            self._viewers += not taken
        if taken:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"all {self._most} viewers' places are taken", ("Retry-After", "2"))
        try:
            stream(viewer, self._latest, view, self._telemetry, self.headers)
        finally:
            with self._lock:
                self._viewers -= 1
        return None

    def _ask(self, request: Request) -> Reply:
        """Do what a viewer asks; the state tells what came of it."""
        try:
            asked = json.loads(request.body or b"{}")
            if not isinstance(asked, dict):
                raise TypeError
            match request.path:
                case "/switch":
                    option = ModelOption(*(str(asked[name]) for name in ("bundle", "variant", "runtime")))
                    self._controls.switch(option)
                case "/reload":
                    self._controls.reload()
                case "/record":
                    if not isinstance(asked["on"], bool):
                        raise TypeError
                    self._controls.record(asked["on"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, DeblurkitError):
                return text(HTTPStatus.CONFLICT, str(error))
            return text(HTTPStatus.BAD_REQUEST, f"{request.path} takes a JSON object with {_ASKED[request.path]}")
        with self._lock:
            self._state = None
        return Reply(HTTPStatus.ACCEPTED, "application/json", b"{}")


def _view(request: Request) -> str:
    view = request.query.get("view", VIEWS[0])
    if view not in (*VIEWS, BOTH):
        raise Refused(HTTPStatus.BAD_REQUEST, "view is restored, blurred or both")
    return view


def _headers(page: bytes) -> tuple[tuple[str, str], ...]:
    """Of every reply. The page's own script and style are allowed by their hashes, and nothing else is."""

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
