"""The web page in a real browser: Chromium without a window, and the real command behind it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from device.frame import Frame, Restored
from device.sinks.web import Web
from device.telemetry import Telemetry

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here: apt install chromium"),
]

ROOT = Path(__file__).parent.parent
QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
PATIENCE_MS = 30_000
# The pixels of a picture as the browser shows it now, 40 by 30 of them; null while there is none.
PIXELS = """id => {
    const picture = document.getElementById(id), canvas = document.createElement("canvas");
    if (!picture.naturalWidth) return null;
    canvas.width = 40; canvas.height = 30;
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, 40, 30);
    return Array.from(context.getImageData(0, 0, 40, 30).data);
}"""
# Whether it shows a picture of this one grey.
GREY = f"([id, grey]) => {{ const seen = ({PIXELS})(id); return seen && Math.abs(seen[0] - grey) <= 3; }}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """`deblurkit run --source demo --sink web` as a process of its own, at one port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it shows frames; at once when it does so already."""
        if self._process is not None:
            return
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
        command = [sys.executable, "-m", "deblurkit", "run", "--source", "demo", "--sink", "web", "--port", str(self.port)]
        self._process = subprocess.Popen([*command, "--quiet"], cwd=ROOT, env=environment)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None
            try:
                urllib.request.urlopen(f"{self.url}snapshot", timeout=10).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start within a minute")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    server = Served()
    yield server
    server.kill()


@pytest.fixture
def served(server: Served) -> Served:
    """One server for all tests, started again where a test has killed it."""
    server.start()
    return server


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


class Watched:
    """A page, with everything that it complained of and asked for."""

    def __init__(self, context: "playwright.BrowserContext", url: str) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def until_it_moves(self, view: str) -> None:
        self.page.wait_for_function(f"id => ({PIXELS})(id) !== null", arg=view)
        before = np.array(self.page.evaluate(PIXELS, view))
        moved = "now && now.some((v, i) => Math.abs(v - before[i]) > 20)"
        differs = f"([id, before]) => {{ const now = ({PIXELS})(id); return {moved}; }}"
        self.page.wait_for_function(differs, arg=[view, before.tolist()])

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def box(self, name: str) -> dict[str, float]:
        return self.page.locator(f"#{name}").bounding_box()


Open = Callable[..., Watched]


@pytest.fixture
def visit(browser: "playwright.Browser") -> Iterator[Open]:
    contexts = []

    def visit(url: str, **options: object) -> Watched:
        contexts.append(browser.new_context(**options))
        return Watched(contexts[-1], url)

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def web() -> Iterator[Web]:
    """The page's server in this process, for frames that a test chooses."""
    sink = Web(Telemetry(), "a test", 0)
    sink.facts.update(bundle="small", artifact="int8.tflite", runtime="litert", threads=1)
    yield sink
    sink.close()


def show(web: Web, index: int, grey: int, size_hw: tuple[int, int] = (120, 160)) -> None:
    pixels = np.full((*size_hw, 3), grey, np.uint8)
    web.write(Restored(Frame(index, time.monotonic(), pixels), pixels))
    web.telemetry.shown(time.monotonic())


def test_both_pictures_move_and_the_figures_fill_in(served: Served, visit: Open) -> None:
    watched = visit(served.url)
    for view in ("blurred", "restored"):
        watched.until_it_moves(view)
    watched.page.wait_for_function("() => parseFloat(document.getElementById('fps').textContent) > 0")
    assert float(watched.text("fps")) > 0
    for figure in ("age", "infer"):
        p50, p95 = (float(part) for part in watched.text(figure).split(" / "))
        assert 0 < p50 <= p95
    assert int(watched.text("dropped")) >= 0
    assert float(watched.text("memory")) > 20
    assert watched.text("model").startswith("small · ")
    assert watched.text("source").startswith("demo")
    assert watched.text("notice") == ""
    assert watched.complaints == []
    assert watched.asked
    assert all(url.startswith(served.url) for url in watched.asked)


def test_on_a_wide_screen_the_pictures_stand_side_by_side(served: Served, visit: Open) -> None:
    watched = visit(served.url, viewport={"width": 1280, "height": 800})
    blurred, restored = watched.box("blurred"), watched.box("restored")
    assert blurred["y"] == restored["y"]
    assert blurred["x"] + blurred["width"] <= restored["x"]
    assert restored["x"] + restored["width"] <= 1280


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_the_pictures_are_stacked_and_nothing_scrolls_sideways(served: Served, visit: Open, width: int) -> None:
    watched = visit(served.url, viewport={"width": width, "height": 844}, is_mobile=True, device_scale_factor=2)
    watched.page.wait_for_function("() => document.getElementById('infer').textContent.includes('/')")
    blurred, restored = watched.box("blurred"), watched.box("restored")
    assert blurred["y"] + blurred["height"] <= restored["y"]
    assert blurred["x"] == restored["x"]
    assert blurred["width"] >= 0.9 * width
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_recovers_by_itself_when_the_server_is_killed_and_comes_back(served: Served, visit: Open) -> None:
    watched = visit(served.url)
    watched.until_it_moves("restored")
    served.kill()
    watched.page.wait_for_function("() => document.getElementById('notice').textContent.startsWith('connection lost')")
    served.start()
    for view in ("blurred", "restored"):
        watched.until_it_moves(view)
    watched.page.wait_for_function("() => document.getElementById('notice').textContent === ''")
    assert all(url.startswith(served.url) for url in watched.asked)
    served.kill()  # it need not compute beside the tests that follow


@pytest.mark.parametrize("viewport", [(1280, 800), (390, 844)])
def test_no_picture_is_distorted_or_larger_than_the_screen_whatever_its_size(
    web: Web, visit: Open, viewport: tuple[int, int]
) -> None:
    watched = visit(web.url, viewport={"width": viewport[0], "height": viewport[1]})
    for i, (height, width) in enumerate([(480, 640), (640, 480), (200, 1600), (1500, 100), (90, 120)]):
        show(web, i, 90, (height, width))
        for view in ("blurred", "restored"):
            watched.page.wait_for_function(
                "([id, width]) => document.getElementById(id).naturalWidth === width", arg=[view, width]
            )
            box = watched.box(view)
            if box["height"] < 0.79 * viewport[1]:  # else there are bars beside it
                assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
            assert box["height"] <= viewport[1]
            fit = watched.page.evaluate("id => getComputedStyle(document.getElementById(id)).objectFit", view)
            assert fit == "contain"
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= viewport[0]


def test_a_frame_is_shown_when_it_comes_and_not_when_the_next_one_does(web: Web, visit: Open) -> None:
    show(web, 0, 50)
    watched = visit(web.url)
    for view in ("blurred", "restored"):
        watched.page.wait_for_function(GREY, arg=[view, 50])
    show(web, 1, 200)
    for view in ("blurred", "restored"):
        watched.page.wait_for_function(GREY, arg=[view, 200])


def test_the_page_says_when_there_is_no_frame_yet_and_when_none_comes_any_more(web: Web, visit: Open) -> None:
    watched = visit(web.url)
    expect = "wanted => document.getElementById('notice').textContent.startsWith(wanted)"
    watched.page.wait_for_function(expect, arg="waiting for the first frame")
    show(web, 0, 100)
    watched.page.wait_for_function("() => document.getElementById('notice').textContent === ''")
    watched.page.wait_for_function(expect, arg="no new frame for")
    show(web, 1, 101)
    watched.page.wait_for_function("() => document.getElementById('notice').textContent === ''")
    assert watched.complaints == []


def test_the_page_recovers_when_its_streams_end_and_the_figures_never_fail(web: Web, visit: Open) -> None:
    show(web, 0, 30)
    watched = visit(web.url)
    watched.page.wait_for_function(GREY, arg=["restored", 30])
    again = None
    try:
        port = web._server.server_port
        web.close()
        again = Web(web.telemetry, "a test", port)  # at once: the page's next look at the figures succeeds
        again.facts.update(web.facts)
        for i in range(1, 80):
            grey = 60 + 2 * i
            show(again, i, grey)
            watched.page.wait_for_timeout(250)
            if watched.page.evaluate(GREY, ["restored", grey]) and watched.page.evaluate(GREY, ["blurred", grey]):
                break
        else:
            pytest.fail("the pictures stand still")
    finally:
        if again is not None:
            again.close()


def test_a_page_that_is_not_looked_at_asks_for_no_stream(web: Web, visit: Open) -> None:
    show(web, 0, 30)
    watched = visit(web.url)
    watched.page.wait_for_function(GREY, arg=["restored", 30])
    assert web.streams._value == 14
    look = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); " + (
        "document.dispatchEvent(new Event('visibilitychange')); }"
    )
    watched.page.evaluate(look, True)
    for i in range(1, 40):
        show(web, i, 30 + i)
        watched.page.wait_for_timeout(50)
    assert web.streams._value == 16
    watched.page.evaluate(look, False)
    show(web, 90, 180)
    for view in ("blurred", "restored"):
        watched.page.wait_for_function(GREY, arg=[view, 180])


def test_more_viewers_than_streams_are_told_so(web: Web, visit: Open) -> None:
    show(web, 0, 30)
    for _ in range(16):
        web.streams.acquire()
    watched = visit(web.url)
    for i in range(1, 30):  # frames come
        show(web, i, 30)
        watched.page.wait_for_timeout(200)
        if watched.text("notice").startswith("no picture: too many viewers"):
            break
    else:
        pytest.fail("the page does not say why it shows nothing")
    for _ in range(16):
        web.streams.release()
    for i in range(30, 120):
        show(web, i, 100)
        watched.page.wait_for_timeout(100)
        if watched.page.evaluate(GREY, ["restored", 100]) and watched.page.evaluate(GREY, ["blurred", 100]):
            break
    else:
        pytest.fail("the page does not try again")
