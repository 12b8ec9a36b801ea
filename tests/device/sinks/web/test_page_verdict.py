"""The page's verdict and its focus help, in a real browser."""

import time
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from page_parts import BROWSER, Open, Show, Watched, on_picture, shades
from state_parts import BLUR

from device.images.frame import Frame, Restored
from device.images.scenes import chart
from device.sinks.web import Web
from device.state import Verdict

pytestmark = BROWSER
SIZE_HW = (480, 640)


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
