"""The limits on requests and connections; and no bytes bring the server down."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from device.sinks.web import Web, request, server
from device.sinks.web.request import MOST_BODY, MOST_HEAD, MOST_HEADERS

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def connect(web: Web) -> Iterator[Callable[..., socket.socket]]:
    """A raw connection to the page."""
    opened: list[socket.socket] = []

    def connect(data: bytes = b"") -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])), 10))
        opened[-1].sendall(data)
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def answer(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


def status(connection: socket.socket) -> int:
    return int(answer(connection).split(b" ", 2)[1])


HEAD = b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (HEAD + b"\r\n", 200),
        (HEAD + b"X: " + b"a" * (MOST_HEAD - len(HEAD) - 10) + b"\r\n\r\n", 200),
        (HEAD + b"X: " + b"a" * MOST_HEAD + b"\r\n\r\n", 431),
        (b"GET /state HTTP/1.1\r\nX: " + b"a" * 3 * MOST_HEAD, 431),
        (HEAD + b"X: y\r\n" * (MOST_HEADERS - 2) + b"\r\n", 200),
        (HEAD + b"X: y\r\n" * (MOST_HEADERS + 1) + b"\r\n", 431),
        (b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /state\r\n\r\n", 400),
        (b"GET /state HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/state HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"get /state HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /state HTTP/1.1\nHost: localhost\n\r\n\r\n", 400),
        (HEAD + b"Host: localhost\r\n\r\n", 400),
        (HEAD + b"No header\r\n\r\n", 400),
        (HEAD + b" folded: yes\r\n\r\n", 400),
        (HEAD + b"Space : yes\r\n\r\n", 400),
        (HEAD + b"Null: \0\r\n\r\n", 400),
        (b"GET /state?" + b"&".join(b"a%d=1" % i for i in range(40)) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n", 411),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1), 413),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_a_request_is_answered_within_the_limits_and_refused_beyond_them(
    connect: Callable[..., socket.socket], data: bytes, expected: int
) -> None:
    assert status(connect(data)) == expected


def test_two_requests_that_arrive_at_once_are_both_answered(connect: Callable[..., socket.socket]) -> None:
    first = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    data = answer(connect(first + HEAD + b"\r\n"))
    assert data.count(b"HTTP/1.1 202") == 1
    assert data.count(b"HTTP/1.1 200") == 1


def test_the_server_waits_for_a_body_and_answers_curls_expect_before_it(connect: Callable[..., socket.socket]) -> None:
    asking = connect(
        b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    assert asking.recv(1000).startswith(b"HTTP/1.1 100")
    asking.sendall(b"{")
    time.sleep(0.05)
    asking.sendall(b"}")
    assert b" 202 " in answer(asking)


def test_one_connection_serves_many_requests_until_it_is_idle(
    connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.3)
    viewer = connect()
    for _ in range(5):
        viewer.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 404 " in viewer.recv(4096)
    assert answer(viewer) == b""  # the server closed the connection


def test_the_time_limit_of_a_head_or_body_holds_even_if_its_bytes_trickle_in(
    connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "REQUEST_S", 0.5)
    body = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
    for beginning in (b"GET /state HTTP/1.1\r\nX: ", body):
        slow = connect(beginning)
        began = time.monotonic()
        slow.settimeout(0.1)
        data = b""
        while time.monotonic() - began < 10:  # a byte every tenth of a second: the connection is never idle
            try:
                slow.sendall(b"a")
                if not (more := slow.recv(4096)):
                    break
                data += more
            except TimeoutError:
                continue
            except OSError:
                break
        assert b" 408 " in data


def test_connections_beyond_the_limit_are_refused_until_others_end(
    web: Web, get: Callable, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = [connect() for _ in range(server.MOST_CONNECTIONS)]
    wait_until(lambda: len(web._server._open) == server.MOST_CONNECTIONS)
    refused = answer(connect())
    assert b" 503 " in refused
    assert b"Retry-After" in refused
    idle[0].close()
    wait_until(lambda: len(web._server._open) < server.MOST_CONNECTIONS)
    assert get(web, "/healthz")[0].status == 200


def test_connections_are_reserved_for_this_machine_and_limited_per_address(web: Web) -> None:
    listening = web._server
    for i in range(server.MOST_PER_ADDRESS):
        listening._open[socket.socket()] = "10.0.0.1"
        assert bool(listening._too_many("10.0.0.1")) == (i == server.MOST_PER_ADDRESS - 1)
    assert not listening._too_many("10.0.0.2")
    for i in range(server.MOST_FROM_OTHERS - server.MOST_PER_ADDRESS):
        listening._open[socket.socket()] = f"10.0.1.{i}"
    assert listening._too_many("10.0.0.2")
    assert not listening._too_many("127.0.0.1")
    for connection in list(listening._open):
        connection.close()
    listening._open.clear()


def test_with_many_connections_none_is_kept_alive(web: Web, connect: Callable[..., socket.socket]) -> None:
    crowd = [connect() for _ in range(server.MOST_CONNECTIONS * 3 // 4)]
    wait_until(lambda: len(web._server._open) == len(crowd))
    assert b"Connection: close" in answer(connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"))


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_and_damaged_requests_are_answered_or_dropped_and_the_server_goes_on(
    web: Web, get: Callable, frame: Callable, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    web.write(frame(0))
    draw = random.Random(seed)
    paths = [b"/", b"/stream", b"/snapshot", b"/state", b"/metrics", b"/healthz", b"/switch", b"/reload", b"/record"]
    paths += [b"/focus", b"/blur", b"/region"]
    queries = [b"", b"?view=both", b"?token=x", b"?x=nan&y=1e9"]
    head = (
        b"\r\nHost: localhost\r\nContent-Type: application/json\r\nCookie: deblurkit=x\r\n"
        b"Content-Length: 14\r\nConnection: close\r\n\r\n"
    )
    threads_before = threading.active_count()
    for _ in range(120):
        line = b" ".join((draw.choice([b"GET", b"POST", b"HEAD"]), draw.choice(paths) + draw.choice(queries), b"HTTP/1.1"))
        whole = bytearray(
            line + head + draw.choice([b'{"on": true}  ', b'{"bundle":"x"}', b'{"blur":"off"}', draw.randbytes(14)])
        )
        match draw.randrange(4):
            case 0:
                whole = bytearray(draw.randbytes(draw.randrange(3000)))
            case 1:
                for _ in range(draw.randrange(1, 6)):
                    whole[draw.randrange(len(whole))] = draw.randrange(256)
            case 2:
                del whole[draw.randrange(len(whole)) :]
        with socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])), 10) as raw:
            raw.settimeout(0.3)
            try:
                raw.sendall(whole)
                raw.shutdown(socket.SHUT_WR)
                data = raw.recv(65536)
            except OSError:
                data = b""
            assert b"Traceback" not in data
            assert b" 500 " not in data[:20]
    assert get(web, "/state")[0].status == 200
    assert "Traceback" not in caplog.text
    wait_until(lambda: threading.active_count() <= threads_before)


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not so() and time.monotonic() < end:
        time.sleep(0.02)
    assert so()
