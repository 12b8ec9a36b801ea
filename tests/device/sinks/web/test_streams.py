"""Live streams: what a viewer sees, and that viewers do not disturb each other."""

import http.client
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest

from device.images.frame import NO_VIDEO, Frame, Restored
from device.sinks.web import Web
from device.sinks.web.latest_frame import LatestFrame

pytestmark = pytest.mark.timeout(60)


def port_of(web: Web) -> int:
    return int(web.url.rpartition(":")[2])


def grey_of(jpeg: bytes) -> float:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return float(decoded.mean())


class Viewer:
    """Reads a stream part by part, by the lengths that the parts state."""

    def __init__(self, web: Web, view: str = "restored") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port_of(web), timeout=10)
        self._connection.request("GET", f"/stream?view={view}")
        self.response = self._connection.getresponse()
        if self.response.status == 200:
            kind = self.response.headers["Content-Type"]
            assert kind.startswith("multipart/mixed" if view == "both" else "multipart/x-mixed-replace")
            self._boundary = b"--" + kind.split("boundary=")[1].encode()

    def part(self) -> tuple[dict[str, str], list[bytes]] | None:
        """The next part's head and its files; None at the end of the stream."""
        try:
            line = self.response.readline().strip() or self.response.readline().strip()
            if line != self._boundary:
                return None
            head = {}
            while line := self.response.readline().strip():
                name, _, value = line.decode().partition(":")
                head[name] = value.strip()
            if not head:
                return None
            files = [self.response.read(int(length)) for length in head["X-Files"].split(",")]
        except (OSError, http.client.IncompleteRead):
            return None
        assert sum(map(len, files)) == int(head["Content-Length"])
        return head, files

    def grey(self) -> float | None:
        """Mean of the next picture."""
        part = self.part()
        return None if part is None else grey_of(part[1][0])

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not so() and time.monotonic() < end:
        time.sleep(0.02)
    assert so()


def until_viewers_are(web: Web, number: int) -> None:
    wait_until(lambda: viewers(web) == number)


def viewers(web: Web) -> int:
    return web._server._answer.__self__._viewers  # type: ignore[attr-defined]


def noise(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size_hw, 3), dtype=np.uint8)


@pytest.mark.parametrize("view", ["restored", "blurred"])
def test_a_stream_shows_each_frame_at_once(web: Web, frame: Callable, view: str) -> None:
    web.write(frame(0))
    viewer = Viewer(web, view)
    assert viewer.grey() is not None
    for i in range(10, 100, 10):
        web.write(frame(i))
        # The next frame is written only after this one was read: no frame may wait for the next.
        assert viewer.grey() == pytest.approx(i if view == "blurred" else 255 - i, abs=1.5)
    viewer.close()


def test_both_pictures_of_a_part_are_of_the_same_frame_and_its_head_says_which(web: Web, frame: Callable) -> None:
    viewer = Viewer(web, "both")
    for i in range(0, 100, 10):
        web.write(frame(i))
        part = viewer.part()
        assert part is not None
        head, (restored, blurred) = part
        assert (grey_of(restored), grey_of(blurred)) == (pytest.approx(255 - i, abs=1.5), pytest.approx(i, abs=1.5))
        assert (int(head["X-Index"]), head["X-Mark"]) == (i, "")
        assert 0 <= float(head["X-Age"]) < 10
        assert 0 <= time.monotonic() - float(head["X-Captured"]) < 10
    viewer.close()


def test_a_placeholder_frame_is_sent_once_for_both_views_with_its_mark(web: Web, frame: Callable) -> None:
    web.write(frame(3, mark=NO_VIDEO))
    viewer = Viewer(web, "both")
    part = viewer.part()
    assert part is not None
    assert part[0]["X-Mark"] == "NO VIDEO"
    assert len(part[1]) == 1
    viewer.close()


def test_a_frame_that_is_repeated_is_not_sent_again(web: Web, frame: Callable) -> None:
    viewer = Viewer(web)
    first, second = frame(10), frame(20)
    for _ in range(5):
        web.write(first)
        time.sleep(0.02)
    web.write(second)
    assert [viewer.grey(), viewer.grey()] == [pytest.approx(245, abs=1.5), pytest.approx(235, abs=1.5)]
    viewer.close()


def test_a_source_that_restarts_its_index_is_shown(web: Web, frame: Callable) -> None:
    viewer = Viewer(web)
    for _ in range(3):
        web.write(frame(7))  # another frame of the same index
        assert viewer.grey() == pytest.approx(248, abs=1.5)
    viewer.close()


def test_a_stream_that_is_opened_before_the_first_frame_gets_it(web: Web, frame: Callable) -> None:
    viewer = Viewer(web)
    time.sleep(0.2)
    web.write(frame(55))
    assert viewer.grey() == pytest.approx(200, abs=1.5)
    viewer.close()


def test_frames_may_change_their_size_within_a_stream(web: Web, frame: Callable) -> None:
    viewer = Viewer(web, "both")
    shapes = []
    for i, size in enumerate([(48, 64), (300, 20), (33, 77), (1, 1)]):
        web.write(frame(i, size))
        part = viewer.part()
        assert part is not None
        shapes += [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR).shape[:2] for file in part[1]]
    assert shapes == [(48, 64)] * 2 + [(300, 20)] * 2 + [(33, 77)] * 2 + [(1, 1)] * 2
    viewer.close()


def test_nothing_is_encoded_while_nobody_watches(web: Web, loop: Any, get: Callable, frame: Callable) -> None:
    for i in range(20):
        web.write(frame(i))
    for path in ("/", "/state", "/metrics", "/healthz"):
        get(web, path)
    assert loop.telemetry.samples["encode"] == 0
    viewer = Viewer(web)
    assert viewer.grey() is not None
    assert loop.telemetry.samples["encode"] == 1
    viewer.close()
    until_viewers_are(web, 0)  # without any frame being written
    for i in range(40, 60):
        web.write(frame(i))
    assert (loop.telemetry.samples["encode"], loop.telemetry.samples["sent"]) == (1, 1)


def test_many_viewers_share_one_encoding_of_each_picture(web: Web, loop: Any, frame: Callable) -> None:
    watching = [Viewer(web, view) for view in ("restored", "both", "blurred", "both", "restored", "both")]
    for i in range(0, 100, 20):
        web.write(frame(i))
        for viewer in watching:
            assert viewer.part() is not None
    assert loop.telemetry.samples["encode"] == 10
    wait_until(lambda: loop.telemetry.samples["sent"] == 30)
    for viewer in watching:
        viewer.close()


def test_no_frame_is_encoded_twice_for_viewers_in_parallel(web: Web, loop: Any, frame: Callable) -> None:
    watching = [Viewer(web) for _ in range(6)]
    seen: list[list[float]] = [[] for _ in watching]

    def watch(viewer: Viewer, greys: list[float]) -> None:
        while (grey := viewer.grey()) is not None:
            greys.append(grey)

    threads = [threading.Thread(target=watch, args=pair, daemon=True) for pair in zip(watching, seen, strict=True)]
    for thread in threads:
        thread.start()
    for i in range(100):
        web.write(frame(i, (240, 320)))
        time.sleep(0.003)
    time.sleep(0.3)
    web.close()
    for thread in threads:
        thread.join(10)
    assert loop.telemetry.samples["encode"] <= 100
    for greys in seen:
        assert greys[-1] == pytest.approx(156, abs=1.5)  # the last frame
        assert all(later < earlier for earlier, later in zip(greys, greys[1:], strict=False))  # noqa: RUF007  newer each time


def test_a_viewer_that_never_reads_slows_neither_the_loop_nor_the_others(web: Web, frame: Callable) -> None:
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", port_of(web)))
    stuck.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    viewer = Viewer(web)
    blurred = noise((480, 640))  # some 400 kB of JPEG each
    until_viewers_are(web, 2)
    for i in range(8):
        web.write(Restored(Frame(i, 0.0, blurred), np.roll(blurred, i, 0)))
        assert viewer.part()
    web.write(frame(99))
    assert viewer.grey() == pytest.approx(156, abs=1.5)
    until_viewers_are(web, 2)  # the stuck viewer is still connected, as this test requires
    stuck.close()
    viewer.close()


def test_a_viewer_that_never_reads_is_disconnected(web: Web, frame: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.sinks.web.stream.SEND_S", 1.0)
    monkeypatch.setattr("device.sinks.web.server.SEND_S", 1.0)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", port_of(web)))
    stuck.sendall(b"GET /stream?view=both HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until_viewers_are(web, 1)
    for i in range(8):
        web.write(Restored(Frame(i, 0.0, noise((480, 640), i)), noise((480, 640), i + 50)))
        time.sleep(0.05)
    until_viewers_are(web, 0)
    stuck.close()


def test_a_slow_viewer_is_shown_new_frames_not_a_queue_of_old_ones(web: Web, frame: Callable) -> None:
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.settimeout(10)
    slow.connect(("127.0.0.1", port_of(web)))
    slow.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until_viewers_are(web, 1)
    picture = noise((240, 320))  # some 100 kB of JPEG each
    for i in range(60):
        web.write(Restored(Frame(i, 0.0, picture), picture.copy()))
        time.sleep(0.005)
    web.write(frame(99))
    received = b""
    slow.settimeout(1)
    with suppress(TimeoutError):
        while more := slow.recv(1 << 20):
            received += more
    slow.close()
    assert 2 <= received.count(b"\xff\xd8\xff") <= 15  # of 61
    assert received.count(b"X-Index: 99") == 1  # and the last one is there


def test_a_slow_network_gets_smaller_pictures_while_a_fast_one_gets_the_best(web: Web) -> None:
    slow, quick = Viewer(web, "both"), Viewer(web, "both")
    slow.response.fp.raw._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)  # type: ignore[attr-defined]
    over = threading.Event()
    qualities: dict[str, list[int]] = {"slow": [], "quick": []}

    def watch(name: str, viewer: Viewer, pause_s: float) -> None:
        while not over.is_set() and (part := viewer.part()) is not None:
            qualities[name].append(int(part[0]["X-Quality"]))
            time.sleep(pause_s)

    threads = [
        threading.Thread(target=watch, args=("slow", slow, 0.4), daemon=True),
        threading.Thread(target=watch, args=("quick", quick, 0.0), daemon=True),
    ]
    for thread in threads:
        thread.start()
    picture, end, i = noise((480, 640)), time.monotonic() + 15, 0
    while time.monotonic() < end and 40 not in qualities["slow"]:
        web.write(Restored(Frame(i, time.monotonic(), picture), picture.copy()))
        i += 1
        time.sleep(0.05)
    over.set()
    assert 40 in qualities["slow"]
    assert min(qualities["quick"]) == 85
    web.close()
    for thread in threads:
        thread.join(5)


def test_one_viewer_too_many_gets_503_until_another_leaves(serve: Callable, get: Callable, frame: Callable) -> None:
    web = serve(viewers=3)
    web.write(frame(0))
    watching = [Viewer(web) for _ in range(3)]
    assert all(viewer.grey() is not None for viewer in watching)
    refused = Viewer(web)
    assert refused.response.status == 503
    assert int(refused.response.headers["Retry-After"]) > 0
    assert b"all 3 places for viewers are taken" in refused.response.read()
    refused.close()
    assert get(web, "/state")[0].status == 200  # the state is available to everybody
    assert get(web, "/snapshot")[0].status == 200
    watching[0].close()
    until_viewers_are(web, 2)
    watching[0] = Viewer(web)
    assert watching[0].response.status == 200
    for viewer in watching:
        viewer.close()


def test_closing_ends_open_streams(serve: Callable, frame: Callable) -> None:
    web = serve()
    web.write(frame(0))
    watching, waiting = Viewer(web), Viewer(web, "both")
    assert watching.grey() is not None
    web.close()
    for viewer in (watching, waiting):
        while viewer.part() is not None:
            pass
        viewer.close()
    wait_until(lambda: not [t for t in threading.enumerate() if t.name in ("web", "viewer")])


def test_close_at_any_moment_while_frames_arrive_and_viewers_watch(serve: Callable, frame: Callable) -> None:
    for turn in range(10):
        web, over = serve(), threading.Event()

        def feed(web: Web = web, over: threading.Event = over) -> None:
            i = 0
            while not over.is_set():
                web.write(frame(i % 200, (120, 160)))
                i += 1
                time.sleep(0.001)

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        watching = [Viewer(web, view) for view in ("restored", "both", "blurred")]
        time.sleep(turn * 0.004)
        web.close()
        for viewer in watching:
            while viewer.part() is not None:
                pass
            viewer.close()
        until_viewers_are(web, 0)
        latest: LatestFrame = web._latest
        assert latest.encoded("restored", 85) is None  # nothing is encoded any more
        assert latest.side_by_side(95) is None
        over.set()
        feeding.join(10)
