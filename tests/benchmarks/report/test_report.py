"""The report of a result: for the terminal, as Markdown, as a folder."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from bench_parts import a_result, emulated, write_raw

from benchmarks.records import MISSING, OK, Result, Row, from_json
from benchmarks.report import html, inline_svg, pareto, plots, wording, write
from device.errors import RunError

EVIL = "<script>alert(1)</script> & \"'$x$ {{json}} \x1b|`"


class Elements(HTMLParser):
    """Every element's attributes, the text outside scripts, and how elements nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        self.words += "" if self._script else data

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.found if (value := attributes.get(name))]


@pytest.fixture(scope="module")
def result() -> Result:
    """A board's result with every kind of row."""
    return a_result()


@pytest.fixture(scope="module")
def short() -> Result:
    """The same with few rows, whose page is drawn faster."""
    return a_result(rows=12)


@pytest.fixture(scope="module")
def page(result: Result) -> str:
    return html.page(result, {}, emulated())


def test_the_folder_contains_the_result_the_page_the_text_the_raw_times_and_the_plot(result: Result, tmp_path: Path) -> None:
    raw = write_raw(result, tmp_path / "measured.csv")
    names = write.write(tmp_path / "report", result, raw, emulated())
    assert sorted(names) == ["bench.json", "quality_latency.png", "raw.csv", "report.html", "report.md"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(names)
    assert from_json(json.loads((tmp_path / "report/bench.json").read_text()), "bench.json") == result
    assert (tmp_path / "report/raw.csv").read_bytes() == raw.read_bytes()
    plot = cv2.imread(str(tmp_path / "report/quality_latency.png"))
    assert plot is not None
    assert plot.std() > 5


def test_a_folder_that_cannot_be_written_is_an_error(result: Result, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        write.write(tmp_path / "report", result, None, None)


def test_the_terminal_shows_the_fastest_first_then_every_reason_then_the_pick(result: Result) -> None:
    shown = write.as_table(result)
    lines = shown.splitlines()
    measured = [row for row in result.rows if row.status == OK and row.latency]
    assert lines[1].startswith("nothing")
    assert [line.partition("  ")[0] for line in lines[1 : 1 + len(measured)]] == [
        row.label for row in sorted(measured, key=lambda row: row.latency.p50_ms.value if row.latency else 0)
    ]
    for row in result.rows:
        if row.status != OK:
            assert row.message in shown
    assert result.pick
    assert lines[-1].strip() == "deblurkit run --bundle small --variant int8 --runtime litert --threads 3"
    assert shown.index("doubt: ") < shown.index(result.pick.why)


def test_files_whose_runtime_is_missing_share_a_line_and_failures_have_one_each() -> None:
    rows = [Row("small", "network", MISSING, v, f"small_{v}.onnx", "openvino", 1, "not installed") for v in ("fp32", "int8")]
    rows += [replace(row, status="failed", message="killed") for row in rows]
    assert wording.without_figures(rows) == [
        ("missing", "openvino (2 combinations)", "not installed"),
        ("failed", "small fp32.onnx, openvino, 1 thread", "killed"),
        ("failed", "small int8.onnx, openvino, 1 thread", "killed"),
    ]


def test_the_command_names_the_bundle_as_it_was_given_and_is_quoted_for_a_shell(result: Result) -> None:
    given = replace(result, command="deblurkit bench --bundle 'my bundles/small' --bundle nano")
    assert given.pick
    assert wording.command(given, given.pick).startswith("deblurkit run --bundle 'my bundles/small' --variant int8")


def test_without_a_pick_the_pareto_front_is_listed_with_what_each_row_is_best_for(short: Result) -> None:
    best = wording.best_for(short.rows)
    assert "the fastest" in best[0][1]
    assert any("the best picture" in said for _, said in best)
    assert all(row.front for row, _ in best)
    words = Elements(html.page(replace(short, pick=None), {}, None)).words
    assert "What each row is best for" in words
    assert all(f"{row.label}: {said}" in words for row, said in best)


def test_markdown_begins_with_the_pick_and_every_line_of_a_table_has_the_same_columns(result: Result) -> None:
    for name in ("small", EVIL):
        text = write.as_markdown(a_result(name, rows=9) if name == EVIL else result)
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(write.HEADER) + 1}
        assert "<script>" not in text
    text = write.as_markdown(result)
    assert (
        text.index("deblurkit run --bundle small") < text.index("| what |") < text.index("### Machine") < text.index("### Doubts")
    )
    assert "killed by the kernel" in text


def test_the_page_shows_every_row_message_and_doubt_and_the_command(result: Result, page: str) -> None:
    words = Elements(page).words
    for row in result.rows:
        assert row.status == OK or row.message in words
        assert row.kind != "network" or f"{row.name} {row.variant}." in words
    assert all(doubt in words for doubt in result.doubts)
    assert "deblurkit run --bundle small --variant int8 --runtime litert --threads 3" in words
    order = [
        "Run small",
        "Reasons to doubt",
        "Picture quality against time",
        "Before and after",
        "At full load",
        "The whole loop",
    ]
    order += ["Everything that was measured", "Picture quality by case", "The machine", "How it was measured"]
    places = [words.index(heading) for heading in order]
    assert places == sorted(places)
    predicted = words.index("Emulated and predicted, not measured")
    assert predicted > places[-1]
    assert words.index("210 to 330") > predicted


def test_the_page_loads_nothing_from_outside(page: str) -> None:
    elements = Elements(page)
    assert not [tag for tag, _ in elements.found if tag in ("iframe", "object", "embed", "base")]
    outside = [value for name in ("src", "href", "srcset", "action", "xlink:href", "data") for value in elements.values(name)]
    assert outside
    assert all(value.startswith(("#", "data:")) for value in outside)
    assert re.findall(r"url\((?!#)|@import", page) == []
    assert "http" not in re.sub(r'<script type="application/json".*?</script>', "", page)


def test_identifiers_are_unique_and_every_reference_has_a_target(page: str) -> None:
    elements = Elements(page)
    ids = elements.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in elements.values("href") if value.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_names_of_bundles_and_boards_and_messages_are_escaped() -> None:
    result = a_result(EVIL, rows=12)
    spoiled = replace(result.rows[-1], status="failed", latency=None, message=EVIL, runtime="_" + EVIL)
    machine = replace(result.machine, board=EVIL, features=(EVIL,))
    result = replace(result, rows=(*result.rows[:-1], spoiled), machine=machine, doubts=(EVIL,), pictures=EVIL, suite=EVIL)
    made = html.page(result, {}, {"method": EVIL, "checked": [{"what": EVIL}], "predictions": [{"file": EVIL}]})
    elements = Elements(made)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert EVIL.replace("\x1b", "\ufffd") in elements.words
    assert any(EVIL.replace("\x1b", "\ufffd") in value for value in elements.values("data-tip"))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", made)


def test_a_picture_that_is_not_base64_is_left_out(short: Result) -> None:
    spoiled = tuple(replace(shown, png='" onerror="alert(1)') for shown in short.examples)
    assert "onerror" not in re.sub(r"<script.*?</script>", "", html.page(replace(short, examples=spoiled), {}, None), flags=re.S)


def test_the_page_contains_the_result_for_programs_without_its_pictures(result: Result, page: str) -> None:
    (found,) = re.findall(r'<script type="application/json" id="result">(.*?)</script>', page)
    read = from_json(json.loads(found), "report.html")
    assert read == replace(result, examples=tuple(replace(shown, png="") for shown in result.examples))


def test_sections_without_data_are_left_out(result: Result) -> None:
    bare = replace(result, rows=(), loops=(), sustained=(), examples=(), doubts=(), pick=None)
    words = Elements(html.page(bare, {}, None)).words
    for heading in (
        "Picture quality",
        "times spread",
        "Before and after",
        "At full load",
        "whole loop",
        "Everything",
        "doubt",
        "Emul",
    ):
        assert heading not in words
    assert "The machine" in words
    assert write.as_table(bare) == ""


def test_the_method_of_a_load_does_not_mention_rounds(short: Result) -> None:
    loaded = replace(short, suite="sustained", rows=(), loops=(), examples=(), pick=None, rounds=1)
    words = Elements(html.page(loaded, {}, None)).words
    assert "again and again" in words
    assert "rounds" not in words
    assert "again and again" not in Elements(html.page(short, {}, None)).words


def test_a_partial_result_and_an_emulated_machine_are_doubts(short: Result) -> None:
    partial = replace(short, complete=False, machine=replace(short.machine, kind="emulated"))
    text = write.as_markdown(partial) + write.as_table(partial) + Elements(html.page(partial, {}, None)).words
    assert text.count("partial: ") == 3
    assert text.count("emulated: the times on this machine") == 3


def test_the_same_result_gives_the_same_page(short: Result) -> None:
    assert html.page(short, {}, emulated()) == html.page(short, {}, emulated())


def test_a_plot_has_a_point_for_every_row_with_time_and_gain(result: Result) -> None:
    plot = pareto.quality_latency(result)
    assert plot is not None
    drawn = Elements(inline_svg.inline_svg(plot, "a"))
    timed = [row for row in result.rows if row.latency is not None]
    assert len(drawn.values("data-tip")) == len(timed)
    assert all(any(tip.startswith(row.label) for tip in drawn.values("data-tip")) for row in timed)


def test_the_tip_of_a_row_of_times_names_the_slowest_frame(result: Result, tmp_path: Path) -> None:
    times = html.times_of(write_raw(result, tmp_path / "raw.csv").read_bytes())
    assert set(times) == {i for i, row in enumerate(result.rows) if row.latency is not None}
    times[1][-1] = 777.0
    plot = plots.latencies(result, times)
    assert plot is not None
    assert plot.tips["times-1"].endswith("slowest 777.0 ms")


def test_without_matplotlib_the_measurements_are_written_and_a_warning_says_what_is_missing(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("benchmarks.report.html", "benchmarks.report.pareto", "benchmarks.report.plots", "matplotlib"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for name in ("html", "pareto", "plots"):
        monkeypatch.delattr(f"benchmarks.report.{name}")
    assert write.write(tmp_path, result, None, None) == ["bench.json", "report.md"]
    assert "pip install 'deblurkit[bench]'" in caplog.text
