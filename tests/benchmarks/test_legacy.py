"""tflite-runtime in an environment of its own (make setup-legacy): Python 3.11, numpy 1, the OpenCV that accepts it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import combinations, workload
from benchmarks.measure import Job, measure
from device.bundle.open import open_bundle, shipped
from device.images.frame import Pixels
from device.images.quality import psnr
from device.restore.restorer import Restorer

ROOT = Path(__file__).resolve().parents[2]
LEGACY = ROOT / ".venv-legacy" / "bin" / "python"
needs_legacy = pytest.mark.skipif(not LEGACY.is_file(), reason=".venv-legacy is not there: make setup-legacy")

RESTORE = """
import sys
import numpy as np
from device.bundle.open import open_bundle
from device.restore.restorer import Restorer
picture, name, runtime, out = np.load(sys.argv[1]), *sys.argv[2:5]
bundle = open_bundle(name)
found = {}
for artifact in bundle.manifest.artifacts:
    if artifact.format == "tflite":
        with Restorer(bundle, artifact.variant, runtime, 1) as restorer:
            found[artifact.variant] = restorer.restore(picture)
np.savez(out, **found)
"""


@pytest.fixture
def blurred(tmp_path: Path) -> Pixels:
    """(48, 64, 3), drawn by this interpreter: OpenCV 4 and 5 draw letters with different fonts."""
    workload.write_frame(tmp_path, (64, 48))
    return workload.frame(tmp_path)


@needs_legacy
@pytest.mark.parametrize("name", shipped())
def test_tflite_runtime_restores_all_tflite_files_nearly_like_litert(name: str, blurred: Pixels, tmp_path: Path) -> None:
    line = [str(LEGACY), "-c", RESTORE, str(tmp_path / "frame.npy"), name, "tflite_runtime", str(tmp_path / "out.npz")]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    found = np.load(tmp_path / "out.npz")
    assert set(found.files) == {"fp32", "fp16", "dynamic", "int8"}
    for variant in found.files:
        with Restorer(open_bundle(name), variant, "litert", 1) as here:
            expected = here.restore(blurred)
        off = np.abs(found[variant].astype(np.int16) - expected)
        # Its 8-bit kernels round otherwise: seen are 2 levels in dynamic files and 6 in int8 ones at this size.
        assert off.max() <= {"dynamic": 4, "int8": 12}.get(variant, 1)
        assert psnr(found[variant], expected) > {"dynamic": 50, "int8": 42}.get(variant, 60)


@needs_legacy
def test_the_benchmark_measures_with_the_given_interpreter(blurred: Pixels, tmp_path: Path) -> None:
    there = combinations.interpreter(str(LEGACY))
    assert "tflite_runtime" in there.installed
    bundle, answer = open_bundle("nano"), tmp_path / "answer" / "measured.json"
    answer.parent.mkdir()
    job = Job("nano", "network", str(bundle.folder), "fp32", "nano_fp32.tflite", "tflite_runtime", threads=1, seconds=0.1)
    found = measure(job, tmp_path, answer, str(LEGACY), time.monotonic())
    assert found.error == ""
    assert found.python.startswith("3.11.")
    versions = found.versions or {}
    assert versions["numpy"].startswith("1.")
    assert versions["tflite-runtime"].startswith("2.14")
    with Restorer(bundle, "fp32", "litert", 1) as here:
        here.use_psf(workload.FRAME_PSF)
        assert psnr(np.load(answer.parent / "frame.npy"), here.restore(blurred)) > 60


def test_another_python_than_3_11_is_rejected_with_the_command_that_selects_one(tmp_path: Path) -> None:
    newer = tmp_path / "python"
    newer.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && echo Python 3.13.1 && exit\nexec {sys.executable} -c "
                     "\"import collections, sys; sys.version_info = (3, 13, 1); exec(sys.argv[1])\" \"$2\"\n")  # fmt: skip
    newer.chmod(0o755)
    line = ["sh", "scripts/setup.sh", "legacy"]
    ended = subprocess.run(
        line, cwd=ROOT, env=os.environ | {"PYTHON": str(newer)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "Python 3.13.1 is not supported" in ended.stderr
    assert "3.11 is needed: make PYTHON=python3.11" in ended.stderr
