"""The instruction budget's arithmetic (scripts/instructions/budget.py), without counting; tests/rigs/budget counts."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/instructions"))

import budget  # noqa: E402

COUNTS = ROOT / "benchmarks/instructions.json"

Row = dict[str, Any]


@pytest.fixture
def kept() -> list[Row]:
    """The rows of the file."""
    return json.loads(COUNTS.read_text())["rows"]


def changed(rows: list[Row], what: str, more_per_pixel: float) -> list[Row]:
    """The rows as if `small_int8.tflite` took so many instructions a pixel more at 192x128 on an A76."""
    chosen = {"file": "small_int8.tflite", "core": "cortex-a76", "what": what, "size_wh": [192, 128]}
    return [
        row | {"per_frame": row["per_frame"] + round(more_per_pixel * 192 * 128), "per_pixel": row["per_pixel"] + more_per_pixel}
        if all(row[key] == value for key, value in chosen.items())
        else row
        for row in rows
    ]


def test_the_budget_holds_for_what_is_in_the_file(kept: list[Row]) -> None:
    assert budget.violations(kept, kept) == []
    assert len(budget.selection()) >= 12
    files = {(row["file"], row["runtime"], row["what"], *row["size_wh"]) for row in kept}
    assert {(one.file.name, one.runtime, one.what, *one.size_wh) for one in budget.selection()} <= files


def test_a_kernel_off_its_fast_path_breaks_the_budget_and_two_percent_do_not(kept: list[Row]) -> None:
    assert budget.violations(kept, changed(changed(kept, "invoke", 20), "planes", 20)) == []
    one, *rest = budget.violations(kept, changed(kept, "invoke", -40))
    assert one.startswith("small_int8.tflite by litert 2.3.0 on cortex-a76, the bare call of 192x128: 26.08 M instructions")
    assert "-3.8 %, and 3 are allowed" in one
    assert all("our own part" in sentence for sentence in rest)


def test_a_copy_in_our_own_part_breaks_the_budget_although_the_whole_frame_hardly_changes(kept: list[Row]) -> None:
    (message,) = budget.violations(kept, changed(kept, "planes", 1))
    assert "our own part took " in message
    assert ", and 3 are allowed" in message


def test_the_absolute_limits_hold_whatever_the_file_says(kept: list[Row]) -> None:
    grown = changed(kept, "planes", 25)
    messages = budget.violations(grown, grown)
    assert len(messages) == 2
    assert "instructions per pixel; the limit is 40" in messages[0]
    assert "instructions per pixel; the limit is 1110" in messages[1]


def test_a_row_that_was_never_counted_is_reported(kept: list[Row]) -> None:
    assert budget.violations([], kept[:1])[0].endswith("M instructions now")
