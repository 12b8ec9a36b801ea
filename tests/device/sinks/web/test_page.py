"""The behaviour of the page in a real browser."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from page_parts import BROWSER, LOOK, Open, Show, Watched, until, viewers
from state_parts import CAMERA

from device.images.frame import NO_VIDEO, NOT_RESTORED, Frame, Restored
from device.images.overlay import placeholder
from device.sinks.web import Web
from device.state import Advice, ModelOption, RateControlState, RecordingState, SinkState

pytestmark = BROWSER


def test_the_divider_separates_the_original_from_the_restored_picture(web: Web, show: Show, visit: Open) -> None:
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
    slider = watched.page.get_by_role("slider", name="Divider")
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
    assert slider.get_attribute("aria-valuetext") == "0 % original, 100 % restored"
    watched.shows(200, 0.3)
    named = watched.page.locator("button, select, input, canvas, [role=slider]").evaluate_all(
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
    watched.page.get_by_role("slider", name="Divider").press("Home")
    view = watched.box("view")
    centre = (view["x"] + view["width"] / 2, view["y"] + view["height"] / 2)
    before = watched.grey(0.5)
    watched.page.mouse.move(*centre)
    watched.page.mouse.wheel(0, -600)
    watched.page.wait_for_function("() => document.getElementById('view').classList.contains('zoomed')")
    assert abs(watched.grey(0.5) - before) < 6  # the point under the pointer stays in place
    watched.page.mouse.down()
    watched.page.mouse.move(centre[0] + 100, centre[1], steps=4)
    watched.page.mouse.up()
    assert watched.grey(0.5) < before - 3
    watched.page.click("#zoom")
    assert abs(watched.grey(0.5) - before) < 3
    watched.page.click("#zoomIn")
    assert watched.page.locator("#view.zoomed").count() == 1
    assert watched.complaints == []


def test_a_frame_is_shown_when_it_arrives_and_both_sides_show_the_same_frame(web: Web, show: Show, visit: Open) -> None:
    show(50, 60)
    watched = visit(web.url)
    watched.shows(60)
    for grey in (90, 130, 170, 210):
        show(grey, grey + 10)
        watched.shows(grey + 10)
        assert watched.grey(0.25) == pytest.approx(grey, abs=3)


def test_the_figures_appear_and_no_other_host_is_contacted(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.telemetry.add("infer", 0.0123)
    loop.telemetry.count("dropped")
    loop.overrides = {
        "temperature_c": 61.4,
        "deadline": RateControlState(fps=30.0, max_age_ms=0.0, every=2, bundle="nano", level=3, levels=4, changes=3),
        "camera": replace(CAMERA, exposure_ms=8.333, gain=2.0, in_focus=True),
    }
    watched = visit(web.url)
    for i in range(30):
        show(i, 100 + i)
        watched.page.wait_for_timeout(60)
    watched.says("temperature", "61 °C")
    watched.says("target", "30 fps, every second frame, nano")
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
def test_a_snapshot_of_the_shown_picture_is_saved_as_a_file(
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


def test_another_model_is_selected_and_bundles_are_reloaded(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.says("model", "nano · int8 · litert")
    watched.page.select_option("#model", label="nano · int8 · litert")
    until(watched, lambda: loop.asked == [ModelOption("nano", "int8", "litert")])
    watched.page.click("#reload")
    loop.overrides = {"message": "opened again: small, nano"}
    watched.says("message", "opened again: small, nano")
    assert "reload" in loop.asked
    loop.options = ()
    watched.page.select_option("#model", label="small · int8 · litert")  # no longer available
    watched.says("message", "not available in this run")


def test_recording_is_switched_if_there_is_a_recorder(web: Web, loop: Any, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(web.url)
    watched.shows(200)
    assert not watched.page.is_visible("#record")
    loop.recording = RecordingState(on=False, files=0, bytes=0, error="")
    watched.page.wait_for_selector("#record", state="visible")
    watched.page.click("#record")
    watched.page.wait_for_selector("#record[aria-pressed=true]")
    watched.page.click("#record")
    watched.page.wait_for_selector("#record[aria-pressed=false]")
    assert loop.asked == [True, False]


def test_warnings_show_a_fix_and_disappear_once_it_is_done(web: Web, loop: Any, show: Show, visit: Open) -> None:
    loop.overrides = {"warnings": (Advice("<b>Exposure</b> 1/15 s: motion blur", "More light."),)}
    loop.overrides["sinks"] = (SinkState(description="record:/media", frames=1, dropped=0, failures=2, error="disk full"),)
    show(60, 200)
    watched = visit(web.url)
    watched.says("warnings", "<b>Exposure</b> 1/15 s: motion blurMore light.")
    watched.says("warnings", "record:/media fails: disk full")
    loop.overrides = {}
    watched.page.wait_for_function("() => !document.getElementById('warnings').children.length")
    assert watched.page.is_visible("#well")
    assert watched.complaints == []


def test_no_video_and_an_unrestored_picture_are_marked(web: Web, loop: Any, show: Show, visit: Open) -> None:
    screen = placeholder((160, 120), "no camera")
    web.write(Restored(Frame(0, time.monotonic(), screen, mark=NO_VIDEO), screen, NO_VIDEO))
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


def test_the_page_says_when_there_is_no_frame_yet_and_when_no_more_arrive(web: Web, loop: Any, show: Show, visit: Open) -> None:
    watched = visit(web.url)
    watched.says("notice", "Waiting for the first picture")
    show(60, 100)
    watched.page.wait_for_selector("#notice", state="hidden")
    loop.overrides = {"healthy": False, "health": "no new frame for 7 s"}
    watched.says("notice", "no new frame for 7 s")
    loop.overrides = {}
    watched.page.wait_for_selector("#notice", state="hidden")


def test_one_viewer_too_many_is_told_so_and_connects_when_there_is_room(
    serve: Callable[..., Web], loop: Any, frame: Callable, visit: Open
) -> None:
    web = serve(viewers=1)
    web.write(frame(0, (120, 160)))
    first, second = visit(web.url), visit(web.url)
    for watched, other in ((first, second), (second, first)):
        if "are taken" in watched.text("notice") or "Waiting" in watched.text("notice"):
            watched.says("notice", "all 1 places for viewers are taken")
            other.page.close()
            watched.page.wait_for_selector("#notice", state="hidden")
            watched.shows(255)
            return
    pytest.fail("both viewers were accepted")


def test_a_hidden_page_requests_no_stream(web: Web, loop: Any, show: Show, visit: Open) -> None:
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


def test_a_divider_at_the_left_edge_requests_only_the_restored_picture(web: Web, show: Show, visit: Open) -> None:
    show(60, 200)
    watched = visit(f"{web.url}/?kiosk")
    watched.shows(200, 0.3)
    assert [url for url in watched.asked if "stream" in url] == [f"{web.url}/stream?view=restored"]
    watched.page.keyboard.press("Tab")
    watched.page.get_by_role("slider", name="Divider").press("End")
    watched.shows(60, 0.7)
    assert watched.asked[-1].endswith("view=both") or f"{web.url}/stream?view=both" in watched.asked


def test_the_legend_shows_the_filter_and_the_estimate_which_is_not_part_of_a_frame(watched: Watched, loop: Any) -> None:
    loop.telemetry.add("deconvolve", 0.0042)
    loop.telemetry.add("estimate", 0.123)
    watched.says("legend", "filter4.2")
    watched.says("legend", "estimate123")
    assert "estimate" not in watched.page.evaluate("STAGES.flat()")
