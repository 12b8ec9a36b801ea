"""Who may ask for what: the Host and Origin of every request, and the token of a page that the network sees.

A browser on this machine can be made to ask the loopback interface by any page it shows (cross-site requests), also under
that page's own name (DNS rebinding). So names are checked there as well.
"""

import hmac
import socket
import threading
import time
from collections import deque
from http import HTTPStatus
from urllib.parse import urlsplit

from device.sinks.web.request import Refused, Reply, Request, text

COOKIE = "deblurkit"
_YEAR_S = 365 * 86400
_MOST_GUESSES, _GUESSES_S = 10, 60.0  # wrong tokens from one address, then none is looked at until the minute is over
_MOST_GUESSERS = 256  # addresses that are remembered


class Auth:
    """Decides on requests. `token` is None where only this machine can connect."""

    def __init__(self, hosts: tuple[str, ...], token: str | None) -> None:
        self._token = token
        self._further = frozenset(name.lower().rstrip(".") for name in hosts)
        self._names = {"localhost", "127.0.0.1", "::1", *self._further}
        if token is not None:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name.partition('.')[0]}.local"}
        self._guesses: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, request: Request, local_address: str) -> None:
        """Raises Refused for a request under a foreign name, or one that another site's page makes."""
        host = request.headers.get("host", "")
        name = _name(host)
        if name not in self._names and not (self._token is not None and name == local_address):
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST, "this page is not known by that name; add it to hosts under [web] of --config"
            )
        origin = request.headers.get("origin")
        if origin is not None:
            scheme, _, netloc = origin.partition("://")
            if scheme not in ("http", "https") or not (netloc == host or _name(netloc) in self._further):
                raise Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask this one")
        site = request.headers.get("sec-fetch-site", "none")
        opens = (request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")) == ("navigate", "document")
        if site not in ("none", "same-origin") and not (opens and request.method == "GET" and request.path == "/"):
            raise Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask this one")
        if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a POST needs Content-Type: application/json")

    def knows(self, request: Request, address: str) -> bool:
        """Whether the request carries the token, where one is needed. Raises Refused after too many wrong ones."""
        if self._token is None:
            return True
        given = [
            value
            for value in (
                _bearer(request.headers.get("authorization", "")),
                _cookie(request.headers.get("cookie", "")),
                request.query.get("token", "") if request.path == "/" else "",
            )
            if value
        ]
        if not given:
            return False
        self._refuse_guessers(address)
        right = [hmac.compare_digest(value.encode(), self._token.encode()) for value in given]
        if not any(right):
            self._note_guess(address)
        return any(right)

    def enter(self, request: Request) -> Reply:
        """For an address with the right token: a cookie, and on to the page without the token.

        By the document and not by a redirect: a browser keeps a strict cookie back from a redirect that another site's
        link began.
        """
        page = "./?kiosk" if "kiosk" in request.query else "./"
        head = f'<meta http-equiv="refresh" content="0;url={page}"><link rel="icon" href="data:,"><title>deblurkit</title>'
        cookie = f"{COOKIE}={self._token}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Strict"
        return Reply(HTTPStatus.OK, "text/html; charset=utf-8", f"<!DOCTYPE html>{head}".encode(), (("Set-Cookie", cookie),))

    def _refuse_guessers(self, address: str) -> None:
        if address.startswith("127."):  # may be a reverse proxy: one guesser behind it would shut out everybody
            return
        with self._lock:
            times = self._guesses.get(address)
            now = time.monotonic()
            if times is not None and len(times) == _MOST_GUESSES and now - times[0] < _GUESSES_S:
                wait = str(max(1, round(_GUESSES_S - (now - times[0]))))
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong tokens; come again in {wait} s")

    def _note_guess(self, address: str) -> None:
        with self._lock:
            times = self._guesses.pop(address, None) or deque(maxlen=_MOST_GUESSES)
            times.append(time.monotonic())
            self._guesses[address] = times  # the last one to be forgotten
            if len(self._guesses) > _MOST_GUESSERS:
                del self._guesses[next(iter(self._guesses))]


def without_token() -> Reply:
    """For a request that needs the token and has none, or a wrong one: a cookie of an old token is taken away."""
    return text(
        HTTPStatus.UNAUTHORIZED,
        "open the address with its token, as `deblurkit run --lan` prints it",
        ("WWW-Authenticate", 'Bearer realm="deblurkit"'),
        ("Set-Cookie", f"{COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"),
    )


def _name(netloc: str) -> str:
    """The host of HOST[:PORT], in small letters; empty for what is none."""
    try:
        at = urlsplit(f"//{netloc}")
        at.port  # noqa: B018  raises for a port that is none
    except ValueError:
        return ""
    plain = at.path == at.query == at.fragment == "" and "@" not in netloc
    return (at.hostname or "").rstrip(".") if plain else ""


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""  # a proxy's own Basic is no guess


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
