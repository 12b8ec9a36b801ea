"""`make test-aarch64`: the device package from real aarch64 wheels on emulated cores, and the instruction budget.

The first run fetches Debian and the wheels of two Pythons and keeps them in the user's cache.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOME / "scripts/instructions"))

import budget  # noqa: E402

RIG, COUNT = HOME / "scripts/aarch64/rig.sh", HOME / "scripts/instructions/count.py"
COUNTS = HOME / "benchmarks/instructions.json"
CANNOT, GATE = 77, 6
FILE = HOME / "device/bundles/nano/nano_int8.tflite"

Row = dict[str, Any]


def ran(*command: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.board
@pytest.mark.timeout(3600)
def test_the_rig_passes(capfd: pytest.CaptureFixture[str]) -> None:
    done = ran(RIG)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    with capfd.disabled():
        print("\n" + "\n".join(line for line in done.stdout.splitlines() if " passed" in line or "within" in line))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.board
@pytest.mark.timeout(1800)
def test_a_frame_that_takes_more_than_the_file_says_fails_the_budget(tmp_path: Path) -> None:
    """The file of a kit whose network was smaller and whose own part was leaner."""
    content = json.loads(COUNTS.read_text())
    for row in content["rows"]:
        if row["file"] == FILE.name and row["what"] == "invoke":
            row["per_frame"], row["per_pixel"] = round(row["per_frame"] / 1.04), row["per_pixel"] / 1.04
    leaner = tmp_path / "leaner.json"
    leaner.write_text(json.dumps(content))
    done = ran(sys.executable, COUNT, "--check", "--core", "cortex-a76", "--against", leaner, FILE)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == GATE, done.stdout + done.stderr
    assert "nano_int8.tflite by litert" in done.stderr
    assert "on cortex-a76, the bare call of 192x128: " in done.stderr
    assert "+4.0 %, and 3 are allowed" in done.stderr
    assert "If it is meant: python scripts/instructions/count.py --again" in done.stderr


def test_the_rig_says_how_it_is_used() -> None:
    done = ran(RIG, "nonsense")
    assert done.returncode == 2
    assert "bookworm|trixie|budget" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root to see what is said without it")
def test_without_root_the_rig_says_so_and_does_nothing() -> None:
    with RIG.open() as script:  # read here: nobody may not look into this folder
        done = subprocess.run(
            ["bash", "-s"], stdin=script, cwd="/", user=65534, group=65534, extra_groups=[],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == CANNOT, done.stderr
    assert "needs root" in done.stderr


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
    assert budget.broken(kept, kept) == []
    assert len(budget.chosen()) >= 12
    files = {(row["file"], row["runtime"], row["what"], *row["size_wh"]) for row in kept}
    assert {(one.file.name, one.runtime, one.what, *one.size_wh) for one in budget.chosen()} <= files


def test_a_kernel_off_its_fast_path_breaks_the_budget_and_two_percent_do_not(kept: list[Row]) -> None:
    assert budget.broken(kept, changed(changed(kept, "invoke", 20), "planes", 20)) == []
    one, *rest = budget.broken(kept, changed(kept, "invoke", -40))
    assert one.startswith("small_int8.tflite by litert 2.3.0 on cortex-a76, the bare call of 192x128: 24.80 M instructions")
    assert "-4.0 %, and 3 are allowed" in one
    assert all("our own part" in sentence for sentence in rest)


def test_a_copy_in_our_own_part_breaks_the_budget_though_the_whole_frame_hardly_changes(kept: list[Row]) -> None:
    (said,) = budget.broken(kept, changed(kept, "planes", 1))
    assert "our own part took " in said
    assert ", and 3 are allowed" in said


def test_the_bars_hold_whatever_the_file_says(kept: list[Row]) -> None:
    grown = changed(kept, "planes", 25)
    said = budget.broken(grown, grown)
    assert len(said) == 2
    assert "instructions a pixel; the bar is 40" in said[0]
    assert "instructions a pixel; the bar is 1050" in said[1]


def test_what_was_never_counted_is_told(kept: list[Row]) -> None:
    assert budget.broken([], kept[:1])[0].endswith("M instructions now")
