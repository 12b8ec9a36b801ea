"""The report in a real browser, opened from its file: pointed at, tapped, sorted, narrow, dark and on paper."""

from pathlib import Path

import pytest
from bench_parts import a_result, emulated, write_raw
from page_parts import BROWSER, Open

from benchmarks.report import write

pytestmark = BROWSER
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1400, "height": 900}}
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
P50 = """() => [...document.querySelectorAll("#rows tbody tr")].map(row => row.cells[3].dataset.v ?? "")"""
CUT = """() => [...document.querySelectorAll(".plot svg")].filter(svg => svg.getBoundingClientRect().width).flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter(word => {
        const at = word.getBoundingClientRect();
        return at.left < frame.left - 2 || at.right > frame.right + 2 || at.top < frame.top - 2 || at.bottom > frame.bottom + 2;
    }).map(word => word.textContent);
})"""
SMALL = """() => [...document.querySelectorAll("p, td, th, dd, dt, li, summary, text")]
    .filter(e => e.getBoundingClientRect().width)
    .map(e => [parseFloat(getComputedStyle(e).fontSize) * (e.closest("svg")?.getScreenCTM()?.a ?? 1), e.textContent])
    .filter(([size]) => size < 8.8)"""
CONTRAST = """() => {
    const rgb = colour => colour.match(/[0-9.]+/g).map(Number);
    const light = colour => rgb(colour).slice(0, 3).map(c => c / 255)
        .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const ground = e => { while (e && /, 0\\)|transparent|color/.test(getComputedStyle(e).backgroundColor)) e = e.parentElement;
        return getComputedStyle(e ?? document.body).backgroundColor; };
    return [...document.querySelectorAll("h1, h2, h3, p, dt, dd, li, th, td, figcaption, pre, .plot text")].filter(e =>
        e.getBoundingClientRect().width && e.textContent.trim()).map(e => {
            const style = getComputedStyle(e);
            const [a, b] = [light(e.closest("svg") ? style.fill : style.color), light(ground(e))].sort((x, y) => y - x);
            return [(a + .05) / (b + .05), e.textContent];
        });
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report's file, as a browser opens it."""
    folder = tmp_path_factory.mktemp("report")
    result = a_result()
    raw = write_raw(result, folder / "measured.csv")
    write.write(folder, result, raw, emulated())
    return Path(folder, "report.html").as_uri()


@pytest.mark.parametrize("window", [PHONE, DESK, {"viewport": {"width": 768, "height": 1024}}])
def test_it_opens_from_a_file_without_errors_loads_nothing_and_does_not_scroll_sideways(
    address: str, visit: Open, window: dict[str, object]
) -> None:
    watched = visit(address, **window)
    assert watched.page.evaluate(SIDEWAYS) <= 0
    watched.page.evaluate("() => { for (const fold of document.querySelectorAll('details')) fold.open = true; }")
    assert watched.page.evaluate(SIDEWAYS) <= 0
    assert watched.complaints == []
    assert [url for url in watched.asked if not url.startswith("data:")] == [address]
    assert watched.page.evaluate(CUT) == []
    assert watched.page.evaluate(SMALL) == []


def test_pointing_at_the_plot_shows_the_tip_of_the_point(address: str, visit: Open) -> None:
    watched = visit(address, **DESK)
    point = watched.page.locator("#pareto .wide [data-tip^='small int8.tflite, litert, 3']")
    point.scroll_into_view_if_needed()
    assert not watched.page.is_visible("#tip")
    box = point.bounding_box()
    watched.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    watched.says("tip", "small int8.tflite, litert, 3 threads (Pareto optimal)")
    assert "gain +2.27 dB" in watched.text("tip")
    watched.page.mouse.move(5, 5)
    watched.page.wait_for_selector("#tip", state="hidden")


def test_a_tap_on_a_phone_shows_the_tip_and_a_tap_elsewhere_hides_it(address: str, visit: Open) -> None:
    watched = visit(address, **PHONE)
    point = watched.page.locator("#pareto .narrow [data-tip^='Polyblur']")
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    watched.page.touchscreen.tap(box["x"] + box["width"] / 2 + 12, box["y"] + box["height"] / 2 + 8)  # a finger is not exact
    watched.says("tip", "Polyblur")
    tip = watched.box("tip")
    assert tip["x"] >= 0
    assert tip["x"] + tip["width"] <= 390
    watched.page.locator("#pareto h2").tap()
    watched.page.wait_for_selector("#tip", state="hidden")


def test_the_keyboard_moves_from_point_to_point(address: str, visit: Open) -> None:
    watched = visit(address, **DESK)
    plot = watched.page.locator("#pareto .wide svg")
    assert plot.locator("[tabindex='0']").count() == 1
    plot.locator("[tabindex='0']").focus()
    watched.says("tip", "nothing")
    watched.page.keyboard.press("ArrowRight")
    watched.says("tip", "unsharp mask")
    watched.page.keyboard.press("End")
    watched.says("tip", "Richardson-Lucy")
    watched.page.keyboard.press("Escape")
    watched.page.wait_for_selector("#tip", state="hidden")


def test_the_table_is_sorted_by_a_click_and_by_the_keyboard_and_rows_without_figures_stay_at_the_end(
    address: str, visit: Open
) -> None:
    watched = visit(address, **DESK)
    head = watched.page.locator("#rows th", has_text="p50")
    for press, up in ((head.locator("button").click, True), (lambda: head.locator("button").press("Enter"), False)):
        press()
        values = watched.page.evaluate(P50)
        figures = [float(value) for value in values if value]
        assert len(figures) > 40
        assert figures == sorted(figures, reverse=not up)
        assert not any(values[len(figures) :])
        assert head.get_attribute("aria-sort") == ("ascending" if up else "descending")
    watched.page.locator("#rows th button", has_text="what").click()
    assert watched.page.locator("#rows tbody tr").first.text_content().strip().startswith("nano")
    assert head.get_attribute("aria-sort") is None


def test_light_and_dark_follow_the_system_and_both_are_readable(address: str, visit: Open) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        watched = visit(address, color_scheme=scheme, **DESK)
        grounds.append(watched.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for ratio, words in watched.page.evaluate(CONTRAST):
            assert ratio >= 4.5, (scheme, words)  # WCAG 2 AA
    assert grounds[0] != grounds[1]


def test_on_paper_nothing_is_cut_off_and_a_dark_system_prints_dark_on_white(address: str, visit: Open) -> None:
    watched = visit(address, color_scheme="dark", viewport={"width": 695, "height": 1000})  # A4 less its margins
    watched.page.emulate_media(media="print")
    watched.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert watched.page.evaluate(SIDEWAYS) <= 0
    wide = "() => [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1).length"
    assert watched.page.evaluate(wide) == 0
    assert watched.page.locator("details:not([open])").count() == 0
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ink = watched.page.evaluate("getComputedStyle(document.querySelector('#pareto .wide text')).fill")
    assert ink == "rgb(23, 25, 28)"
    printed = watched.page.pdf(prefer_css_page_size=True, print_background=True)
    assert printed.startswith(b"%PDF")


def test_everything_is_readable_without_scripts(address: str, visit: Open) -> None:
    watched = visit(address, java_script_enabled=False, **DESK)
    assert watched.page.locator("#rows tbody tr").count() > 40
    assert "deblurkit run --bundle small" in watched.page.locator("#answer pre").text_content()
