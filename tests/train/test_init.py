"""deblurkit train --init: shipped weights, tuned on somebody's own pictures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.bundle.open import open_bundle

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow")
SHORT = ["--epochs", "1", "--steps", "1", "--batch", "2", "--cpu", "--blur", "gaussian"]


def train(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deblurkit", "train", "--json", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_begins_where_the_bundle_ended(tmp_path: Path, photographs: Path) -> None:
    gains = {}
    for name, extra in (("fresh", []), ("tuned", ["--init", "small"])):
        done = train("--data", photographs, *SHORT, *extra, "--learning-rate", "1e-7", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        gains[name] = result["restored_psnr_db"] - result["input_psnr_db"]
    assert abs(gains["fresh"]) < 0.2  # an untrained network passes pictures through
    assert gains["tuned"] > gains["fresh"] + 0.3
    assert json.loads((tmp_path / "tuned" / "run.json").read_text())["init"] == "small"
    again = train("--data", photographs, *SHORT, "--init", tmp_path / "tuned", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr


def test_weights_of_another_network_or_none_are_refused_before_anything_is_written(tmp_path: Path, photographs: Path) -> None:
    other = train("--preset", "base", "--data", photographs, *SHORT, "--init", "small", "--out", tmp_path / "other")
    assert other.returncode == 2
    assert "the preset's is neither the same nor a larger one" in other.stderr
    bundle = tmp_path / "bare"
    shutil.copytree(open_bundle("small").folder, bundle)
    (bundle / "small.weights.h5").unlink()
    bare = train("--data", photographs, *SHORT, "--init", bundle, "--out", tmp_path / "bare-run")
    assert bare.returncode == 4
    assert "small.weights.h5" in bare.stderr
    unknown = train("--data", photographs, *SHORT, "--init", "smal", "--out", tmp_path / "unknown")
    assert unknown.returncode == 4
    assert not (tmp_path / "other" / "run.json").exists()
