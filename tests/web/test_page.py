"""The page in a real browser: Chromium without a window."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.card import no_video
from device.controls import Choice
from device.frame import NO_VIDEO, NOT_RESTORED, Frame, Restored
from device.sinks.web import Web

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here: apt install chromium"),
]
ROOT = Path(__file__).parent.parent.parent
QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
PATIENCE_MS = 30_000
# The grey of the page's canvas at a share of its width and height.
GREY = """([x, y]) => {
    const canvas = document.getElementById("picture");
    window.probe ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    probe.drawImage(canvas, Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1, 0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data[0];
}"""
SHOWS = f"([x, y, grey]) => Math.abs(({GREY})([x, y]) - grey) <= 3"
# Mean difference of neighbouring pixels of one of the two pictures.
SHARPNESS = """name => {
    const picture = name === "before" ? before : after, ink = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    ink.drawImage(picture, 0, 0);
    const { data } = ink.getImageData(0, 0, picture.width, picture.height);
    let sum = 0;
    for (let i = 4; i < data.length; i += 4) sum += Math.abs(data[i] - data[i - 4]);
    return sum / data.length;
}"""
LOOK = """hidden => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


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

    def shows(self, grey: int, x: float = 0.75, y: float = 0.5) -> None:
        """Wait until the canvas has this grey there."""
        self.page.wait_for_function(SHOWS, arg=[x, y, grey])

    def grey(self, x: float, y: float = 0.5) -> int:
        return int(self.page.evaluate(GREY, [x, y]))

    def says(self, name: str, text: str) -> None:
        """Wait until the element of that id has the text in it."""
        self.page.wait_for_function(
            "([id, text]) => !document.getElementById(id).hidden && document.getElementById(id).textContent.includes(text)",
            arg=[name, text],
        )

    def text(self, name: str) -> str:
        return str(self.page.locator(f"#{name}").text_content())

    def box(self, name: str) -> dict[str, float]:
        found: dict[str, float] = self.page.locator(f"#{name}").bounding_box()
        return found


Open = Callable[..., Watched]


def until(watched: Watched, so: Callable[[], bool]) -> None:
    """Wait while the browser goes on."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not so() and time.monotonic() < end:
        watched.page.wait_for_timeout(20)
    assert so()


def viewers(web: Web) -> int:
    return web._server._answer.__self__._viewers  # type: ignore[attr-defined]


@pytest.fixture
def visit(browser: "playwright.Browser") -> Iterator[Open]:
    contexts = []

    def visit(url: str, **options: object) -> Watched:
        contexts.append(browser.new_context(**options))
        return Watched(contexts[-1], url)

    yield visit
    for context in contexts:
        context.close()


Show = Callable[..., None]


@pytest.fixture
def show(web: Web, loop: Any) -> Show:
    """`show(blurred, restored, size_hw, mark)`: a frame of two greys goes through the sink, as from the loop."""
    numbers = iter(range(10**9))

    def show(blurred: int, restored: int, size_hw: tuple[int, int] = (120, 160), mark: str = "") -> None:
        frame = Frame(next(numbers), time.monotonic() - 0.02, np.full((*size_hw, 3), blurred, np.uint8))
        web.write(Restored(frame, np.full((*size_hw, 3), restored, np.uint8), mark))
        loop.telemetry.shown(frame)

    return show


def test_the_divider_parts_the_picture_as_it_comes_from_the_restored_one(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    view, slider = watched.box("view"), watched.box("slider")
    assert (watched.grey(0.4), watched.grey(0.6)) == (60, 200)
    middle = view["y"] + view["height"] / 2
    watched.page.mouse.move(slider["x"] + slider["width"] / 2, middle)
    watched.page.mouse.down()
    watched.page.mouse.move(view["x"] + 0.7 * view["width"], middle, steps=5)
    watched.page.mouse.up()
    assert (watched.grey(0.6), watched.grey(0.8)) == (60, 200)
    assert int(watched.page.get_attribute("#slider", "aria-valuenow")) > 55
    watched.page.mouse.click(view["x"] + 0.3 * view["width"], middle)  # anywhere on the picture
    assert (watched.grey(0.2), watched.grey(0.4)) == (60, 200)


def test_the_divider_is_a_slider_for_the_keyboard_and_for_screen_readers(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    slider = watched.page.get_by_role("slider")
    slider.focus()
    for key, expected in (
        ("ArrowRight", 51),
        ("Shift+ArrowRight", 61),
        ("PageUp", 71),
        ("ArrowLeft", 70),
        ("End", 100),
        ("Home", 0),
    ):
        slider.press(key)
        assert slider.get_attribute("aria-valuenow") == str(expected)
    assert slider.get_attribute("aria-valuetext") == "0 % as it comes, 100 % restored"
    watched.shows(200, 0.3)
    named = watched.page.locator("button, select, canvas, [role=slider]").evaluate_all(
        "all => all.map(e => e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent || '')"
    )
    assert all(named)


def test_the_divider_follows_a_finger_and_two_fingers_zoom(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    watched.shows(200)
    view = watched.box("view")
    middle = view["y"] + view["height"] / 2
    touch = watched.page.context.new_cdp_session(watched.page)

    def fingers(kind: str, *xs: float) -> None:
        points = [{"x": view["x"] + x * view["width"], "y": middle, "id": i} for i, x in enumerate(xs)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 0.5)
    for x in (0.45, 0.4, 0.35, 0.3, 0.25, 0.2):
        fingers("touchMove", x)
    fingers("touchEnd")
    watched.page.wait_for_function("() => Number(document.getElementById('slider').ariaValueNow) < 25")
    assert watched.grey(0.35) == 200
    fingers("touchStart", 0.45, 0.55)
    for spread in (0.1, 0.15, 0.2, 0.25):
        fingers("touchMove", 0.5 - spread, 0.5 + spread)
    fingers("touchEnd")
    watched.page.wait_for_function("() => document.getElementById('view').classList.contains('zoomed')")


def test_wheel_and_buttons_zoom_dragging_pans_and_the_middle_button_shows_all_again(web: Web, loop: Any, visit: Open) -> None:
    ramp = np.repeat(np.linspace(0, 250, 160).astype(np.uint8)[None, :, None], 120, 0).repeat(3, 2)
    web.write(Restored(Frame(0, time.monotonic(), ramp), ramp))
    watched = visit(web.url)
    watched.page.wait_for_function("() => document.getElementById('zoom').textContent !== '–'")
    watched.page.get_by_role("slider").press("Home")
    view = watched.box("view")
    centre = (view["x"] + view["width"] / 2, view["y"] + view["height"] / 2)
    before = watched.grey(0.5)
    watched.page.mouse.move(*centre)
    watched.page.mouse.wheel(0, -600)
    watched.page.wait_for_function("() => document.getElementById('view').classList.contains('zoomed')")
    assert abs(watched.grey(0.5) - before) < 6  # what is under the pointer stays there
    watched.page.mouse.down()
    watched.page.mouse.move(centre[0] + 100, centre[1], steps=4)
    watched.page.mouse.up()
    assert watched.grey(0.5) < before - 3
    watched.page.click("#zoom")
    assert abs(watched.grey(0.5) - before) < 3
    watched.page.click("#zoomIn")
    assert watched.page.locator("#view.zoomed").count() == 1
    assert watched.complaints == []


def test_a_frame_is_shown_when_it_comes_and_both_sides_are_of_the_same_one(web: Web, show: Show, visit: Open) -> None:
    show(50, 60)
    watched = visit(web.url)
    watched.shows(60)
    for grey in (90, 130, 170, 210):
        show(grey, grey + 10)
        watched.shows(grey + 10)
        assert watched.grey(0.25) == pytest.approx(grey, abs=3)


def test_the_figures_fill_in_and_nothing_is_asked_of_another_host(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.telemetry.add("infer", 0.0123)
    loop.telemetry.count("dropped")
    loop.says = {
        "temperature_c": 61.4,
        "deadline": {"fps": 30.0, "max_age_ms": 0.0, "every": 2, "bundle": "nano", "level": 3, "levels": 4, "changes": 3},
        "camera": {**loop.state()["camera"], "exposure_ms": 8.333, "gain": 2.0, "in_focus": True},
    }
    watched = visit(web.url)
    for i in range(30):
        show(i, 100 + i)
        watched.page.wait_for_timeout(60)
    watched.says("temperature", "61 °C")
    watched.says("deadline", "30 fps, every second frame, nano")
    watched.says("camera", "1/120 s, gain 2.0, in focus")
    watched.says("legend", "12")
    watched.says("dropped", "1")
    watched.page.wait_for_function("() => parseFloat(document.getElementById('fps').textContent) > 5")
    watched.page.wait_for_function("() => parseFloat(document.getElementById('shown').textContent) > 2")
    watched.page.wait_for_function("() => parseFloat(document.getElementById('age').textContent) >= 20")
    watched.page.wait_for_function("() => parseFloat(document.getElementById('here').textContent) >= 20")
    assert watched.text("live") == "live"
    assert watched.complaints == []
    assert all(url.startswith((web.url, "data:")) for url in watched.asked)


def test_pausing_keeps_the_picture_and_closes_the_stream(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    watched.page.click("#pause")
    assert watched.text("live") == "paused"
    for i in range(10):
        show(100, 110 + i)
        watched.page.wait_for_timeout(50)
    assert (watched.grey(0.25), watched.grey(0.75)) == (60, 200)
    until(watched, lambda: viewers(web) == 0)
    watched.page.click("#pause")
    show(90, 180)
    watched.shows(180)


@pytest.mark.parametrize(("button", "greys"), [("#snap", (200, 200)), ("#snapBoth", (60, 200))])
@pytest.mark.parametrize("paused", [False, True])
def test_a_snapshot_is_saved_as_a_file_of_what_is_seen(
    web: Web, show: Show, visit: Open, button: str, greys: tuple[int, int], paused: bool
) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    if paused:
        watched.page.click("#pause")
        show(10, 20)
    with watched.page.expect_download() as caught:
        watched.page.click(button)
    assert caught.value.suggested_filename.startswith("deblurkit-")
    picture = cv2.imread(str(caught.value.path()), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (120, 320 if button == "#snapBoth" else 160)
    assert (picture[60, 20], picture[60, -20]) == (pytest.approx(greys[0], abs=3), pytest.approx(greys[1], abs=3))
    assert watched.complaints == []


def test_another_model_is_chosen_and_bundles_are_opened_again(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.says("model", "nano · int8 · litert")
    watched.page.select_option("#model", label="nano · int8 · litert")
    until(watched, lambda: loop.asked == [Choice("nano", "int8", "litert")])
    watched.page.click("#reload")
    loop.says = {"message": "opened again: small, nano"}
    watched.says("message", "opened again: small, nano")
    assert "reload" in loop.asked
    loop.choices = ()
    watched.page.select_option("#model", label="small · int8 · litert")  # gone meanwhile
    watched.says("message", "not among the choices")


def test_the_recorder_is_switched_where_there_is_one(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    assert not watched.page.is_visible("#record")
    loop.recording = {"on": False, "files": 0, "bytes": 0, "error": ""}
    watched.page.wait_for_selector("#record", state="visible")
    watched.page.click("#record")
    watched.page.wait_for_selector("#record[aria-pressed=true]")
    watched.page.click("#record")
    watched.page.wait_for_selector("#record[aria-pressed=false]")
    assert loop.asked == [True, False]


def test_warnings_say_what_mends_them_and_go_when_it_is_mended(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.says = {"warnings": [{"text": "<b>Exposure</b> 1/15 s: motion blur", "mend": "More light."}]}
    loop.says["sinks"] = [{"description": "record:/media", "frames": 1, "dropped": 0, "failures": 2, "error": "disk full"}]
    show(60, 200)
    watched = visit(web.url)
    watched.says("warnings", "<b>Exposure</b> 1/15 s: motion blurMore light.")
    watched.says("warnings", "record:/media fails: disk full")
    loop.says = {}
    watched.page.wait_for_function("() => !document.getElementById('warnings').children.length")
    assert watched.page.is_visible("#well")
    assert watched.complaints == []


def test_a_picture_that_is_none_and_one_that_is_not_restored_are_called_so(web: Web, loop: Any, show: Show, visit: Open) -> None:
    card = no_video((160, 120), "no camera")
    web.write(Restored(Frame(0, time.monotonic(), card, mark=NO_VIDEO), card, NO_VIDEO))
    watched = visit(web.url)
    watched.says("live", "no video")
    assert not watched.page.is_visible("#slider")
    show(60, 61, mark=NOT_RESTORED)
    watched.says("mark", "NOT RESTORED")
    assert not watched.page.is_visible("#after")
    show(60, 200)
    watched.says("live", "live")
    assert watched.page.is_visible("#slider")
    assert not watched.page.is_visible("#mark")


def test_the_page_says_when_there_is_no_frame_yet_and_when_none_comes_any_more(
    web: Web, loop: Any, show: Show, visit: Open
) -> None:
    watched = visit(web.url)
    watched.says("notice", "Waiting for the first picture")
    show(60, 100)
    watched.page.wait_for_selector("#notice", state="hidden")
    loop.says = {"healthy": False, "health": "no new frame for 7 s"}
    watched.says("notice", "no new frame for 7 s")
    loop.says = {}
    watched.page.wait_for_selector("#notice", state="hidden")


def test_one_viewer_too_many_is_told_so_and_comes_in_when_there_is_room(
    serve: Callable[..., Web], loop: Any, frame: Callable, visit: Open
) -> None:
    web = serve(viewers=1)
    web.write(frame(0, (120, 160)))
    first, second = visit(web.url), visit(web.url)
    for watched, other in ((first, second), (second, first)):
        if "places are taken" in watched.text("notice") or "Waiting" in watched.text("notice"):
            watched.says("notice", "all 1 viewers' places are taken")
            other.page.close()
            watched.page.wait_for_selector("#notice", state="hidden")
            watched.shows(255)
            return
    pytest.fail("both were let in")


def test_a_page_that_is_not_looked_at_asks_for_no_stream(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    watched.page.evaluate(LOOK, True)
    until(watched, lambda: viewers(web) == 0)
    encoded = loop.telemetry.samples["encode"]
    for i in range(10):
        show(i, i)
    watched.page.wait_for_timeout(300)
    assert loop.telemetry.samples["encode"] == encoded
    watched.page.evaluate(LOOK, False)
    show(90, 180)
    watched.shows(180)


def test_a_divider_at_the_left_end_asks_for_the_restored_picture_alone(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(f"{web.url}/?kiosk")
    watched.shows(200, 0.3)
    assert [url for url in watched.asked if "stream" in url] == [f"{web.url}/stream?view=restored"]
    watched.page.keyboard.press("Tab")
    watched.page.get_by_role("slider").press("End")
    watched.shows(60, 0.7)
    assert watched.asked[-1].endswith("view=both") or f"{web.url}/stream?view=both" in watched.asked


def test_a_kiosk_shows_the_picture_and_nothing_else(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(f"{web.url}/?kiosk", viewport={"width": 1280, "height": 720})
    watched.shows(200, 0.5)
    for name in ("tools", "fps", "model", "source"):
        assert not watched.page.is_visible(f"#{name}")
    assert watched.box("view") == {"x": 0, "y": 0, "width": 1280, "height": 720}
    watched.page.wait_for_selector(".idle")
    assert watched.complaints == []


@pytest.mark.parametrize("viewport", [(1360, 820), (390, 844), (320, 568), (844, 390)])
def test_no_picture_is_distorted_and_nothing_scrolls_sideways_whatever_the_sizes(
    web: Web, show: Show, visit: Open, viewport: tuple[int, int]
) -> None:
    watched = visit(web.url, viewport={"width": viewport[0], "height": viewport[1]})
    for i, (height, width) in enumerate([(480, 640), (640, 480), (200, 1600), (1500, 100), (90, 120)]):
        show(60, 100 + 20 * i, (height, width))
        watched.shows(100 + 20 * i, 0.5 + 0.02 * min(1, width / height))
        seen = watched.page.evaluate("() => { const p = place(); return [p.width * p.scale, p.height * p.scale]; }")
        assert seen[0] / seen[1] == pytest.approx(width / height, rel=0.01)
        assert watched.box("view")["height"] <= viewport[1]
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= viewport[0]
    assert watched.complaints == []


def test_on_a_phone_the_picture_fills_the_width_and_every_button_is_large_enough_for_a_finger(
    web: Web, show: Show, visit: Open
) -> None:
    show(60, 200, (480, 640))
    watched = visit(web.url, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, device_scale_factor=3)
    watched.shows(200)
    assert watched.box("view")["width"] == 390
    assert watched.page.evaluate("() => canvas.width") == 3 * 390
    sizes = watched.page.locator("button:visible, select:visible").evaluate_all(
        "all => all.map(e => [e.getBoundingClientRect().width, e.getBoundingClientRect().height])"
    )
    assert min(min(size) for size in sizes) >= 43.5


def test_light_and_dark_follow_the_system_and_both_are_readable(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    contrast = """() => {
        const rgb = colour => colour.match(/[0-9.]+/g).map(Number);
        const light = colour => rgb(colour).slice(0, 3).map(c => c / 255)
            .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
        const ground = e => { while (e && /, 0\\)|transparent/.test(getComputedStyle(e).backgroundColor)) e = e.parentElement;
            return getComputedStyle(e ?? document.body).backgroundColor; };
        return [...document.querySelectorAll("h1, h2, dt, dd, small, select, .choose button, #legend span, #well, #live")]
            .filter(e => e.offsetParent && e.textContent.trim()).map(e => {
                const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
                return [(a + .05) / (b + .05), e.id || e.tagName + e.textContent];
            });
    }"""
    grounds = []
    for scheme in ("light", "dark"):
        watched = visit(web.url, color_scheme=scheme)
        watched.shows(200)
        watched.says("source", "a test")
        grounds.append(watched.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for ratio, name in watched.page.evaluate(contrast):
            assert ratio >= 4.5, (scheme, name)  # WCAG 2 AA
    assert grounds[0] != grounds[1]


def test_nothing_jumps_when_the_first_figures_and_pictures_come(web: Web, loop: Any, show: Show, visit: Open) -> None:
    for viewport in ({"width": 1360, "height": 820}, {"width": 390, "height": 844}):
        watched = visit("about:blank", viewport=viewport)
        watched.page.add_init_script(
            "window.moved = []; new PerformanceObserver(list => window.moved.push(...list.getEntries().map(e => e.value)))"
            ".observe({ type: 'layout-shift', buffered: true });"
        )
        watched.page.goto(web.url)
        watched.page.wait_for_timeout(300)
        for i in range(10):
            show(60, 190 + i, (480, 640))
            watched.page.wait_for_timeout(200)
        watched.shows(199)
        assert sum(watched.page.evaluate("window.moved")) < 0.02


def test_still_pages_are_kept_still_where_that_is_asked_for(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.recording = {"on": True, "files": 1, "bytes": 1, "error": ""}
    show(60, 200)
    watched = visit(web.url, reduced_motion="reduce")
    watched.page.wait_for_selector("#record[aria-pressed=true]")
    assert watched.page.evaluate("getComputedStyle(document.querySelector('#record circle')).animationName") == "none"


def test_in_the_network_the_address_with_the_token_opens_the_page_and_is_gone_from_the_address_bar(
    serve: Callable[..., Web], frame: Callable, visit: Open
) -> None:
    web = serve(lan=True)
    web.write(frame(55, (120, 160)))
    own = f"http://127.0.0.1:{web.url.rpartition(':')[2]}/"
    watched = visit(own + web.invitation.splitlines()[0].partition("/?")[2].join(("?", "")))
    watched.shows(200)
    assert watched.page.url == own
    assert "token" not in watched.page.evaluate("document.cookie")
    assert watched.complaints == []
    outside = visit("data:text/html," + f"<a href='{web.invitation.splitlines()[0].replace(web.url + '/', own)}'>open</a>")
    outside.page.click("a")  # from another site: a strict cookie must hold there too
    outside.shows(200)


def test_without_the_token_the_page_says_how_to_get_in(serve: Callable[..., Web], visit: Open) -> None:
    web = serve(lan=True)
    watched = visit(f"http://127.0.0.1:{web.url.rpartition(':')[2]}/")
    assert "deblurkit run --lan" in watched.page.inner_text("body")


class Command:
    """`deblurkit run --source demo --sink web` as a process of its own, at one port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
        line = [
            sys.executable,
            "-m",
            "deblurkit",
            "run",
            "--source",
            "demo",
            "--sink",
            "web",
            "--port",
            str(self.port),
            "--quiet",
        ]
        self._process = subprocess.Popen([*line, "--quiet"], cwd=ROOT, env=environment)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}snapshot", timeout=10).close()
                return
            time.sleep(0.1)
        raise AssertionError("the server did not start within a minute")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def command_line() -> Iterator[Command]:
    command = Command()
    command.start()
    yield command
    command.kill()


def test_the_commands_own_page_moves_and_recovers_by_itself_when_the_process_is_killed_and_comes_back(
    command_line: Command, visit: Open
) -> None:
    watched = visit(command_line.url)

    def moves() -> None:
        watched.page.wait_for_function("() => drawnAt.length > 0")
        seen = watched.page.evaluate("() => shown.captured")
        watched.page.wait_for_function("seen => shown.captured !== seen", arg=seen)

    moves()
    blurred, restored = (watched.page.evaluate(SHARPNESS, name) for name in ("before", "after"))
    assert restored > 1.1 * blurred  # it is the restored one that is on the right
    watched.page.wait_for_function("() => parseFloat(document.getElementById('fps').textContent) > 0")
    assert watched.complaints == []
    command_line.kill()
    watched.says("live", "connection lost")
    watched.says("notice", "Connection lost")
    assert watched.page.locator("#stage.stale").count() == 1
    command_line.start()
    watched.says("live", "live")
    moves()
    assert watched.page.locator("#stage.stale").count() == 0
    assert all(url.startswith((command_line.url, "data:")) for url in watched.asked)
