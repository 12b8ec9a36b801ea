"""The virtual board in its short form, as `make board-short` runs it, and how its rig is called.

The first run fetches Debian for arm64, its kernel, QEMU and the wheels, and keeps them in the user's cache.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RIG = Path(__file__).parents[2] / "scripts" / "board" / "rig.sh"
CANNOT = 77


@pytest.mark.board
@pytest.mark.timeout(3600)
def test_the_short_form_passes(capfd: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([RIG, "short", "-v"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    with capfd.disabled():
        print("\n" + "\n".join(line for line in done.stdout.splitlines() if line.startswith("  ") or " passed" in line))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rig_says_how_it_is_used() -> None:
    done = subprocess.run([RIG, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "short|long|16k|deploy" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root to see what is said without it")
def test_without_root_the_rig_says_so_and_does_nothing() -> None:
    with RIG.open() as script:  # read here: nobody may not look into this folder
        done = subprocess.run(
            ["bash", "-s", "short"],
            stdin=script,
            cwd="/",
            env={**os.environ, "HOME": "/nonexistent"},
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == CANNOT, done.stderr
    assert "needs root" in done.stderr
