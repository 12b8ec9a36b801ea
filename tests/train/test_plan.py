"""Options that cannot work are refused before a run folder is created."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    "words", [["--grow", 32], ["--grow", 128, 112], ["--patch", 64, "--grow", 70], ["--preset", "dense", "--grow", 256]]
)
def test_patches_that_do_not_grow_or_do_not_fit_are_refused(
    command: Callable[..., Any], words: list[object], tmp_path: Path
) -> None:
    ended = command("train", "--out", tmp_path / "run", "--cpu", *words)
    assert ended.code == 2
    assert "--grow" in ended.err
    assert not (tmp_path / "run").exists()
