"""The page's cards on the verdict and on the blur, in a real browser."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from loop_parts import until as wait_until
from page_parts import BROWSER, Open, Show, Watched, until
from state_parts import BLUR

from device.images.frame import Frame, Restored
from device.images.scenes import chart
from device.session import Session
from device.settings import CameraSettings, Settings, WebSettings
from device.sinks.web import Web
from device.state import Verdict

pytestmark = BROWSER
SIZE_HW = (480, 640)
ESTIMATED = replace(
    BLUR,
    mode="auto",
    kind="motion",
    size_px=17.0,
    angle_deg=-150.0,
    origin="auto",
    confidence=0.9,
    sureness="sure",
    description="motion of 17 pixels at -150 degrees",
)


@pytest.fixture
def watched(web: Web, loop: Any, show: Show, visit: Open) -> Watched:
    """The page while a movement is estimated; original 60, restored 200."""
    loop.blur = ESTIMATED
    show(60, 200, SIZE_HW)
    watched = visit(web.url, viewport={"width": 1360, "height": 900})
    watched.shows(200)
    watched.says("blurIs", "motion of 17 pixels")
    return watched


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


@pytest.mark.parametrize(
    ("kind", "text", "colour"),
    [
        ("lens", "Turn the lens first. Blur about 8 pixels wide (sure).", "--warn"),
        ("exposure", "Expose for less time first. Movement of about 17 pixels (a guess).", "--warn"),
        ("helps", "Restoring helps. Blur about 3 pixels wide.", "--accent"),
        ("sharp", "No clear blur: the picture is about as sharp as it gets.", "--accent"),
        ("", "Nothing is restored: the blur is switched off.", "--soft"),
    ],
)
def test_the_verdict_is_large_and_coloured(
    web: Web, loop: Any, show: Show, visit: Open, kind: str, text: str, colour: str
) -> None:
    loop.overrides = {"verdict": Verdict(kind, text)}
    show(60, 200)
    watched = visit(web.url)
    watched.says("verdict", text.replace(":", "."))
    head = watched.page.locator("#verdict b")
    assert head.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 20
    wanted = watched.page.evaluate(
        "name => { const e = document.createElement('p'); e.style.color = `var(${name})`; document.body.append(e);"
        " const found = getComputedStyle(e).color; e.remove(); return found; }",
        colour,
    )
    assert head.evaluate("e => getComputedStyle(e).color") == wanted
    assert watched.complaints == []


def test_without_a_verdict_the_card_says_what_goes_on(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.blur = replace(BLUR, mode="auto")
    show(60, 200)
    watched = visit(web.url)
    watched.says("verdict", "Looking at the blur")
    loop.blur = BLUR
    watched.says("verdict", "Restored blind.")
    watched.says("blurIs", "Restored without knowing the blur")


def test_the_blur_its_sureness_its_origin_and_an_error_are_shown(watched: Watched, loop: Any) -> None:
    watched.says("blurIs", "motion of 17 pixels at -150 degrees · sure")
    watched.says("blurFrom", "Estimated from the picture.")
    assert radio(watched, "Auto").is_checked()
    assert not watched.page.is_visible("#blurError")
    assert not watched.page.is_visible("#hand")
    loop.blur = replace(ESTIMATED, sureness="a guess", error="not estimated: ValueError: <b>x</b>")
    watched.says("blurIs", "· a guess")
    watched.says("blurError", "not estimated: ValueError: <b>x</b>")
    loop.blur = replace(BLUR, mode="hand", kind="measured", origin="file", description="a measured kernel of 21 pixels a side")
    watched.says("blurFrom", "From a file.")
    assert radio(watched, "By hand").is_checked()
    assert not watched.page.is_visible("#size")  # it has no size to turn
    assert watched.page.is_disabled("#keep")
    assert watched.complaints == []


def test_arrow_keys_choose_how_the_blur_is_found_and_by_hand_starts_from_the_estimate(watched: Watched, loop: Any) -> None:
    radio(watched, "Auto").focus()
    watched.page.keyboard.press("ArrowRight")
    until(watched, lambda: loop.asked == [("motion:17@30", False)])
    assert radio(watched, "Movement").is_checked()
    assert watched.text("sizeIs") == "17.0 px"
    assert watched.text("angleIs") == "30°"
    for mode in ("blind", "off"):
        watched.page.keyboard.press("ArrowRight")
        until(watched, lambda mode=mode: loop.asked[-1] == (mode, False))
        assert not watched.page.is_visible("#hand")
    watched.says("blurIs", "The picture is left as it is")
    watched.page.keyboard.press("ArrowRight")
    until(watched, lambda: loop.asked[-1] == ("auto", False))
    watched.page.keyboard.press(" ")  # on a radio button this is not Pause
    assert watched.text("live") == "live"


def test_knobs_turn_the_blur_and_undo_goes_back_to_what_was_before(watched: Watched, loop: Any) -> None:
    by_hand(watched, loop)
    watched.page.locator("#size").press("ArrowRight")
    until(watched, lambda: loop.asked[-1] == ("motion:17.5@30", False))
    watched.page.locator("#angle").fill("45")
    until(watched, lambda: loop.asked[-1] == ("motion:17.5@45", False))
    radio(watched, "Out of focus").check(force=True)
    until(watched, lambda: loop.asked[-1] == ("defocus:10.1", False))  # as wide as the movement
    assert watched.text("sizeName") == "Radius"
    assert not watched.page.is_visible("#angle")
    radio(watched, "Soft").check(force=True)
    until(watched, lambda: loop.asked[-1][0].startswith("gaussian:5"))
    watched.says("blurIs", "Gaussian")
    watched.page.click("#undo")
    until(watched, lambda: loop.asked[-1] == ("auto", False))
    watched.page.wait_for_function("() => document.querySelector('#mode input').checked")
    assert watched.page.is_disabled("#undo")
    assert watched.complaints == []


def test_undo_goes_back_to_another_blur_by_hand_and_knobs_follow(watched: Watched, loop: Any) -> None:
    loop.use_blur("defocus:3.5", False)
    watched.says("blurIs", "defocus of 3.5 pixels")
    assert watched.page.input_value("#size") == "3.5"
    watched.page.locator("#size").press("PageUp")
    until(watched, lambda: loop.blur.size_px > 3.6)
    watched.page.click("#undo")
    until(watched, lambda: loop.blur.size_px == 3.5)
    watched.page.wait_for_function("() => document.getElementById('size').value === '3.5'")


def test_dragging_a_knob_asks_at_most_about_eight_times_a_second_and_always_for_the_last_value(
    watched: Watched, loop: Any
) -> None:
    by_hand(watched, loop)
    watched.page.wait_for_function("() => !sending")
    loop.asked.clear()
    took_ms = watched.page.evaluate(
        """async () => {
            const knob = document.getElementById("size"), began = performance.now();
            for (let i = 0; i < 60; i++) { knob.value = 20 + i / 2; knob.dispatchEvent(new Event("input")); await sleep(16); }
            return performance.now() - began;
        }"""
    )
    until(watched, lambda: loop.asked[-1] == ("motion:49.5@30", False))
    assert 3 <= len(loop.asked) <= took_ms / 125 + 2
    watched.says("sizeIs", "49.5 px")


def test_strength_is_asked_for_in_every_mode(watched: Watched, loop: Any) -> None:
    watched.page.locator("#strength").fill("40")
    until(watched, lambda: loop.asked == [0.4])
    assert watched.text("strengthIs") == "40 %"
    loop.blur = replace(loop.blur, strength=0.75)  # another viewer
    watched.says("strengthIs", "75 %")


def test_keep_keeps_the_blur_for_later_starts(watched: Watched, loop: Any) -> None:
    by_hand(watched, loop)
    watched.page.click("#keep")
    watched.says("blurNote", "Kept for later starts.")
    assert loop.asked[-1] == ("motion:17@30", True)
    radio(watched, "Auto").check(force=True)
    until(watched, lambda: loop.asked[-1] == ("auto", False))
    watched.page.click("#keep")
    until(watched, lambda: loop.asked[-1] == ("auto", True))


def test_the_blur_is_drawn_at_its_real_size_while_its_knobs_are_used(watched: Watched, loop: Any) -> None:
    by_hand(watched, loop)
    radio(watched, "Out of focus").check(force=True)
    watched.page.locator("#size").fill("10")

    def corner() -> list[int]:
        return [watched.grey(*share) for share in watched.page.evaluate(CORNER)]

    watched.page.wait_for_function("() => knobs().size === 10")
    scale = watched.page.evaluate("place().scale")
    middle, inside, outside = corner()
    assert (middle, inside) == (255, 255)
    assert outside < 60  # the dark backing
    watched.page.keyboard.press("+")
    watched.page.wait_for_function("scale => place().scale > 1.4 * scale", arg=scale)
    assert corner()[2] < 60
    watched.page.keyboard.press("0")
    watched.page.locator("#keep").focus()
    watched.page.mouse.move(5, 5)
    watched.page.wait_for_timeout(100)
    assert corner() == [60, 60, 60]


# The middle of the drawn disk, a point 0.8 radii right of it, and one 1.2 radii right of it: shares of the canvas.
CORNER = """() => {
    const p = place(), reach = 10 * p.scale, side = Math.max(52, 2 * reach + 16), wide = Math.max(side, 96);
    const x = p.seen.left + 10 + wide / 2, y = p.seen.bottom - 10 - side - 18 + side / 2;
    return [0, .8, 1.2].map(r => [(x + r * reach) / p.box.width, y / p.box.height]);
}"""


def test_a_box_is_drawn_with_the_pointer_and_removed(watched: Watched, loop: Any) -> None:
    assert watched.page.is_disabled("#whole")
    watched.page.click("#box")
    watched.says("blurNote", "Draw a box on the picture.")
    watched.page.mouse.move(*on_picture(watched, 400, 300))
    watched.page.mouse.down()
    watched.page.mouse.move(*on_picture(watched, 200, 100), steps=4)
    watched.page.mouse.up()
    until(watched, lambda: bool(loop.asked))
    assert loop.asked[0] == pytest.approx((200, 100, 200, 200), abs=2)
    assert 255 in shades(watched, 200, 200, 4)  # its outline
    assert watched.page.get_attribute("#box", "aria-pressed") == "false"
    assert watched.page.get_attribute("#slider", "aria-valuenow") == "50"
    watched.page.click("#whole")
    until(watched, lambda: loop.asked[-1] is None)
    watched.page.wait_for_selector("#whole:disabled")
    assert shades(watched, 200, 200, 4) == [60]


def test_a_small_box_grows_to_64_pixels_inside_the_picture(watched: Watched, loop: Any) -> None:
    watched.page.click("#box")
    watched.page.mouse.move(*on_picture(watched, 630, 470))
    watched.page.mouse.down()
    watched.page.mouse.move(*on_picture(watched, 636, 474), steps=2)
    watched.page.mouse.up()
    until(watched, lambda: bool(loop.asked))
    assert loop.asked == [(576, 416, 64, 64)]


def test_a_box_is_set_with_the_keyboard_and_escape_leaves_it(watched: Watched, loop: Any) -> None:
    watched.page.locator("#box").press("Enter")
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "Enter"):
        watched.page.keyboard.press(key)
    until(watched, lambda: bool(loop.asked))
    assert loop.asked == [(173, 120, 320, 253)]
    watched.page.keyboard.press("Enter")
    watched.page.keyboard.press("ArrowLeft")
    watched.page.keyboard.press("Escape")
    assert watched.page.get_attribute("#box", "aria-pressed") == "false"
    assert len(loop.asked) == 1


def test_while_the_button_or_the_key_is_held_the_original_covers_the_picture(watched: Watched) -> None:
    assert watched.grey(0.75) == 200
    button = watched.box("hold")
    watched.page.mouse.move(button["x"] + 20, button["y"] + 10)
    watched.page.mouse.down()
    watched.shows(60)
    assert watched.page.get_attribute("#slider", "aria-valuenow") == "50"
    watched.page.mouse.up()
    watched.shows(200)
    watched.page.locator("#model").blur()
    watched.page.keyboard.down("o")
    watched.shows(60)
    watched.page.keyboard.up("o")
    watched.shows(200)
    watched.page.locator("#hold").focus()
    watched.page.keyboard.down(" ")
    watched.shows(60)
    watched.page.keyboard.up(" ")
    watched.shows(200)
    assert watched.text("live") == "live"  # the space did not pause
    assert watched.complaints == []


def test_the_original_is_fetched_if_only_the_restored_picture_was_shown(watched: Watched, web: Web, show: Show) -> None:
    watched.page.goto(f"{web.url}/?kiosk")
    watched.shows(200, 0.3)
    assert watched.asked[-1] != f"{web.url}/stream?view=both"
    watched.page.keyboard.down("o")
    watched.shows(60, 0.7)
    watched.page.keyboard.up("o")
    watched.shows(200, 0.3)


# The focus


def sharp_picture(web: Web, loop: Any, blur_px: float = 0.0) -> None:
    """Detail on the left, grey on the right."""
    picture = chart(*SIZE_HW, 3)
    if blur_px:
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
    picture[:, 320:] = 120
    frame = Frame(0, time.monotonic(), np.ascontiguousarray(picture))
    web.write(Restored(frame, frame.image.copy()))
    loop.telemetry.shown(frame)


def value(watched: Watched, name: str) -> int:
    return int(watched.page.get_attribute(f"#{name}", "aria-valuenow"))


def test_a_page_without_focus_help_asks_for_no_focus_and_with_it_five_times_a_second(watched: Watched) -> None:
    watched.page.wait_for_timeout(800)
    asked = [url for url in watched.asked if "/focus" in url]
    assert asked == []
    watched.page.click("#focusHelp")
    watched.page.wait_for_timeout(2000)
    asked = [url for url in watched.asked if "/focus" in url]
    assert 4 <= len(asked) <= 12
    assert "x=0.5000&y=0.5000" in asked[0]
    watched.page.click("#focusHelp")
    watched.page.wait_for_timeout(300)
    count = len(watched.asked)
    watched.page.wait_for_timeout(600)
    assert not any("/focus" in url for url in watched.asked[count:])
    assert watched.complaints == []


def test_the_focus_is_measured_at_the_spot_and_the_best_is_held(watched: Watched, web: Web, loop: Any) -> None:
    sharp_picture(web, loop)
    watched.page.click("#focusHelp")
    watched.page.click("#chooseSpot")
    watched.says("spotHint", "Tap the picture")
    watched.page.mouse.click(*on_picture(watched, 160, 240))
    watched.page.wait_for_function("() => Number(document.getElementById('now').ariaValueNow) > 40")
    sharp = value(watched, "now")
    watched.says("focusSays", "The best so far.")
    assert watched.page.get_attribute("#slider", "aria-valuenow") == "50"  # the tap chose a spot and did not move the divider
    assert 255 in shades(watched, 160, 240, 20)  # the ring
    sharp_picture(web, loop, blur_px=2)
    watched.says("focusSays", "It was sharper before.")
    assert value(watched, "now") < 0.7 * sharp
    assert value(watched, "best") == pytest.approx(sharp, abs=2)
    assert watched.page.locator("#now i").evaluate("e => e.offsetHeight") >= 24
    watched.page.click("#resetBest")
    watched.page.wait_for_function(
        "sharp => { const v = Number(document.getElementById('best').ariaValueNow); return v > 0 && v < .7 * sharp; }", arg=sharp
    )
    watched.page.locator("#chooseSpot").focus()
    for _ in range(6):
        watched.page.keyboard.press("Shift+ArrowRight")
    watched.says("focusSays", "No detail at this spot.")
    assert value(watched, "best") == 0
    assert watched.page.evaluate("[spot.x, spot.y]") == pytest.approx([0.85, 0.5], abs=0.01)
    assert watched.complaints == []


# Both cards


@pytest.mark.parametrize("viewport", [(360, 640), (1360, 820)])
def test_nothing_scrolls_sideways_with_everything_open_and_fingers_find_every_control(
    web: Web, loop: Any, show: Show, visit: Open, viewport: tuple[int, int]
) -> None:
    loop.blur = replace(ESTIMATED, roi_xywh=(100, 100, 200, 200), error="not estimated: " + "A" * 80)
    loop.overrides = {"verdict": Verdict("exposure", "Expose for less time first. Movement of about 17 pixels (a guess).")}
    show(60, 200, SIZE_HW)
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


def test_the_legend_shows_the_filter_and_the_estimate_which_is_not_part_of_a_frame(watched: Watched, loop: Any) -> None:
    loop.telemetry.add("deconvolve", 0.0042)
    loop.telemetry.add("estimate", 0.123)
    watched.says("legend", "filter4.2")
    watched.says("legend", "estimate123")
    assert "estimate" not in watched.page.evaluate("STAGES.flat()")


# A real run


@pytest.fixture
def running() -> Iterator[str]:
    """The address of the page of a run of the demo."""
    stop = threading.Event()
    camera = CameraSettings(size="320x240", fps=5.0)
    settings = Settings(
        source="demo", sink=("web",), bundle=("nano",), threads=1, camera=camera, web=WebSettings(port=0), blur="auto"
    )
    with Session(settings, stop) as session:
        thread = threading.Thread(target=session.run, daemon=True)
        thread.start()
        wait_until(lambda: session.telemetry.frames > 1)
        yield session.state().sinks[0].description
        stop.set()
        thread.join(20)


def test_what_is_set_on_the_page_is_what_a_run_does(running: str, visit: Open) -> None:
    def state() -> dict[str, Any]:
        with urllib.request.urlopen(f"{running}/state", timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    watched = visit(running, viewport={"width": 1360, "height": 900})
    watched.page.wait_for_function("() => after && state")
    radio(watched, "By hand").check(force=True)
    radio(watched, "Out of focus").check(force=True)
    watched.page.locator("#size").fill("3.5")
    watched.page.locator("#strength").fill("60")
    until(watched, lambda: (state()["blur"]["size_px"], state()["blur"]["strength"]) == (3.5, 0.6))
    blur = state()["blur"]
    assert (blur["mode"], blur["kind"], blur["origin"]) == ("hand", "defocus", "hand")
    watched.says("blurIs", "defocus of 3.5 pixels")
    watched.says("verdict", "Turn the lens first.")
    watched.page.click("#box")
    watched.page.mouse.move(*on_picture(watched, 60, 40))
    watched.page.mouse.down()
    watched.page.mouse.move(*on_picture(watched, 260, 200), steps=3)
    watched.page.mouse.up()
    until(watched, lambda: state()["blur"]["roi_xywh"] is not None)
    assert state()["blur"]["roi_xywh"] == pytest.approx([60, 40, 200, 160], abs=2)
    watched.page.click("#whole")
    until(watched, lambda: state()["blur"]["roi_xywh"] is None)
    watched.page.click("#keep")
    watched.says("blurNote", "Kept for later starts.")
    watched.page.click("#undo")
    until(watched, lambda: state()["blur"]["mode"] == "auto")
    radio(watched, "Off").check(force=True)
    until(watched, lambda: state()["blur"]["mode"] == "off")
    watched.says("verdict", "Nothing is restored.")
    watched.page.click("#focusHelp")
    watched.page.wait_for_function("() => document.querySelector('#now b').textContent !== '–'")
    assert watched.complaints == []
