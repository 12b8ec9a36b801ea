"""Rounds over all combinations in fresh processes, and their rows; also of combinations that fail."""

import csv
import json
import os
import shutil
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import combinations, rounds, workload
from benchmarks.combinations import Interpreter, Planned
from benchmarks.examples import examples
from benchmarks.records import FAILED, MISSING, OK, WRONG, Row
from benchmarks.rounds import Measurements
from benchmarks.rows import rows
from device.bundle.manifest import file_facts
from device.bundle.open import Bundle, open_bundle
from device.errors import UsageError

HERE = Interpreter(sys.executable, frozenset({"litert", "onnxruntime", "opencv_dnn"}))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workload of few pictures: the tests are about who measures, not about what."""
    whole, few = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("few")
    workload.write(whole, (96, 64), None, 1)
    index = json.loads((whole / "index.json").read_text())
    kept = [entry for entry in index if entry["name"] == "leaves-11"]
    for new, entry in enumerate(kept):
        for kind in ("blurred", "sharp"):
            os.replace(whole / f"{index.index(entry)}-{kind}.npy", few / f"{new}-{kind}.npy")
    (few / "index.json").write_text(json.dumps(kept))
    for path in whole.iterdir():
        if not path.name.endswith(("-blurred.npy", "-sharp.npy", "index.json")):
            os.replace(path, few / path.name)
    return few


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of that workload, for the answers of the processes."""
    return Path(shutil.copytree(written, tmp_path / "work"))


def planned(bundle: Bundle, *labels: str, interpreter: Interpreter = HERE) -> list[Planned]:
    """The files with these labels on LiteRT and ONNX Runtime."""
    everything = combinations.plan([bundle], ["litert", "onnxruntime"], [interpreter], (1,), full=False)
    return [p for p in everything if p.row.file and p.row.file.removeprefix(f"{bundle.name}_") in labels]


def measured(plans: list[Planned], folder: Path, how_often: int = 1) -> tuple[Measurements, list[Row]]:
    found = rounds.run(plans, folder, rounds=how_often, seconds=0.05, budget_s=60, began_s=time.monotonic())
    bundles = {p.job.bundle for p in plans if p.job.bundle}
    files = {a.sha256: a for b in bundles for a in open_bundle(b).manifest.artifacts}
    return found, rows(found, folder, files)


def copied(bundle: Bundle, to: Path) -> Path:
    shutil.copytree(bundle.folder, to)
    return to


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def small() -> Bundle:
    return open_bundle("small")


def test_rounds_go_through_all_combinations_before_any_is_measured_again(small: Bundle, folder: Path) -> None:
    found, made = measured(planned(small, "int8.tflite", "fp32.tflite"), folder, 3)
    began = [[m.before["at_s"] for m in results if m.before] for results in found.results]
    assert began[0][0] < began[1][0] < began[0][1] < began[1][1] < began[0][2] < began[1][2]
    assert found.complete
    assert all(row.status == OK and row.rounds == 3 for row in made)
    assert all(row.latency and len(row.latency.rounds_p50_ms) == 3 for row in made)


def test_without_time_there_are_two_rounds_but_never_fewer(small: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MAX_S", rounds.MIN_S)
    plans = planned(small, "int8.tflite")
    short = rounds.run(plans, folder, rounds=5, seconds=None, budget_s=0.1, began_s=time.monotonic())
    assert (short.rounds, len(short.results[0]), short.complete) == (2, 2, True)
    long = rounds.run(plans, folder, rounds=3, seconds=None, budget_s=60, began_s=time.monotonic())
    assert (long.rounds, len(long.results[0])) == (3, 3)


def test_with_seconds_there_is_no_budget(small: Bundle, folder: Path) -> None:
    asked = rounds.run(planned(small, "int8.tflite"), folder, rounds=3, seconds=0.05, budget_s=0.1, began_s=time.monotonic())
    assert asked.rounds == 3


def test_a_row_has_times_memory_quality_parity_and_the_state_of_the_machine(small: Bundle, folder: Path) -> None:
    _, made = measured(planned(small, "fp32.tflite", "int8.tflite", "int8.onnx"), folder)
    by_file = {row.file: row for row in made}
    row = by_file["small_int8.tflite"]
    assert row.latency is not None
    assert 0 < row.latency.p50_ms.value <= row.latency.p95_ms.value <= row.latency.p99_ms.value
    assert row.load_ms is not None
    assert row.peak_rss_mib is not None
    assert row.peak_rss_mib > 30
    assert row.infer_share == row.stages_ms["infer"] / row.latency.p50_ms.value > 0
    assert set(row.quality) >= {"gauss-2.0", "motion-9", "sharp-jpeg"}
    assert row.quality["gauss-2.0"].gain_db > 0.5
    assert row.agreement is not None
    assert row.agreement.reference == "small_fp32.tflite on litert"
    assert row.agreement.psnr_db > row.agreement.needed_db > 30
    assert by_file["small_fp32.tflite"].agreement
    assert by_file["small_fp32.tflite"].agreement.psnr_db == 99
    assert row.versions["ai-edge-litert"]
    assert row.bundle_hash == file_facts(small.folder / "manifest.json")["sha256"]
    assert row.before is not None
    assert row.after is not None
    assert row.before.at_s < row.after.at_s


def test_pictures_are_scored_once_for_all_thread_counts(small: Bundle, folder: Path) -> None:
    plans = [p for p in combinations.plan([small], ["litert"], [HERE], (1, 2), full=False) if p.row.file == "small_int8.tflite"]
    found, made = measured(plans, folder, 2)
    assert sum(bool(m.scores) for results in found.results for m in results) == 1
    assert made[0].quality == made[1].quality
    assert made[0].threads != made[1].threads


def test_every_timed_frame_is_kept(small: Bundle, folder: Path, tmp_path: Path) -> None:
    found, made = measured(planned(small, "fp32.tflite"), folder, 2)
    rounds.write_raw(found, tmp_path / "raw.csv")
    with (tmp_path / "raw.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert made[0].latency is not None
    assert len(lines) == made[0].latency.frames
    assert {line["round"] for line in lines} == {"0", "1"}
    assert all(float(line["ms"]) > 0 for line in lines)


def test_a_fast_wrong_output_is_not_a_result(small: Bundle, folder: Path, tmp_path: Path) -> None:
    """The int8 file of another network under the right name and hash: it loads, runs and makes nice pictures."""
    spoilt = copied(small, tmp_path / "spoilt")
    other = open_bundle("nano")
    shutil.copy(other.folder / "nano_int8.tflite", spoilt / "small_int8.tflite")
    content = json.loads((spoilt / "manifest.json").read_text())
    altered = file_facts(spoilt / "small_int8.tflite")
    content["artifacts"] = [a | altered if a["file"] == altered["file"] else a for a in content["artifacts"]]
    (spoilt / "manifest.json").write_text(json.dumps(content))
    _, made = measured(planned(open_bundle(spoilt), "fp32.tflite", "int8.tflite"), folder)
    by_file = {row.file: row for row in made}
    wrong = by_file["small_int8.tflite"]
    assert by_file["small_fp32.tflite"].status == OK
    assert wrong.status == WRONG
    assert wrong.latency is None
    assert "wrong output" in wrong.message
    assert wrong.agreement
    assert wrong.agreement.psnr_db < wrong.agreement.needed_db


def test_the_intact_files_of_a_damaged_bundle_are_measured(small: Bundle, folder: Path, tmp_path: Path) -> None:
    half = copied(small, tmp_path / "half")
    (half / "small_int8.tflite").unlink()
    (half / "small_fp16.tflite").write_bytes((half / "small_fp16.tflite").read_bytes()[:5000])
    _, made = measured(planned(open_bundle(half), "fp32.tflite", "fp16.tflite", "int8.tflite"), folder)
    status = {row.file: (row.status, row.message) for row in made}
    assert status["small_fp32.tflite"][0] == OK
    assert status["small_int8.tflite"][0] == FAILED
    assert "small_int8.tflite: No such file" in status["small_int8.tflite"][1]
    assert "5000 bytes" in status["small_fp16.tflite"][1]


def test_a_missing_runtime_is_a_row_with_its_install_command(small: Bundle, folder: Path) -> None:
    bare = Interpreter(sys.executable, frozenset({"litert"}))
    _, made = measured(planned(small, "int8.onnx", interpreter=bare), folder)
    assert [row.status for row in made] == [MISSING]
    assert "pip install onnxruntime" in made[0].message


def test_a_killed_process_becomes_a_failed_row(small: Bundle, folder: Path, tmp_path: Path) -> None:
    plans = planned(small, "fp32.tflite", "int8.tflite")
    plans[0] = replace(plans[0], interpreter=program(tmp_path / "killed", "kill -9 $$"))
    _, made = measured(plans, folder)
    status = {row.file: (row.status, row.message) for row in made}
    assert (FAILED, True) in [(s, "killed by signal 9" in message) for s, message in status.values()]
    assert OK in [s for s, _ in status.values()]


def test_a_process_without_enough_memory_becomes_a_failed_row_with_a_message(small: Bundle, folder: Path, tmp_path: Path) -> None:
    plans = planned(small, "fp32.tflite")
    narrow = program(tmp_path / "narrow", f'ulimit -v 260000; exec {sys.executable} "$@"')
    _, made = measured([replace(plans[0], interpreter=narrow)], folder)
    assert made[0].status == FAILED
    assert made[0].message


def test_an_interpreter_without_deblurkit_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="with deblurkit installed"):
        combinations.interpreter(str(tmp_path / "python"))
    with pytest.raises(UsageError, match="setup-legacy"):
        combinations.interpreter(program(tmp_path / "python", "exit 1"))


def test_examples_show_the_chosen_combinations(small: Bundle, folder: Path) -> None:
    found, _ = measured(planned(small, "fp32.tflite", "int8.tflite"), folder)
    shown = examples(found, folder, [1])
    labels = [picture.label for picture in shown if picture.case == "gauss-2.0"]
    assert labels == ["input", found.planned[1].row.label, "ground truth"]
    restored = next(p for p in shown if p.label == found.planned[1].row.label and p.case == "gauss-2.0")
    came = next(p for p in shown if p.label == "input" and p.case == "gauss-2.0")
    assert restored.psnr_db > came.psnr_db
