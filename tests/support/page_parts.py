"""The page in a real browser, for its tests: records what the page logs and requests."""

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from device.images.frame import Frame, Restored
from device.sinks.web import Web

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome is installed: apt install chromium"
    ),
]
QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
PATIENCE_MS = 30_000
# The grey of the canvas at (x, y), shares of its width and height.
GREY = """([x, y]) => {
    const canvas = document.getElementById("picture");
    window.probe ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    probe.drawImage(canvas, Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1, 0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data[0];
}"""
SHOWS = f"([x, y, grey]) => Math.abs(({GREY})([x, y]) - grey) <= 3"
# Mean difference between neighbouring pixels of one of the two pictures.
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


class Watched:
    """A page, with its console messages, errors and requests."""

    def __init__(self, context: Any, url: str) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def shows(self, grey: int, x: float = 0.75, y: float = 0.5) -> None:
        """Wait until the canvas shows this grey at (x, y), shares of its width and height."""
        self.page.wait_for_function(SHOWS, arg=[x, y, grey])

    def grey(self, x: float, y: float = 0.5) -> int:
        return int(self.page.evaluate(GREY, [x, y]))

    def says(self, name: str, text: str) -> None:
        """Wait until the element with this id contains the text."""
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


def radio(watched: Watched, name: str) -> Any:
    return watched.page.get_by_role("radio", name=name)


def by_hand(watched: Watched, loop: Any) -> None:
    radio(watched, "By hand").check(force=True)
    until(watched, lambda: loop.blur.mode == "hand")
    watched.says("blurFrom", "Set by hand.")


def on_picture(watched: Watched, x: float, y: float) -> tuple[float, float]:
    """Where a point of the picture, in its pixels, is in the window."""
    found = watched.page.evaluate(
        "([x, y]) => { const p = place(); return [p.box.left + p.left + x * p.scale, p.box.top + p.top + y * p.scale]; }", [x, y]
    )
    return found[0], found[1]


def shades(watched: Watched, x: float, y: float, reach: float) -> list[int]:
    """Every grey of the canvas within `reach` pixels of the picture around a point of it."""
    found: list[int] = watched.page.evaluate(
        """([x, y, reach]) => {
            const p = place(), sharp = devicePixelRatio;
            const sheet = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
            sheet.drawImage(canvas, 0, 0);
            const [left, top] = [p.left + (x - reach) * p.scale, p.top + (y - reach) * p.scale].map(v => Math.round(v * sharp));
            const side = Math.max(1, Math.round(2 * reach * p.scale * sharp));
            const { data } = sheet.getImageData(left, top, side, side);
            return [...new Set(data.filter((v, i) => i % 4 === 0))];
        }""",
        [x, y, reach],
    )
    return found


def until(watched: Watched, so: Callable[[], bool]) -> None:
    """Wait for an event while the browser runs."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not so() and time.monotonic() < end:
        watched.page.wait_for_timeout(20)
    assert so()


def viewers(web: Web) -> int:
    return web._server._answer.__self__._viewers  # type: ignore[attr-defined]


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
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
    """`show(blurred, restored, size_hw, mark)`: write a frame of two greys to the sink, as the loop does."""
    numbers = iter(range(10**9))

    def show(blurred: int, restored: int, size_hw: tuple[int, int] = (120, 160), mark: str = "") -> None:
        frame = Frame(next(numbers), time.monotonic() - 0.02, np.full((*size_hw, 3), blurred, np.uint8))
        web.write(Restored(frame, np.full((*size_hw, 3), restored, np.uint8), mark))
        loop.telemetry.shown(frame)

    return show
