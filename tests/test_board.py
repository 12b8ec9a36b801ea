"""The rig of the virtual board, as it is called; the board's own tests are run by it: make board, make board-short."""

import os
import subprocess
from pathlib import Path

import pytest

RIG = Path(__file__).parent.parent / "scripts" / "board" / "rig.sh"
CANNOT = 77


def test_the_rig_says_how_it_is_used() -> None:
    done = subprocess.run([RIG, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "short|long|16k" in done.stderr


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
