"""The page's card on the blur, in a real browser."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from loop_parts import until as wait_until
from page_parts import BROWSER, Open, Show, Watched, by_hand, on_picture, radio, shades, until
from state_parts import BLUR, ESTIMATED

from device.session import Session
from device.settings import CameraSettings, Settings, WebSettings
from device.sinks.web import Web

pytestmark = BROWSER


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
