"""deblurkit bench, on the shipped bundle."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import deblurkit
from benchmarks import quality
from benchmarks.baselines import nothing, unsharp
from benchmarks.cli import main
from benchmarks.environment import environment, warnings
from benchmarks.measure import Job, Workload, measure
from device import runtimes
from device.errors import UsageError
from device.picture import write_picture
from device.quality import psnr
from device.scene import dead_leaves

QUICK = ["--size", "64x48", "--seconds", "0.05", "--quiet", "--json"]


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main([*QUICK, *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_every_file_is_measured_on_every_installed_runtime_beside_the_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = bench(capsys, "--report", str(tmp_path / "report"))
    rows = {(row["name"], row["variant"], row["runtime"]): row for row in result["rows"]}
    assert ("nothing", None, None) in rows
    assert ("unsharp mask", None, None) in rows
    for runtime in runtimes.RUNTIMES:
        if runtimes.installed(runtime):
            variants = {"fp32", "fp16", "int8"} | ({"dynamic"} if "tflite" in runtimes.formats(runtime) else set())
            assert {v for n, v, r in rows if r == runtime and n == "small"} == variants
    row = rows["small", "dynamic", "litert"]
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert row["peak_rss_mib"] > 20
    assert row["sha256"]
    assert result["complete"]
    assert json.loads((tmp_path / "report/bench.json").read_text()) == result
    plot = cv2.imread(str(tmp_path / "report/quality_latency.png"))
    assert plot is not None
    assert plot.std() > 5


def test_doing_nothing_gains_nothing_and_leaves_sharp_pictures_equal(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "--runtimes", "litert")
    row = next(r for r in result["rows"] if r["name"] == "nothing")
    assert row["gain_db"] == 0
    assert row["quality"]["sharp-in"]["psnr_db"] == 99


def test_given_pictures_are_what_quality_is_measured_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        write_picture(tmp_path / f"{seed}.png", dead_leaves(64, 80, seed))
    result = bench(capsys, "--runtimes", "litert", "--data", str(tmp_path), "--pictures", "2")
    assert result["pictures"].startswith("2 pictures of")


def test_a_runtime_that_is_asked_for_and_missing_is_a_row_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtimes, "installed", lambda name: name != "tflite_runtime")
    result = bench(capsys, "--runtimes", "tflite_runtime")
    errors = [row["error"] for row in result["rows"] if row["runtime"] == "tflite_runtime"]
    assert len(errors) == 4
    assert all("pip install tflite-runtime" in e for e in errors)


def test_a_bundle_with_an_altered_file_is_a_row_with_its_message(tmp_path: Path) -> None:
    workload = Workload(dead_leaves(32, 32), [])
    (tmp_path / "workload").write_bytes(pickle.dumps(workload))
    row = measure(Job("broken", str(tmp_path), "int8", "litert", 1, 0.05), tmp_path / "workload")
    assert "manifest.json" in row["error"]


@pytest.mark.parametrize("arguments", [["--size", "huge"], ["--size", "4x4"], ["--threads", "0"], ["--pictures", "0"]])
def test_arguments_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        main([*QUICK, *arguments])


def test_an_unknown_bundle_ends_with_four_and_an_empty_folder_with_three(tmp_path: Path) -> None:
    assert deblurkit.main(["bench", "--quiet", "--bundle", "smal"]) == 4
    assert deblurkit.main(["bench", "--quiet", "--data", str(tmp_path)]) == 3


def test_the_cases_are_the_same_bytes_each_time() -> None:
    sharp = [dead_leaves(48, 48, 5)]
    first, second = quality.gaussian_cases(sharp), quality.gaussian_cases(sharp)
    assert all(np.array_equal(a.blurred[0], b.blurred[0]) for a, b in zip(first, second, strict=True))
    before = [psnr(case.blurred[0], sharp[0]) for case in first[:-1]]
    assert before == sorted(before, reverse=True)


def test_the_unsharp_mask_sharpens_a_blurred_picture_and_nothing_does_nothing() -> None:
    case = quality.gaussian_cases([dead_leaves(96, 96, 3)])[1]
    assert psnr(unsharp(case.blurred[0]), case.sharp[0]) > psnr(case.blurred[0], case.sharp[0])
    assert np.array_equal(nothing(case.sharp[0]), case.sharp[0])


def test_the_environment_names_processor_versions_and_reasons_for_distrust() -> None:
    found = environment()
    assert found["cores"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    busy = {**found, "load_1min": 3.0, "governor": "powersave"}
    assert len(warnings(busy)) == 2
    assert warnings({**found, "load_1min": 0.0, "governor": "performance"}) == []


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    # As on a terminal: what the background of a script starts inherits that Ctrl-C is ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "deblurkit", "bench"]
    command += ["--json", "--size", "64x48", "--seconds", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    seen = ""
    while "4/" not in seen and process.poll() is None:
        seen += process.stderr.readline()
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    result = json.loads(out.splitlines()[-1])
    assert process.returncode == 130
    assert not result["complete"]
    assert 2 <= len(result["rows"]) < 12
