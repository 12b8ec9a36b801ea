"""The web page's server, through real HTTP on the loopback interface."""

import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import cv2
import numpy as np
import pytest

from device.errors import RunError
from device.frame import Frame, Pixels, Restored
from device.sinks.web import _MOST_STREAMS, PAGE, Web
from device.telemetry import Telemetry

pytestmark = pytest.mark.timeout(60)


class Counting(Telemetry):
    """Telemetry that also counts the samples of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: Counter[str] = Counter()

    def add(self, name: str, seconds: float) -> None:
        self.samples[name] += 1
        super().add(name, seconds)


def frame(index: int, size_hw: tuple[int, int] = (48, 64)) -> Restored:
    """Blurred is grey `index`, restored is grey 255 - `index`."""
    shape = (*size_hw, 3)
    return Restored(Frame(index, time.monotonic(), np.full(shape, index, np.uint8)), np.full(shape, 255 - index, np.uint8))


@pytest.fixture
def web() -> Iterator[Web]:
    sink = Web(Counting(), "a test", 0)
    yield sink
    sink.close()


def get(web: Web, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def pixels_of(jpeg: bytes) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


class Viewer:
    """Reads a stream part by part, as a browser does."""

    def __init__(self, web: Web, view: str = "restored") -> None:
        self._connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=10)
        self._connection.request("GET", f"/stream?view={view}")
        self.response = self._connection.getresponse()
        self._boundary = b""
        if self.response.status == 200:
            kind = self.response.headers["Content-Type"]
            assert kind.startswith("multipart/x-mixed-replace; boundary=")
            self._boundary = b"--" + kind.split("boundary=")[1].encode()
        self._buffer = b""

    def jpeg(self) -> bytes | None:
        """The next part's body; None at the end of the stream."""
        while self._buffer.count(self._boundary) < 2:
            more = self.response.read1(65536)
            if not more:
                return None
            self._buffer += more
        before, part, rest = self._buffer.split(self._boundary, 2)
        assert before.strip() == b""
        self._buffer = self._boundary + rest
        head, body = part.split(b"\r\n\r\n", 1)
        assert head.strip() == b"Content-Type: image/jpeg"
        assert body.endswith(b"\r\n")
        return body[:-2]

    def grey(self) -> float | None:
        """Mean of the next picture."""
        data = self.jpeg()
        return None if data is None else float(pixels_of(data).mean())

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def until_streams_are(web: Web, taken: int) -> None:
    end = time.monotonic() + 10
    while web.streams._value != _MOST_STREAMS - taken and time.monotonic() < end:
        time.sleep(0.02)
    assert web.streams._value == _MOST_STREAMS - taken


# What is answered


def test_the_root_is_the_page_which_names_no_other_address(web: Web) -> None:
    response, body = get(web, "/")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert body == PAGE.read_bytes()
    assert not re.search(rb"https?://|src=\"//", body)
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"


def test_state_is_json_with_the_loops_figures_and_facts(web: Web) -> None:
    web.facts.update(bundle="small", artifact="int8.tflite", runtime="litert", threads=3)
    before = json.loads(get(web, "/state")[1])
    assert (before["size_wh"], before["newest_frame_s"], before["frames"]) == (None, None, 0)
    web.telemetry.add("infer", 0.01)
    web.telemetry.shown(time.monotonic() - 0.03)
    web.write(frame(1))
    response, body = get(web, "/state")
    state = json.loads(body)
    assert response.headers["Content-Type"] == "application/json"
    assert (state["frames"], state["dropped"], state["source"]) == (1, 0, "a test")
    assert (state["bundle"], state["artifact"], state["runtime"], state["threads"]) == ("small", "int8.tflite", "litert", 3)
    assert state["size_wh"] == [64, 48]
    assert state["newest_frame_s"] >= 0
    assert state["frame_age_ms"]["p50"] >= 30
    assert state["stages_ms"]["infer"]["p50"] == 10.0


def test_a_snapshot_is_the_newest_frame_of_either_view(web: Web) -> None:
    web.write(frame(10))
    web.write(frame(40))
    for path, grey in (("/snapshot", 215), ("/snapshot?view=restored", 215), ("/snapshot?view=blurred", 40)):
        response, body = get(web, path)
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
        picture = pixels_of(body)
        assert picture.shape == (48, 64, 3)
        assert picture.mean() == pytest.approx(grey, abs=1)


def test_a_picture_is_served_in_its_own_colours(web: Web) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 240
    web.write(Restored(Frame(0, 0.0, red), red))
    middle = pixels_of(get(web, "/snapshot")[1])[16, 16]
    assert middle[0] > 200
    assert middle[2] < 40


def test_a_snapshot_before_the_first_frame_waits_for_it_or_says_that_there_is_none(web: Web) -> None:
    timer = threading.Timer(0.3, web.write, [frame(7)])
    timer.start()
    assert get(web, "/snapshot")[0].status == 200
    timer.join()
    with_none = Web(Telemetry(), "none", 0)
    response, body = get(with_none, "/snapshot")
    with_none.close()
    assert (response.status, body) == (503, b"no frame yet\n")


@pytest.mark.parametrize("path", ["/nothing", "/../../etc/passwd", "/page.html", "/state/", "/%2e%2e/web.py"])
def test_what_is_not_there_is_404_and_says_what_is(web: Web, path: str) -> None:
    response, body = get(web, path)
    assert response.status == 404
    assert b"/stream /snapshot /state" in body


@pytest.mark.parametrize("path", ["/stream?view=sharp", "/snapshot?view=RESTORED", "/stream?view=../x"])
def test_an_unknown_view_is_400(web: Web, path: str) -> None:
    web.write(frame(0))
    response, body = get(web, path)
    assert (response.status, body) == (400, b"view is restored or blurred\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_is_answered(web: Web, method: str) -> None:
    assert get(web, "/state", method)[0].status == 501


def test_one_connection_serves_many_requests(web: Web) -> None:
    web.write(frame(3))
    connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=10)
    for path in ("/state", "/", "/snapshot", "/nothing", "/state"):
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()


def test_nonsense_on_the_socket_leaves_the_server_answering(web: Web) -> None:
    address = web.url.removeprefix("http://").split(":")
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET //[ HTTP/1.1\r\n\r\n", b"", b"A" * 70000):
        with socket.create_connection((address[0], int(address[1])), 10) as raw:
            raw.sendall(nonsense)
    assert get(web, "/state")[0].status == 200


def test_it_listens_on_the_loopback_interface_only(web: Web) -> None:
    assert web._server.server_address[0] == "127.0.0.1"


# Streams


@pytest.mark.parametrize("view", ["restored", "blurred"])
def test_a_stream_shows_frames_as_they_come_each_at_once(web: Web, view: str) -> None:
    web.write(frame(0))
    viewer = Viewer(web, view)
    for i in range(0, 100, 10):
        web.write(frame(i))
        # The next frame is written only after this one has been read whole: none may wait for its successor.
        assert viewer.grey() == pytest.approx(i if view == "blurred" else 255 - i, abs=1.5)
    viewer.close()


def test_a_stream_that_is_opened_before_the_first_frame_gets_it(web: Web) -> None:
    viewer = Viewer(web)
    time.sleep(0.2)
    web.write(frame(55))
    assert viewer.grey() == pytest.approx(200, abs=1.5)
    viewer.close()


def test_frames_may_change_their_size_within_a_stream(web: Web) -> None:
    viewer = Viewer(web)
    shapes = []
    for i, size in enumerate([(48, 64), (300, 20), (33, 77)]):
        web.write(frame(i, size))
        data = viewer.jpeg()
        assert data is not None
        shapes.append(pixels_of(data).shape[:2])
    assert shapes == [(48, 64), (300, 20), (33, 77)]
    viewer.close()


def test_nothing_is_encoded_while_nobody_watches(web: Web) -> None:
    for i in range(20):
        web.write(frame(i))
    get(web, "/")
    get(web, "/state")
    assert "encode" not in web.telemetry.snapshot()["stages_ms"]
    viewer = Viewer(web)
    assert viewer.grey() is not None
    assert "encode" in web.telemetry.snapshot()["stages_ms"]
    viewer.close()
    for i in range(20, 40):  # the server learns from a write that the viewer has gone
        web.write(frame(i))
        time.sleep(0.02)
    until_streams_are(web, 0)
    assert isinstance(web.telemetry, Counting)
    encoded = web.telemetry.samples["encode"]
    for i in range(40, 60):
        web.write(frame(i))
        time.sleep(0.005)
    assert web.telemetry.samples["encode"] == encoded


def test_many_viewers_share_one_encoding(web: Web) -> None:
    viewers = [Viewer(web) for _ in range(8)]
    for i in range(0, 100, 20):
        web.write(frame(i))
        for viewer in viewers:
            assert viewer.grey() == pytest.approx(255 - i, abs=1.5)
    assert isinstance(web.telemetry, Counting)
    assert web.telemetry.samples["encode"] == 5
    for viewer in viewers:
        viewer.close()


def test_no_frame_is_encoded_twice_however_the_viewers_hurry(web: Web) -> None:
    viewers = [Viewer(web) for _ in range(6)]
    seen: list[list[float]] = [[] for _ in viewers]

    def watch(viewer: Viewer, greys: list[float]) -> None:
        while (grey := viewer.grey()) is not None:
            greys.append(grey)

    threads = [threading.Thread(target=watch, args=pair, daemon=True) for pair in zip(viewers, seen, strict=True)]
    for thread in threads:
        thread.start()
    for i in range(100):
        web.write(frame(i, (240, 320)))
        time.sleep(0.003)
    time.sleep(0.3)
    web.close()
    for thread in threads:
        thread.join(10)
    assert isinstance(web.telemetry, Counting)
    assert web.telemetry.samples["encode"] <= 100
    for greys in seen:
        assert greys[-1] == pytest.approx(156, abs=1.5)  # the last frame
        assert all(later < earlier for earlier, later in zip(greys, greys[1:], strict=False))  # noqa: RUF007  newer each time


def test_a_viewer_that_never_reads_slows_neither_the_loop_nor_the_others(web: Web) -> None:
    host, port = web.url.removeprefix("http://").split(":")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect((host, int(port)))
    stuck.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    viewer = Viewer(web)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)  # some 400 kB of JPEG each
    until_streams_are(web, 2)
    for i in range(8):
        web.write(Restored(Frame(i, 0.0, noise), np.roll(noise, i, 0)))
        assert viewer.jpeg()
    web.write(frame(99))
    assert viewer.grey() == pytest.approx(156, abs=1.5)
    until_streams_are(web, 2)  # the stuck one is still there: so this was the case that it should be
    stuck.close()
    viewer.close()


def test_a_slow_viewer_is_shown_new_frames_not_a_queue_of_old_ones(web: Web) -> None:
    host, port = web.url.removeprefix("http://").split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.settimeout(10)
    slow.connect((host, int(port)))
    slow.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    until_streams_are(web, 1)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)  # some 100 kB of JPEG each
    for i in range(60):
        web.write(Restored(Frame(i, 0.0, noise), noise))
        time.sleep(0.005)
    web.write(frame(99))
    received = b""
    slow.settimeout(1)
    with suppress(TimeoutError):
        while more := slow.recv(1 << 20):
            received += more
    slow.close()
    assert 2 <= received.count(b"\xff\xd8\xff") <= 15  # of 61


def test_one_stream_more_than_the_most_gets_503_until_somebody_leaves(web: Web) -> None:
    web.write(frame(0))
    viewers = [Viewer(web) for _ in range(_MOST_STREAMS)]
    assert all(viewer.grey() is not None for viewer in viewers)
    refused = Viewer(web)
    assert refused.response.status == 503
    assert f"all {_MOST_STREAMS} streams are taken".encode() in refused.response.read()
    refused.close()
    assert get(web, "/state")[0].status == 200  # the figures are there for everybody
    assert get(web, "/snapshot")[0].status == 200
    viewers[0].close()
    for i in range(1, 20):
        web.write(frame(i))
        time.sleep(0.02)
    until_streams_are(web, _MOST_STREAMS - 1)
    viewers[0] = Viewer(web)
    assert viewers[0].response.status == 200
    for viewer in viewers:
        viewer.close()


# The end


def test_close_ends_open_streams_and_frees_the_port() -> None:
    web = Web(Telemetry(), "a test", 0)
    web.write(frame(0))
    watching, waiting = Viewer(web), Viewer(web, "blurred")
    assert watching.grey() is not None
    port = web._server.server_port
    web.close()
    web.close()
    for viewer in (watching, waiting):
        while viewer.jpeg() is not None:
            pass
        viewer.close()
    assert not [t for t in threading.enumerate() if t.name == "web"]
    again = Web(Telemetry(), "a test", port)
    assert get(again, "/state")[0].status == 200
    again.close()


def test_close_at_any_moment_while_frames_come_and_viewers_watch() -> None:
    for turn in range(10):
        web, over = Web(Telemetry(), "a test", 0), threading.Event()

        def feed(web: Web = web, over: threading.Event = over) -> None:
            i = 0
            while not over.is_set():
                web.write(frame(i % 200, (120, 160)))
                i += 1
                time.sleep(0.001)

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        viewers = [Viewer(web, view) for view in ("restored", "blurred", "restored")]
        time.sleep(turn * 0.004)
        web.close()
        for viewer in viewers:
            while viewer.jpeg() is not None:
                pass
            viewer.close()
        until_streams_are(web, 0)
        assert web.jpeg("restored", 85) is None  # nothing is encoded any more
        over.set()
        feeding.join(10)
        web.write(frame(0))  # late, and harmless


def test_a_port_in_use_is_an_error_that_names_it_and_the_flag(web: Web) -> None:
    port = web._server.server_port
    with pytest.raises(RunError, match=rf"127\.0\.0\.1:{port}.*--port"):
        Web(Telemetry(), "a test", port)
    assert get(web, "/state")[0].status == 200
