"""Publishing to a real RTSP server on the loopback interface, and reading from it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_fixtures import Server

from device.errors import RunError
from device.images.frame import Frame, Pixels, Restored
from device.images.scenes import dead_leaves
from device.images.yuv import from_rgb
from device.sinks.publish import Publisher

pytest.importorskip("av", reason="publishing needs PyAV: pip install 'deblurkit[live]'")
FPS = 30
SCENE = dead_leaves(240, 320, 3)
PICTURE = from_rgb(SCENE)


@pytest.fixture
def server(rtsp_record: Server) -> Server:
    """`server.start()`: a server that accepts publishers."""
    return rtsp_record


@pytest.fixture
def publisher() -> Iterator[Callable[[str], Publisher]]:
    opened: list[Publisher] = []

    def make(url: str) -> Publisher:
        opened.append(Publisher(url, FPS, 2.0))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def restored(rgb: Pixels | None = None) -> Restored:
    image = PICTURE if rgb is None else from_rgb(rgb)
    return Restored(Frame(0, time.monotonic(), image), image)


def publish(sink: Publisher, seconds: float, rgb: Pixels | None = None) -> None:
    """Write frames at 30 fps for `seconds`."""
    for _ in range(round(seconds * FPS)):
        sink.write(restored(rgb))
        time.sleep(1 / FPS)


def refusal(sink: Publisher, seconds: float = 30.0, rgb: Pixels | None = None) -> tuple[str, float]:
    """Write frames until one is refused: (reason, seconds)."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            sink.write(restored(rgb))
        except RunError as error:
            return str(error), time.monotonic() - began
        time.sleep(1 / FPS)
    raise AssertionError(f"every frame was taken for {seconds} s")


class Meanwhile:
    """Publishes in a thread while the test does something else."""

    def __init__(self, sink: Publisher, rgb: Pixels | None = None) -> None:
        self._stop = threading.Event()
        self._sink, self._rgb = sink, rgb
        self.error: RunError | None = None
        self._thread = threading.Thread(target=self._go)

    def _go(self) -> None:
        while not self._stop.wait(1 / FPS):
            try:
                self._sink.write(restored(self._rgb))
            except RunError as error:
                self.error = error
                return

    def __enter__(self) -> "Meanwhile":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)


def seen(url: str, size_wh: tuple[int, int] = (320, 240)) -> Pixels:
    """A picture as a viewer receives it, once the stream exists."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        capture = cv2.VideoCapture(
            url, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 3000]
        )
        for _ in range(10):
            got, bgr = capture.read()
        capture.release()
        if got and (bgr.shape[1], bgr.shape[0]) == size_wh:
            return bgr[..., ::-1]
        time.sleep(0.2)
    raise AssertionError(f"{url}: no picture")


@pytest.fixture(autouse=True)
def over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")


def test_a_reader_of_the_server_sees_the_published_picture(server: Server, publisher: Callable[[str], Publisher]) -> None:
    server.start()
    with Meanwhile(publisher(f"rtsp://127.0.0.1:{server.port}/live")) as publishing:
        got = seen(f"rtsp://127.0.0.1:{server.port}/view")
    assert publishing.error is None
    assert np.abs(got.astype(int) - PICTURE.rgb()).mean() < 8


def test_a_change_of_size_starts_a_new_stream(server: Server, publisher: Callable[[str], Publisher]) -> None:
    server.start()
    sink = publisher(f"rtsp://127.0.0.1:{server.port}/live")
    publish(sink, 1)
    with Meanwhile(sink, np.ascontiguousarray(SCENE[:97, :131])) as publishing:
        got = seen(f"rtsp://127.0.0.1:{server.port}/view", (132, 98))
    assert publishing.error is None
    assert got.std() > 20


def test_a_killed_server_is_noticed_within_five_seconds_and_reopening_works(
    server: Server, publisher: Callable[[str], Publisher]
) -> None:
    server.start()
    url = f"rtsp://127.0.0.1:{server.port}/live"
    sink = publisher(url)
    publish(sink, 2)
    server.kill()
    _, after_s = refusal(sink)
    assert after_s < 5
    sink.close()
    reason, after_s = refusal(publisher(url))
    assert "Connection refused" in reason
    assert f"published to {url}" in reason
    assert after_s < 10
    server.start()
    with Meanwhile(publisher(url)) as publishing:
        seen(f"rtsp://127.0.0.1:{server.port}/view")
    assert publishing.error is None


def test_a_frozen_server_is_abandoned(server: Server, publisher: Callable[[str], Publisher]) -> None:
    server.start()
    sink = publisher(f"rtsp://127.0.0.1:{server.port}/live")
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)  # fills the network buffers quickly
    publish(sink, 1, noise)
    server.freeze()
    reason, _ = refusal(sink, 60, noise)
    assert "is the server running" in reason
    server.thaw()


def test_a_server_that_accepts_but_never_answers_does_not_block_the_loop(publisher: Callable[[str], Publisher]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = publisher(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
        pauses, over = [0.0], threading.Event()

        def tick() -> None:  # another thread of the loop
            last = time.monotonic()
            while not over.wait(0.01):
                pauses.append(time.monotonic() - last)
                last = time.monotonic()

        ticking = threading.Thread(target=tick)
        ticking.start()
        _, after_s = refusal(sink)
        over.set()
        ticking.join()
    assert after_s < 12
    assert max(pauses) < 2.5  # a client in this process would stop it for its timeout of three seconds


def test_closing_does_not_wait_for_a_server_that_never_answers(publisher: Callable[[str], Publisher]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = publisher(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
        silent.settimeout(30)
        with Meanwhile(sink):
            connection, _ = silent.accept()  # now the process waits for an answer
            process = sink._process._process  # type: ignore[union-attr]
            sink.close()
            connection.close()
        assert process.returncode == -signal.SIGKILL  # instead of its own exit after three seconds without an answer


@pytest.mark.parametrize(("password", "answer"), [("s3cret-word", ""), ("wr0ng-word", "401")])
def test_a_password_works_and_is_not_shown_anywhere(
    server: Server, publisher: Callable[[str], Publisher], caplog: pytest.LogCaptureFixture, password: str, answer: str
) -> None:
    server.start("eye:s3cret-word")
    sink = publisher(f"rtsp://eye:{password}@127.0.0.1:{server.port}/live")
    shown = [sink.description]
    if answer:
        shown.append(refusal(sink)[0])
        assert answer in shown[-1]
    else:
        publish(sink, 2)
        shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in children()]
        assert len(shown) > 1
    shown.append(caplog.text)
    assert f"rtsp://127.0.0.1:{server.port}/live" in sink.description
    assert not [text for text in shown if password in text]


def children() -> list[int]:
    """Publishing child processes of this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"device.sinks.publisher" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_no_process_is_left_after_closing_or_a_failure(server: Server, publisher: Callable[[str], Publisher]) -> None:
    server.start()
    sink = publisher(f"rtsp://127.0.0.1:{server.port}/live")
    publish(sink, 1)
    assert len(children()) == 1
    os.kill(children()[0], signal.SIGKILL)  # as the kernel does when memory runs out
    refusal(sink)
    assert children() == []
    publish(sink, 1)
    assert len(children()) == 1
    sink.close()
    assert children() == []
    with pytest.raises(RunError, match="already closed"):
        sink.write(restored())


def test_the_process_ends_with_a_killed_loop(server: Server) -> None:
    server.start()
    script = (
        "import sys, time; import numpy as np\n"
        "from device.images.frame import Frame, Restored; from device.sinks.publish import Publisher\n"
        "sink = Publisher(sys.argv[1], 30, 1.0)\n"
        "for i in range(1000):\n"
        "    image = np.zeros((48, 64, 3), np.uint8); sink.write(Restored(Frame(i, time.monotonic(), image), image))\n"
        "    print(sink._process._process.pid, flush=True); time.sleep(0.03)\n"
    )
    line = [sys.executable, "-c", script, f"rtsp://127.0.0.1:{server.port}/live"]
    loop = subprocess.Popen(line, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert loop.stdout is not None
    child = int([loop.stdout.readline() for _ in range(30)][-1])
    loop.kill()
    loop.wait()
    loop.stdout.close()
    until = time.monotonic() + 15
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        if "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():  # nobody reaps it here
            break
        time.sleep(0.05)
    assert time.monotonic() < until
