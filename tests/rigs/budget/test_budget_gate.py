"""The instruction budget on an emulated core: `scripts/instructions/count.py --check`, as scripts/aarch64/rig.sh starts it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COUNT, COUNTS = ROOT / "scripts/instructions/count.py", ROOT / "benchmarks/instructions.json"
FILE = ROOT / "device/bundles/nano/nano_int8.tflite"
GATE, CANNOT = 6, 77


def count(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run the check. Skips the test if this machine's QEMU cannot count."""
    done = subprocess.run([sys.executable, str(COUNT), "--check", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return done


@pytest.mark.timeout(1800)
def test_every_frame_takes_as_many_instructions_as_the_file_says() -> None:
    done = count()
    print("\n".join(line for line in done.stdout.splitlines() if "within" in line))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(1800)
def test_a_frame_that_takes_more_than_the_file_says_fails_the_budget(tmp_path: Path) -> None:
    """Against the file of a kit with a smaller network and less work of its own."""
    content = json.loads(COUNTS.read_text())
    for row in content["rows"]:
        if row["file"] == FILE.name and row["what"] == "invoke":
            row["per_frame"], row["per_pixel"] = round(row["per_frame"] / 1.04), row["per_pixel"] / 1.04
    leaner = tmp_path / "leaner.json"
    leaner.write_text(json.dumps(content))
    done = count("--core", "cortex-a76", "--against", leaner, FILE)
    assert done.returncode == GATE, done.stdout + done.stderr
    assert "nano_int8.tflite by litert" in done.stderr
    assert "on cortex-a76, the bare call of 192x128: " in done.stderr
    assert "+4.0 %, and 3 are allowed" in done.stderr
    assert "If it is intended: python scripts/instructions/count.py --again" in done.stderr
