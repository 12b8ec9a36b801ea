"""The kit as a board's user installs it: from its wheel, on the packages of the board's system."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import device

PROGRAM = Path(sys.executable).with_name("deblurkit")
NUMPY = {(3, 11): "1", (3, 13): "2"}
"""Raspberry Pi OS Bookworm needs numpy below 2, for apt's picamera2."""


def test_the_core_is_the_requested_one() -> None:
    part = {"cortex-a76": "0xd0b", "cortex-a72": "0xd08"}[os.environ["AARCH64_RIG"]]
    assert platform.machine() == "aarch64"
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert f"CPU part\t: {part}\n" in cpuinfo
    features = next(line for line in cpuinfo.splitlines() if line.startswith("Features")).split()
    assert ("asimddp" in features) == (part == "0xd0b"), "8-bit dot products: an A76 has them, an A72 does not"


def test_the_wheel_is_tested_and_not_a_checkout() -> None:
    assert Path(device.__file__).is_relative_to(sys.prefix)
    assert version("deblurkit")
    assert version("numpy").split(".")[0] == NUMPY[sys.version_info[:2]]


@pytest.fixture(scope="module")
def doctor() -> dict[str, Any]:
    """The findings of `deblurkit doctor --json`, which ends with 0."""
    ended = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["ok"] is True
    return {finding["what"]: finding for finding in report["findings"]}


def test_doctor_knows_the_machine_and_its_python(doctor: dict[str, Any]) -> None:
    assert doctor["system"]["state"] == "ok"
    assert doctor["system"]["found"].startswith("aarch64, 64-bit, ")
    assert doctor["system"]["found"].endswith({(3, 11): "(bookworm)", (3, 13): "(trixie)"}[sys.version_info[:2]])
    assert (doctor["python"]["state"], doctor["python"]["found"]) == ("ok", platform.python_version())


def test_doctor_lists_the_installed_packages_and_the_line_that_installs_a_missing_one(doctor: dict[str, Any]) -> None:
    states = {name: doctor[name]["state"] for name in ("numpy", "opencv", "litert", "onnxruntime", "opencv_dnn")}
    assert set(states.values()) == {"ok"}, states
    assert doctor["numpy"]["found"] == f"numpy {version('numpy')}"
    assert (doctor["ncnn"]["state"], doctor["ncnn"]["mend"]) == ("missing", "pip install ncnn")
    assert doctor["camera"]["state"] in ("missing", "ok")


@pytest.mark.parametrize("name", ["nano", "small"])
def test_doctor_confirms_that_the_shipped_bundles_restore_as_they_did_at_export(doctor: dict[str, Any], name: str) -> None:
    finding = doctor[f"bundle {name}"]
    assert finding["state"] == "ok", finding
    assert finding["found"].startswith("int8.tflite on litert: scenes ")
