"""Viewers of the page of the real command that are too many, slow, dead or hostile. The loop must go on undisturbed."""

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from free_port import free_port

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parent.parent.parent
VIEWERS = 8  # the default of [web] viewers


class Served:
    """`deblurkit run --source demo --sink web --lan` in a process of its own; its state folder belongs to the test."""

    def __init__(self, state: Path) -> None:
        self.port = free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
        environment["STATE_DIRECTORY"] = str(state)
        self.log = state.parent / "log"
        command = [sys.executable, "-m", "deblurkit", "run", "--source", "demo", "--sink", "web", "--lan"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port)], cwd=ROOT, env=environment, stderr=log)
        self.wait_until(lambda: (state / "token").exists() and self.answers(), 60)
        self.token = (state / "token").read_text().strip()
        self.wait_until(lambda: self.figure("frames_total") > 10, 60)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError, http.client.HTTPException):
            return self.get("/healthz")[0] in (200, 503)
        return False

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with suppress(AttributeError):
            headers.setdefault("Authorization", f"Bearer {self.token}")
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, data

    def figure(self, name: str) -> float:
        status, body = self.get("/metrics")
        assert status == 200
        found = re.search(rf"^deblurkit_{name} ([0-9.e+]+)$", body.decode(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    def connect(self, request: str = "", **headers: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        if request:
            named = {"Host": "localhost", "Authorization": f"Bearer {self.token}", **headers}
            lines = [f"GET {request} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection

    def wait_until(self, so: Callable[[], bool], patience_s: float = 30) -> None:
        end = time.monotonic() + patience_s
        while not so():
            assert time.monotonic() < end
            time.sleep(0.1)

    def goes_on(self) -> None:
        """Check that frames are still restored."""
        before = self.figure("frames_total")
        self.wait_until(lambda: self.figure("frames_total") > before + 20)
        assert self.get("/healthz")[0] == 200

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("run") / "state")
    try:
        yield served
        served.stop()
        log = served.log.read_text()
        assert "Traceback" not in log
        assert served.token not in log
    finally:
        served.process.kill()
        served.process.wait()


@pytest.fixture(autouse=True)
def nothing_grows(served: Served) -> Iterator[None]:
    """After each test the process has the threads and descriptors that it had before."""
    served.wait_until(lambda: served.figure("viewers") == 0)
    before = {name: served.figure(name) for name in ("threads", "open_descriptors")}
    yield
    for name, value in before.items():
        served.wait_until(lambda name=name, value=value: served.figure(name) <= value)


def test_of_200_viewers_at_once_as_many_as_allowed_see_the_picture_and_the_others_are_refused(served: Served) -> None:
    with ExitStack() as opened:
        crowd = [opened.enter_context(served.connect()) for _ in range(200)]
        request = f"GET /stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n\r\n".encode()
        statuses = []
        for viewer in crowd:
            with suppress(OSError):
                viewer.sendall(request)
        for viewer in crowd:
            with suppress(OSError):
                statuses.append(viewer.recv(12)[9:12])
        assert statuses.count(b"200") == VIEWERS
        assert set(statuses) <= {b"200", b"503", b""}
        assert served.get("/healthz")[0] == 200
        served.goes_on()
    served.wait_until(lambda: served.figure("viewers") == 0)


def test_viewers_that_never_read_cost_nobody_a_frame_and_are_disconnected(served: Served) -> None:
    with ExitStack() as opened:
        for _ in range(VIEWERS):
            dead = opened.enter_context(socket.socket())
            dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            dead.connect(("127.0.0.1", served.port))
            line = f"GET /stream?view=both HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n\r\n"
            dead.sendall(line.encode())
        served.wait_until(lambda: served.figure("viewers") == VIEWERS)
        served.goes_on()
        served.wait_until(lambda: served.figure("viewers") == 0)  # even though their connections are still open


def test_viewers_that_come_and_go_200_times_leave_nothing_behind(served: Served) -> None:
    for turn in range(200):
        if turn == 50:
            early = served.figure("rss_bytes")
        with served.connect(f"/stream?view={('restored', 'blurred', 'both')[turn % 3]}") as viewer:
            assert viewer.recv(12)[9:12] in (b"200", b"503")
    served.wait_until(lambda: served.figure("viewers") == 0)
    assert served.figure("rss_bytes") - early < 8 * 2**20


def test_a_slowloris_attack_occupies_connections_for_seconds_only(served: Served) -> None:
    with ExitStack() as opened:
        lorises = [opened.enter_context(served.connect()) for _ in range(50)]
        closed = 0
        end = time.monotonic() + 30
        while closed < len(lorises) and time.monotonic() < end:
            closed = 0
            for loris in lorises:
                loris.settimeout(0.001)
                try:
                    loris.sendall(b"X")
                    closed += loris.recv(4096)[9:12] == b"408" or loris.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    closed += 1
            assert served.get("/healthz")[0] == 200
            time.sleep(0.2)
        assert closed == len(lorises)


def test_oversized_heads_are_refused(served: Served) -> None:
    with served.connect("/state", **{"X-Large": "a" * 20_000}) as viewer:
        assert viewer.recv(12)[9:12] == b"431"
    with served.connect("/state", **{f"X-{i}": "a" for i in range(100)}) as viewer:
        assert viewer.recv(12)[9:12] == b"431"


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/stream/../../token", "/%00", "//etc/passwd", "/token", "/page.html", "/.."],
)
def test_no_path_reaches_the_file_system(served: Served, path: str) -> None:
    status, body = served.get(path)
    assert status == 404
    assert b"root:" not in body
    assert served.token.encode() not in body


def test_a_foreign_host_name_another_site_and_a_wrong_token_are_refused(served: Served) -> None:
    for path in ("/", "/state", "/snapshot", "/metrics", "/stream"):
        assert served.get(path, Host="evil.example")[0] == 421
        assert served.get(path, Origin="http://evil.example")[0] == 403
        assert served.get(path, Authorization="")[0] == 401
        assert served.get(path, Authorization="Bearer wrong")[0] == 401


@pytest.mark.parametrize("path", ["/", "/stream", "/snapshot", "/state", "/metrics", "/healthz", "/switch", "/reload", "/record"])
def test_random_bytes_at_every_address_do_no_harm(served: Served, path: str) -> None:
    draw = random.Random(path)
    for _ in range(60):
        head = f"{draw.choice(['GET', 'POST'])} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n"
        kind = "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n"
        whole = bytearray(head.encode() + kind.encode() + draw.randbytes(20))
        for _ in range(draw.randrange(8)):
            whole[draw.randrange(len(whole))] = draw.randrange(256)
        with served.connect() as raw, suppress(OSError):
            raw.settimeout(0.2)
            raw.sendall(whole[: draw.randrange(len(whole) + 1)] if draw.random() < 0.3 else whole)
            raw.shutdown(socket.SHUT_WR)
            data = raw.recv(65536)
            assert b"Traceback" not in data
            assert data[9:12] != b"500"
    served.goes_on()
