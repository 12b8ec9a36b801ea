"""deblurkit bench results: the folder of contributed results, its page, and the schema's documentation."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_parts import BROWSER, Open
from result_parts import result, row, rows, times

from benchmarks.best_at_rate import best_at
from benchmarks.boards import plausible
from benchmarks.boards.contributed import add, collect, local_names, main, short_command, stem
from benchmarks.boards.page import page
from benchmarks.boards.summary import measured_networks
from benchmarks.records import Estimate, PictureParity, Result, Row, as_json, from_json
from device.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[3]
RESULTS, SCRIPT = ROOT / "results", ROOT / "scripts/results_schema.py"
TAKEN = "raspberry-pi-5-model-b-rev-1-0-2026-11-20.json"


def bare(**changes: Any) -> Result:
    """A result that the folder accepts."""
    return result(examples=(), **changes)


def virtual() -> Result:
    machine = replace(result().machine, board="Virtual <b>PC</b> & co", kind="virtual", cpu="Some Xeon", hardware_hash="beef")
    return bare(machine=machine, started="2026-11-21T10:00:00+00:00")


def written(path: Path, content: Result) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(content)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two boards and a README."""
    made = tmp_path / "results"
    written(made / TAKEN, bare())
    written(made / f"{stem(virtual())}.json", virtual())
    (made / "README.md").write_text("Boards.\n")
    return made


@pytest.mark.skipif(not RESULTS.is_dir(), reason="results/ lies in the repository only, not in the source package")
def test_every_result_in_the_repository_is_acceptable() -> None:
    taken, wrong = collect(RESULTS)
    assert wrong == []
    assert len(taken) == len(list(RESULTS.glob("*.json")))


def test_the_folder_is_listed_with_a_line_for_each_board(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--quiet"]) == 0
    header, pi, other = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["board", "cpu"]
    assert pi.startswith("Raspberry Pi 5 Model B Rev 1.0")
    assert "small int8.tflite, litert, 1 thread: 20.0 ms, +1.50 dB" in pi
    assert "nano int8.tflite, litert, 1 thread: 14.0 ms, +0.90 dB" in pi
    assert "virtual" in other


def test_a_missing_folder_is_an_error_and_an_empty_one_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("none yet")
    assert main([str(tmp_path), "--quiet"]) == 0
    assert capsys.readouterr().out == "no results yet\n"
    with pytest.raises(DataError, match="no such folder"):
        main([str(tmp_path / "none")])


def test_the_best_at_a_rate_gains_most_within_its_time_and_is_the_faster_of_two_equals() -> None:
    networks = measured_networks(result())
    best = best_at(networks, 30)
    assert best is not None
    assert (best.name, best.runtime) == ("small", "litert")
    fast = best_at(networks, 50)
    assert fast is not None
    assert fast.name == "nano"
    assert best_at(networks, 60) is None  # 15.4 ms is within the 16.7 ms of a frame, but leaves less than 15 % of them


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"machine": replace(result().machine, kind="emulated")}, "emulated machine: its times say nothing"),
        ({"machine": replace(result().machine, kind="imagined")}, "kind 'imagined'; expected real or virtual"),
        ({"machine": replace(result().machine, cpu=" ")}, "no processor name"),
        ({"complete": False}, "partial"),
        ({"doubts": ("the machine was busy",)}, "it has a doubt (the machine was busy)"),
        ({"suite": "sustained"}, "suite 'sustained'; expected quick or full"),
        ({"rounds": 1}, "1 rounds; expected 3 or more"),
        ({"size_wh": (640,)}, "expected width and height"),
        ({"examples": result().examples}, "it contains pictures"),
        ({"started": "2026-11-20T10:00:00"}, "with the zone"),
        ({"started": "yesterday"}, "with the zone"),
        ({"started": "1970-01-01T00:03:00+00:00"}, "clock is wrong"),
        ({"started": "2999-01-01T00:00:00+00:00"}, "clock is wrong"),
        ({"pick": None, "rows": rows()[4:]}, "no network was measured"),
        ({"rows": rows()[1:]}, "is not one of its rows"),
        ({"rows": (*rows(), row())}, "two rows of small int8.tflite, litert, 1 thread"),
        ({"pictures": "x" * 3000}, "longer than 2000"),
        ({"pictures": "8 pictures\x1b[31m"}, "control characters"),
        ({"seconds": float("inf")}, "seconds is inf"),
    ],
)
def test_an_unacceptable_result_is_rejected_with_the_reason(changes: dict[str, Any], words: str) -> None:
    found = plausible.problems(replace(bare(), **changes))
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latency": times(-5.0)}, "not above 0"),
        ({"latency": times(0.0)}, "not above 0"),
        ({"latency": replace(times(20.0), p95_ms=Estimate(15.0, 14.0, 16.0))}, "p50 20.0, p95 15.0"),
        ({"latency": replace(times(20.0), p50_ms=Estimate(20.0, 21.0, 22.0))}, "is outside its interval"),
        ({"latency": replace(times(20.0), rounds_p50_ms=(30.0, 30.0, 31.0))}, "outside the medians of its rounds"),
        ({"latency": replace(times(20.0), rounds_p50_ms=(20.0,))}, "expected 3 of both"),
        ({"latency": None}, "ok without times"),
        ({"load_ms": None}, "load_ms is None"),
        ({"peak_rss_mib": -1.0}, "peak_rss_mib is -1.0"),
        ({"infer_share": 1.4}, "infer_share is 1.40"),
        ({"agreement": None}, "not compared with the reference"),
        ({"agreement": PictureParity("fp32", 20.0, 90, 42.0)}, "parity with the reference is 20.0 dB"),
        ({"gain_db": 55.0}, "gain_db is 55.0"),
        ({"quality": {"gauss-1.6": replace(rows()[0].quality["gauss-1.6"], psnr_db=120.0)}}, "out of range"),
        ({"kind": "magic"}, "kind 'magic'"),
        ({"status": "failed"}, "failed without a message"),
    ],
)
def test_an_impossible_row_is_rejected_by_name(changes: dict[str, Any], words: str) -> None:
    given = bare(pick=None, rows=(*rows()[1:], row(**changes)))
    found = plausible.problems(given)
    assert any(words in problem and problem.startswith(given.rows[-1].label) for problem in found), found


def test_results_of_a_board_and_of_a_virtual_machine_are_accepted() -> None:
    assert plausible.problems(bare()) == []
    assert plausible.problems(virtual()) == []


@pytest.mark.parametrize(
    "text",
    [
        "/home/alice/model",
        "no such file: '/Users/alice/a.py'",
        "C:\\Users\\alice\\x",
        "~/photos/1",
        "~alice/x",
        "ask alice@example.org",
        "of 00:1b:44:11:3a:b7",
    ],
)
def test_private_data_is_rejected_wherever_it_is(text: str) -> None:
    for given in (
        bare(command=text),
        bare(rows=(*rows(), Row("x", "classical", "failed", message=text))),
        bare(rows=(*rows()[1:], row(versions={text: "1"}))),
    ):
        assert any(" contains " in problem for problem in plausible.problems(given))


@pytest.mark.parametrize(
    "text",
    ["deblurkit bench --size 640x480", "12 ms/frame, 3 / 4 of it", "not installed; pip install 'openvino>=2024.1'", "motion-17"],
)
def test_other_text_is_accepted_unchanged(text: str) -> None:
    assert plausible.without_paths(text) == text
    assert plausible.problems(bare(rows=(*rows(), Row("x", "classical", "failed", message=text)))) == []


def test_names_of_the_machine_and_its_user_are_rejected_when_a_result_is_added() -> None:
    assert plausible.problems(bare(pictures="8 pictures of alice"), ["alice"])
    assert plausible.problems(bare(pictures="8 pictures of malice"), ["alice"]) == []


def test_names_that_thousands_of_machines_have_are_not_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "raspberrypi")
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setenv("HOME", "/home/alice")
    assert local_names() == ["alice"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("deblurkit bench --data /home/alice/photos --fps 30", "deblurkit bench --data photos --fps 30"),
        ("deblurkit bench --data=/home/alice/photos", "deblurkit bench --data=photos"),
        ("deblurkit bench --data '/home/alice/my photos'", "deblurkit bench --data 'my photos'"),
        ("deblurkit bench --report out/alice/bench/", "deblurkit bench --report bench"),
        ("deblurkit bench --data /home/alice", "deblurkit bench --data HOME"),
        ("deblurkit bench --data ~/x", "deblurkit bench --data x"),
        ("deblurkit bench --suite quick", "deblurkit bench --suite quick"),
        ("deblurkit bench 'unclosed /home/alice/x", "deblurkit bench 'unclosed x"),
    ],
)
def test_a_path_in_the_command_is_replaced_by_its_last_part(command: str, expected: str) -> None:
    assert short_command(command) == expected


def test_adding_removes_pictures_and_paths_and_uses_the_standard_name(tmp_path: Path) -> None:
    failed = Row(
        "small", "network", "failed", "fp16", "a.onnx", "ncnn", message="/home/bob/x/lib.py: no, see C:\\Users\\bob\\log"
    )
    given = result(command="deblurkit bench --report /home/bob/out", rows=(*rows(), failed))
    source = written(tmp_path / "bench.json", given)
    assert main(["--add", str(source), str(tmp_path / "results"), "--quiet"]) == 0
    text = (tmp_path / "results" / TAKEN).read_text()
    assert "bob" not in text
    assert "aGVsbG8=" not in text
    kept = from_json(json.loads(text), "kept")
    assert kept.command == "deblurkit bench --report out"
    assert kept.rows[-1].message == "lib.py: no, see log"
    assert kept.rows[:-1] == given.rows[:-1]
    assert kept.machine == given.machine


def test_adding_twice_is_rejected_and_a_second_run_of_the_day_gets_a_number(tmp_path: Path) -> None:
    first = add(written(tmp_path / "a.json", result()), tmp_path / "results")
    with pytest.raises(DataError, match="already there"):
        add(tmp_path / "a.json", tmp_path / "results")
    later = written(tmp_path / "b.json", result(started="2026-11-20T18:00:00+00:00"))
    assert add(later, tmp_path / "results").name == f"{first.stem}-2.json"
    taken, wrong = collect(tmp_path / "results")
    assert (len(taken), wrong) == (2, [])


def test_a_rejected_result_leaves_nothing_behind(tmp_path: Path) -> None:
    source = written(tmp_path / "bench.json", result(complete=False, doubts=("busy",)))
    with pytest.raises(DataError, match=r"(?s)partial.*busy"):
        main(["--add", str(source), str(tmp_path / "results")])
    assert not (tmp_path / "results").exists()


def test_all_problems_of_a_folder_are_reported_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder / "my-board.json", bare(started="2026-11-22T10:00:00+00:00"))
    written(folder / "raspberry-pi-5-model-b-rev-1-0-2026-11-20-2.json", bare())
    (folder / "half.json").write_text('{"schema": 2')
    (folder / "older.json").write_text('{"schema": 1}')
    (folder / "huge.json").write_bytes(b" " * (4 * 2**20 + 1))
    (folder / "run.sh").write_text("echo")
    os.symlink("/etc/hostname", folder / "link.json")
    (folder / ".hidden").write_text("")
    with pytest.raises(DataError) as raised:
        main([str(folder), "--json", "--quiet", "--report", str(folder.parent / "page.html")])
    said = json.loads(capsys.readouterr().out)
    for words in (
        "my-board.json: expected the name raspberry-pi-5-model-b-rev-1-0-2026-11-22.json", "the same result as",
        "half.json: not JSON", "schema 1, this version reads 2", "larger than 4 MiB",
        "run.sh: expected only", "link.json: expected only",
    ):  # fmt: skip
        assert words in str(raised.value)
    assert len(said["problems"]) == 7
    assert list(said["results"]) == [TAKEN, f"{stem(virtual())}.json"]
    assert not (folder.parent / "page.html").exists()


def test_the_page_loads_nothing_from_outside_and_escapes_everything(folder: Path) -> None:
    path = folder.parent / "out" / "boards.html"
    assert main([str(folder), "--report", str(path), "--quiet"]) == 0
    text = path.read_text()
    assert "http" not in text.replace("&amp;", "")
    assert "src=" not in text
    assert "url(" not in text.replace("url(#", "")
    assert "<b>PC" not in text
    assert "Virtual &lt;b&gt;PC&lt;/b&gt; &amp; co" in text
    assert "not installed; pip install openvino" in text
    assert text.count("<svg") == 1
    assert "$" not in text  # no tick of an axis as a formula
    assert page({}).count("No results yet.") == 1


def test_boards_that_were_scored_on_different_pictures_are_plotted_separately() -> None:
    other = replace(virtual(), pictures="24 pictures of kodak, 12 cases")
    text = page({"a.json": bare(), "b.json": other})
    assert text.count("<svg") == 2
    assert "quality on 24 pictures of kodak, 12 cases" in text


def test_the_same_results_give_the_same_page() -> None:
    assert page({"a.json": bare(), "b.json": virtual()}) == page({"a.json": bare(), "b.json": virtual()})


def test_the_name_of_a_page_must_end_in_html(folder: Path) -> None:
    with pytest.raises(UsageError, match="expected the name of a page"):
        main([str(folder), "--report", str(folder / "x.json")])


def printed(*arguments: str) -> str:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=True).stdout


def test_the_document_contains_the_schema_of_the_records() -> None:
    text = (ROOT / "docs/results.md").read_text()
    kept = text.partition("<!-- printed by scripts/results_schema.py -->")[2].partition("<!-- end of what is printed -->")[0]
    assert kept.strip() == printed().strip(), "run scripts/results_schema.py --write"


def test_the_json_schema_is_that_of_the_records_and_has_every_key_of_a_result() -> None:
    schema = json.loads(printed("--json"))
    assert json.loads((ROOT / "benchmarks/bench.schema.json").read_text()) == schema, "run scripts/results_schema.py --write"
    data = json.loads(json.dumps(as_json(result())))
    visited = set(seen(schema, schema, data))
    assert visited == set(schema["$defs"])


def seen(schema: dict[str, Any], part: dict[str, Any], value: Any) -> Iterator[str]:
    """Names of the definitions that the value was checked against; fails if it does not fit."""
    types = {
        "string": str,
        "integer": int,
        "number": float | int,
        "boolean": bool,
        "array": list,
        "object": dict,
        "null": type(None),
    }
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        yield name
        part = schema["$defs"][name]
    if "anyOf" in part:
        part = next(p for p in part["anyOf"] if (p.get("type") == "null") == (value is None))
        yield from seen(schema, part, value)
        return
    assert isinstance(value, types[part["type"]]), (part, value)
    if part["type"] == "array":
        for item in value:
            yield from seen(schema, part["items"], item)
    elif "properties" in part:
        assert set(part["required"]) <= set(value) <= set(part["properties"])
        for key, item in value.items():
            yield from seen(schema, part["properties"][key], item)
    elif part["type"] == "object":
        for item in value.values():
            yield from seen(schema, part["additionalProperties"], item)


class TestInABrowser:
    """The page in a browser."""

    pytestmark = BROWSER

    @pytest.mark.parametrize("width", [390, 1400])
    def test_the_page_fits_the_screen_loads_nothing_and_opens_a_board(self, folder: Path, visit: Open, width: int) -> None:
        path = folder.parent / "boards.html"
        main([str(folder), "--report", str(path), "--quiet"])
        watched = visit(path.as_uri(), viewport={"width": width, "height": 844})
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        watched.page.locator("summary", has_text="Raspberry Pi 5").click()
        watched.page.locator("details[open] td", has_text="unsharp mask").wait_for()
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        assert watched.page.locator("figure svg").bounding_box()["width"] > 0.8 * min(width, 700)
        assert watched.asked == [path.as_uri()]
        assert watched.complaints == []
