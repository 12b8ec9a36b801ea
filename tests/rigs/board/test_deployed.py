"""`deblurkit deploy` to the board: wheels for its processor, installed and checked there. More on x86: tests/rigs/service."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

from virtual_board import VirtualBoard, switched_on

from device.deploy.payload import CHECKOUT

RELEASES = "/opt/deblurkit/releases/"


def deployed(board: VirtualBoard, *words: str) -> dict[str, object]:
    """Run the command; returns the JSON object in its last line."""
    line = [sys.executable, "-m", "deblurkit", "deploy", "pi@127.0.0.1", *board.way, "--json", *words]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_release_is_installed_by_one_command_survives_a_power_cut_and_is_installed_only_once(
    say: Callable[[str], None],
) -> None:
    with switched_on("arm64", "deployed") as board:
        board.until_restoring()
        began = time.monotonic()
        release = str(deployed(board, "--wheels")["release"])
        say(f"{release} after {time.monotonic() - began:.0f} s")
        assert f"{RELEASES}{release}/" in board.fact("ExecStart")
        board.until_restoring()
        board.until_more_frames()
        assert board.metrics()["not_restored_total"] == 0
        board.cut_power()
        board.power_on()
        say(f"back after {board.until_restoring():.0f} s")
        assert f"{RELEASES}{release}/" in board.fact("ExecStart")
        again = deployed(board, "--wheels")
        assert (again["unchanged"], again["release"]) == (True, release)
