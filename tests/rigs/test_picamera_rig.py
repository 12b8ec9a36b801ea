"""`make test-picamera`: the real picamera2 on libcamera's virtual camera, and its imports on both Raspberry Pi systems.

The first `make test-picamera` makes roots of Debian and wheels, a minute or two each, and keeps them in the user's cache; only
where they are there do these tests run, in seconds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RIG = Path(__file__).parents[2] / "scripts" / "picamera" / "rig.sh"
CANNOT = 77


@pytest.mark.board
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["virtual", "imports-bookworm", "imports-trixie"])
def test_the_rig_passes(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deblurkit" / "picamera"
    if not list(cache.glob("bookworm-*" if what == "imports-bookworm" else "trixie-*")):
        pytest.skip("no root of Debian for picamera2 yet: make test-picamera")
    done = subprocess.run([RIG, what], env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False)
    with capfd.disabled():
        print(f"\n{what}: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ''}")
    if done.returncode == CANNOT:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rig_says_how_it_is_used() -> None:
    done = subprocess.run([RIG, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "virtual|imports-bookworm|imports-trixie" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root to see what is said without it")
def test_without_root_the_rig_says_so_and_does_nothing() -> None:
    with RIG.open() as script:  # read here: nobody may not look into this folder
        done = subprocess.run(
            ["bash", "-s", "virtual"],
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
