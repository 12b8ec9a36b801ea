"""deblurkit train --profile: measures two step rates and writes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow")


@pytest.mark.usefixtures("tiny")
def test_both_rates_of_every_stage_are_printed_and_nothing_is_written(
    command: Callable[..., Any], tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.profile.ROUND_S", 0.1)
    words = ["--preset", "nano", "--data", photographs, "--patch", 32, "--grow", 64, "--batch", 4, "--epochs", 4, "--cpu"]
    ended = command("train", "--profile", "--json", *words, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out.splitlines()[-1])
    assert [(s["patch"], s["batch"]) for s in result["stages"]] == [(32, 4), (64, 1)]
    for stage in result["stages"]:
        assert stage["with_input"] > 0
        assert stage["ratio"] == pytest.approx(stage["with_input"] / stage["cached"], rel=0.02)
    assert result["ratio"] == min(s["ratio"] for s in result["stages"])
    assert not (tmp_path / "run").exists()
