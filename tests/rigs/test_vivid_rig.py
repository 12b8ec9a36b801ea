"""The tests in tests/rigs/vivid, in an emulated machine that has a V4L2 camera (scripts/vivid.sh)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.board
def test_a_real_v4l2_driver_is_found_read_unplugged_and_read_again() -> None:
    script, checks = ROOT / "scripts" / "vivid.sh", ROOT / "tests" / "vivid" / "check_camera.py"
    # No configuration: its plugins are not needed there, and the file system is read only.
    pytest_ = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir=/tmp", "-p", "no:cacheprovider", "-q", str(checks)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VIVID_TIMEOUT_S": "400"}
    ended = subprocess.run(
        [str(script), "run", *pytest_], env=environment, capture_output=True, text=True, check=False, timeout=450
    )
    if "vivid.sh install" in ended.stderr:
        pytest.skip("no emulator with a V4L2 camera here; scripts/vivid.sh install")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
