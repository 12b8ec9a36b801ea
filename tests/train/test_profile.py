"""deblurkit train --profile: two step rates of the real run, nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow")


def test_both_rates_of_every_stage_are_printed_and_nothing_is_written(tmp_path: Path, photographs: Path) -> None:
    words = ["--preset", "nano", "--data", photographs, "--patch", 32, "--grow", 64, "--batch", 4, "--epochs", 4, "--cpu"]
    command = [
        sys.executable,
        "-m",
        "deblurkit",
        "train",
        "--profile",
        "--json",
        *map(str, words),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert [(s["patch"], s["batch"]) for s in result["stages"]] == [(32, 4), (64, 1)]
    for stage in result["stages"]:
        assert stage["with_input"] > 0
        assert stage["ratio"] == pytest.approx(stage["with_input"] / stage["cached"], rel=0.02)
    assert result["ratio"] == min(s["ratio"] for s in result["stages"])
    assert not (tmp_path / "run").exists()
