"""deblurkit bench, on the shipped bundles."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import deblurkit
from benchmarks import cases, combinations, loops
from benchmarks.baselines import BLIND_METHODS
from benchmarks.cli import main
from benchmarks.records import MISSING, OK, from_json
from device import runtimes
from device.errors import UsageError
from device.images.picture import write_picture
from device.images.scenes import dead_leaves

QUICK = ["--size", "64x48", "--seconds", "0.05", "--rounds", "1", "--quiet", "--json", "--bundle", "small"]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, so that no test changes the tuned model of this machine."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def short_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on how long the whole loop is measured."""
    monkeypatch.setattr(loops, "_SECONDS", 1.0)


@pytest.fixture
def few_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the classical methods: each is a process of its own."""
    monkeypatch.setattr(combinations, "BLIND_METHODS", {name: BLIND_METHODS[name] for name in ("nothing", "unsharp mask")})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One small picture, so that scoring is fast."""
    write_picture(tmp_path / "photos" / "a.png", dead_leaves(64, 80, 1))
    return tmp_path / "photos"


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*QUICK, *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_every_file_is_measured_on_every_installed_runtime_beside_the_classical_methods(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = bench(capsys, "--data", str(photos), "--report", str(tmp_path / "report"))
    result = from_json(given, "here")
    ok = {(row.name, row.file, row.runtime) for row in result.rows if row.status == OK}
    assert ("nothing", None, None) in ok
    assert ("unsharp mask", None, None) in ok
    for runtime in ("litert", "onnxruntime"):
        files = {file for _, file, at in ok if at == runtime}
        suffix = "tflite" if runtime == "litert" else "onnx"
        variants = ("fp32", "fp16", "int8", *(("dynamic",) if runtime == "litert" else ()))
        assert files == {f"small_{variant}.{suffix}" for variant in variants}
    assert {row.runtime for row in result.rows if row.kind == "network"} >= {
        name for name in runtimes.RUNTIMES if runtimes.installed(name) and name != "litert_compiled"
    }
    assert all(row.message for row in result.rows if row.status != OK)
    assert result.complete
    assert result.pictures == f"1 pictures of photos, {len(cases.CASES)} cases"
    assert any(row.front for row in result.rows)
    assert result.loops[0].fps > 0
    assert set(result.loops[0].stages_ms) >= {"capture", "to_tensor", "infer", "to_pixels", "encode"}
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written >= {"bench.json", "raw.csv", "report.html", "report.md"}
    assert json.loads((tmp_path / "report/bench.json").read_text()) == given
    with (tmp_path / "report/raw.csv").open() as file:
        frames = sum(1 for _ in csv.DictReader(file))
    assert frames == sum(row.latency.frames for row in result.rows if row.latency)


@pytest.mark.usefixtures("few_methods")
def test_doing_nothing_gains_nothing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = from_json(bench(capsys, "--runtimes", "litert", "--variants", "int8", "--data", str(photos)), "here")
    row = next(r for r in result.rows if r.name == "nothing")
    assert row.gain_db == 0
    assert {r.variant for r in result.rows if r.kind == "network"} == {"int8"}


@pytest.mark.usefixtures("few_methods")
def test_each_number_of_threads_is_a_row(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--runtimes", "litert", "--variants", "int8", "--threads", "1", "2", "--data", str(photos)]
    result = from_json(bench(capsys, *words), "here")
    assert [r.threads for r in result.rows if r.kind == "network"] == [1, 2]


@pytest.mark.usefixtures("few_methods")
def test_a_requested_runtime_that_is_missing_is_a_row_with_its_install_command(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if runtimes.installed("tflite_runtime"):
        pytest.skip("tflite-runtime is installed here")
    words = ["--runtimes", "litert", "tflite_runtime", "--variants", "int8", "fp32", "--data", str(photos)]
    result = from_json(bench(capsys, *words), "here")
    missing = [row for row in result.rows if row.runtime == "tflite_runtime"]
    assert [row.status for row in missing] == [MISSING, MISSING]
    assert all("pip install tflite-runtime" in row.message for row in missing)


@pytest.mark.usefixtures("few_methods")
def test_without_a_runtime_the_exit_code_is_4_and_the_message_says_what_to_install(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if runtimes.installed("tflite_runtime"):
        pytest.skip("tflite-runtime is installed here")
    assert deblurkit.main(["bench", *QUICK, "--data", str(photos), "--runtimes", "tflite_runtime"]) == 4
    said = capsys.readouterr()
    assert "pip install ai-edge-litert" in said.err
    rows = json.loads(said.out.splitlines()[-1])["rows"]
    assert {row["status"] for row in rows if row["kind"] == "network"} == {MISSING}
    assert {row["status"] for row in rows if row["kind"] == "classical"} == {OK}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "huge"], ["--size", "4x4"], ["--threads", "0"], ["--pictures", "0"], ["--rounds", "0"], ["--minutes", "-1"],
        ["--runtimes", "litertt"], ["--variants", "int9"], ["--suite", "sustained", "--pick"], ["--bundle", "small"],
        ["--python", "no/such/python"],
    ],
)  # fmt: skip
def test_invalid_arguments_are_rejected(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        main([*QUICK, *arguments])


def test_an_unknown_bundle_ends_with_4_and_an_empty_folder_with_3(tmp_path: Path) -> None:
    assert deblurkit.main(["bench", "--quiet", "--bundle", "smal"]) == 4
    (tmp_path / "empty").mkdir()
    assert deblurkit.main(["bench", "--quiet", "--data", str(tmp_path / "empty")]) == 3


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, photos: Path) -> None:
    # As on a terminal: what the background of a script starts inherits that Ctrl-C is ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "deblurkit", "bench", "--json", "--size", "64x48"]
    command += [
        "--seconds",
        "0.2",
        "--bundle",
        "nano",
        "--runtimes",
        "litert",
        "--variants",
        "int8",
        "--data",
        str(photos),
        "--report",
        str(tmp_path / "r"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    seen = ""
    while "int8" not in seen and process.poll() is None:
        seen += process.stderr.readline()
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    result = from_json(json.loads(out.splitlines()[-1]), "here")
    assert process.returncode == 130
    assert not result.complete
    assert OK in {row.status for row in result.rows}
    assert json.loads((tmp_path / "r" / "bench.json").read_text())["complete"] is False


def test_sustained_load_gives_a_curve_and_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--suite", "sustained", "--minutes", "0.1", "--size", "64x48", "--bundle", "nano", "--quiet", "--json"]
    assert main([*words, "--report", str(tmp_path / "report")]) == 0
    result = from_json(json.loads(capsys.readouterr().out.splitlines()[-1]), "here")
    assert not result.rows
    assert result.sustained[0].steady_fps > 0
    assert "nano int8.tflite" in result.sustained[0].label
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.usefixtures("few_methods")
def test_the_pick_is_saved_for_run_and_impossible_limits_end_with_6(
    own_state: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--runtimes", "litert", "--variants", "fp32", "int8", "--data", str(photos), "--pick"]
    result = bench(capsys, *words)
    kept = json.loads((own_state / "choice.json").read_text())
    assert kept["runtime"] == "litert"
    assert result["pick"]["variant"] == kept["variant"]
    assert deblurkit.main(["bench", *QUICK, *words, "--min-gain", "30"]) == 6
    assert json.loads((own_state / "choice.json").read_text()) == kept
    (own_state / "choice.json").write_text("{")
    assert bench(capsys, *words)["pick"]["runtime"] == "litert"
    assert json.loads((own_state / "choice.json").read_text())["runtime"] == "litert"


def test_a_board_without_matplotlib_and_keras_gets_its_pick(tmp_path: Path, photos: Path) -> None:
    """On the device floor the result is printed, saved and written; only the page with its plots is left out."""
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"matplotlib", "tqdm", "keras", "tensorflow", "train", "export", "skimage", "scipy", "onnx"}:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)
sys.meta_path.insert(0, Block())
import deblurkit
sys.exit(deblurkit.main(sys.argv[1:]))
"""
    words = [*QUICK, "--data", str(photos), "--runtimes", "litert", "--variants", "int8", "--pick"]
    words += ["--report", str(tmp_path / "report")]
    ended = subprocess.run(
        [sys.executable, "-c", code, "bench", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "pip install 'deblurkit[bench]'" in ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["pick"]["runtime"] == "litert"
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"bench.json", "report.md", "raw.csv"}
    assert (tmp_path / "state" / "choice.json").is_file()


@pytest.mark.usefixtures("few_methods")
def test_the_measurements_survive_a_loop_that_fails(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLURKIT_NO_SUCH_SETTING", "1")  # `run` refuses it
    result = from_json(bench(capsys, "--runtimes", "litert", "--variants", "int8", "fp32", "--data", str(photos)), "here")
    assert {row.status for row in result.rows if row.kind == "network"} == {OK}
    assert result.pick is not None
    assert not result.loops
    assert any("whole loop could not be measured" in doubt for doubt in result.doubts)


@pytest.mark.usefixtures("few_methods")
def test_a_budget_too_small_for_three_rounds_gives_two_rounds_and_a_doubt(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--minutes", "0.001", "--size", "64x48", "--bundle", "nano", "--runtimes", "litert", "--variants", "int8"]
    main([*words, "--data", str(photos), "--quiet", "--json"])
    result = from_json(json.loads(capsys.readouterr().out.splitlines()[-1]), "here")
    assert result.rounds == 2
    assert {row.rounds for row in result.rows if row.status == OK} == {2}
    assert any("2 rounds instead of 3" in doubt and "--minutes" in doubt for doubt in result.doubts)
