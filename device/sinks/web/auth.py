"""Which requests are accepted: checks Host and Origin of every request, and the token of a page served to the network.

Any web page can make a browser on this machine send requests to the loopback interface (cross-site requests), also under that
page's own name (DNS rebinding). So names are checked there as well.
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
_MOST_GUESSES, _GUESSES_S = 10, 60.0  # after so many wrong tokens from one address none is checked until the minute is over
_MOST_GUESSERS = 256  # addresses to remember


class Auth:
    """Accepts or refuses requests. `token` is None if only this machine can connect."""

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
        """Raise Refused for a request under a name that is not the page's, or from another site's page."""
        host = request.headers.get("host", "")
        name = _name(host)
        if name not in self._names and not (self._token is not None and name == local_address):
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "the page does not answer to this host name; add it to `hosts` under [web] in the file of --config",
            )
        origin = request.headers.get("origin")
        if origin is not None:
            scheme, _, netloc = origin.partition("://")
            if scheme not in ("http", "https") or not (netloc == host or _name(netloc) in self._further):
                raise Refused(HTTPStatus.FORBIDDEN, "requests from another site's page are refused")
        site = request.headers.get("sec-fetch-site", "none")
        opens = (request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")) == ("navigate", "document")
        if site not in ("none", "same-origin") and not (opens and request.method == "GET" and request.path == "/"):
            raise Refused(HTTPStatus.FORBIDDEN, "requests from another site's page are refused")
        if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a POST needs Content-Type: application/json")

    def has_token(self, request: Request, address: str) -> bool:
        """Whether the request carries the token; True if none is needed. Raises Refused after too many wrong tokens."""
        if self._token is None:
            return True
        tokens = [
            value
            for value in (
                _bearer(request.headers.get("authorization", "")),
                _cookie(request.headers.get("cookie", "")),
                request.query.get("token", "") if request.path == "/" else "",
            )
            if value
        ]
        if not tokens:
            return False
        self._refuse_if_guessing(address)
        right = [hmac.compare_digest(value.encode(), self._token.encode()) for value in tokens]
        if not any(right):
            self._note_guess(address)
        return any(right)

    def enter(self, request: Request) -> Reply:
        """The reply to an address with the right token: sets a cookie and leads on to the page without the token.

        It is a document, not a redirect: a browser withholds a strict cookie from a redirect that began with another site's link.
        """
        page = "./?kiosk" if "kiosk" in request.query else "./"
        head = f'<meta http-equiv="refresh" content="0;url={page}"><link rel="icon" href="data:,"><title>deblurkit</title>'
        cookie = f"{COOKIE}={self._token}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Strict"
        return Reply(HTTPStatus.OK, "text/html; charset=utf-8", f"<!DOCTYPE html>{head}".encode(), (("Set-Cookie", cookie),))

    def _refuse_if_guessing(self, address: str) -> None:
        if address.startswith("127."):  # may be a reverse proxy: one guesser behind it would lock out everybody
            return
        with self._lock:
            times = self._guesses.get(address)
            now = time.monotonic()
            if times is not None and len(times) == _MOST_GUESSES and now - times[0] < _GUESSES_S:
                wait = str(max(1, round(_GUESSES_S - (now - times[0]))))
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, f"too many wrong tokens; try again in {wait} s")

    def _note_guess(self, address: str) -> None:
        with self._lock:
            times = self._guesses.pop(address, None) or deque(maxlen=_MOST_GUESSES)
            times.append(time.monotonic())
            self._guesses[address] = times  # at the end: the last one to be forgotten
            if len(self._guesses) > _MOST_GUESSERS:
                del self._guesses[next(iter(self._guesses))]


def without_token() -> Reply:
    """The reply to a request with no token or a wrong one. It deletes the cookie of an old token."""
    return text(
        HTTPStatus.UNAUTHORIZED,
        "no valid token; open the address with its token, as `deblurkit run --lan` prints it",
        ("WWW-Authenticate", 'Bearer realm="deblurkit"'),
        ("Set-Cookie", f"{COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"),
    )


def _name(netloc: str) -> str:
    """The host of HOST[:PORT], in lower case; empty if it is malformed."""
    try:
        at = urlsplit(f"//{netloc}")
        at.port  # noqa: B018  raises for an invalid port
    except ValueError:
        return ""
    plain = at.path == at.query == at.fragment == "" and "@" not in netloc
    return (at.hostname or "").rstrip(".") if plain else ""


def _bearer(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""  # a proxy's own Basic authentication is not a guess


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
