"""The layout of the page: kiosk, phone, light and dark, sizes, and that nothing jumps."""

from dataclasses import replace
from typing import Any

import pytest
from page_parts import BROWSER, Open, Show, by_hand
from state_parts import ESTIMATED

from device.sinks.web import Web
from device.state import RecordingState, Verdict

pytestmark = BROWSER


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
def test_no_picture_is_distorted_and_nothing_scrolls_sideways_at_any_size(
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
        const all = "h1, h2, dt, dd, small, select, button, #legend span, #well, #live, aside p, aside b, .segments span";
        return [...document.querySelectorAll(all)]
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


def test_nothing_jumps_when_the_first_figures_and_pictures_arrive(web: Web, loop: Any, show: Show, visit: Open) -> None:
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


def test_reduced_motion_stops_all_animation(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.recording = RecordingState(on=True, files=1, bytes=1, error="")
    show(60, 200)
    watched = visit(web.url, reduced_motion="reduce")
    watched.page.wait_for_selector("#record[aria-pressed=true]")
    assert watched.page.evaluate("getComputedStyle(document.querySelector('#record circle')).animationName") == "none"


@pytest.mark.parametrize("viewport", [(360, 640), (1360, 820)])
def test_nothing_scrolls_sideways_with_everything_open_and_fingers_find_every_control(
    web: Web, loop: Any, show: Show, visit: Open, viewport: tuple[int, int]
) -> None:
    loop.blur = replace(ESTIMATED, roi_xywh=(100, 100, 200, 200), error="not estimated: " + "A" * 80)
    loop.overrides = {"verdict": Verdict("exposure", "Expose for less time first. Movement of about 17 pixels (a guess).")}
    show(60, 200, (480, 640))
    phone = viewport[0] < 500
    watched = visit(web.url, viewport={"width": viewport[0], "height": viewport[1]}, is_mobile=phone, has_touch=phone)
    watched.shows(200)
    watched.page.click("#focusHelp")
    watched.page.click("#chooseSpot")
    by_hand(watched, loop)
    watched.page.locator("#angle").scroll_into_view_if_needed()
    watched.page.wait_for_timeout(300)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= viewport[0]
    aside = watched.page.locator("aside")
    assert aside.evaluate("e => e.scrollWidth <= e.clientWidth")
    wide = aside.evaluate("e => [...e.querySelectorAll('*')].filter(c => c.scrollWidth > e.clientWidth + 1).map(c => c.id)")
    assert wide == []
    if phone:
        sizes = watched.page.locator("aside button:visible, aside .segments label:visible, aside .knob:visible").evaluate_all(
            "all => all.map(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height))"
        )
        assert min(sizes) >= 43.5
        stage = watched.box("stage")
        assert stage["y"] == pytest.approx(0, abs=1)  # the picture stays in sight beside the knobs
        assert watched.box("angle")["y"] >= stage["y"] + stage["height"]
    assert watched.complaints == []
