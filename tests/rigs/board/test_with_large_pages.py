"""The board with the kernel of 16 KiB pages, the default of a Raspberry Pi 5."""

import json
from collections.abc import Callable

from virtual_board import PROGRAM, switched_on


def test_it_restores_pictures_and_doctor_finds_no_problem(say: Callable[[str], None]) -> None:
    with switched_on("arm64-16k", "large-pages") as board:
        say(f"restored pictures after {board.until_restoring():.0f} s")
        assert board.run("getconf", "PAGESIZE").strip() == "16384"
        board.until_more_frames()
        assert board.metrics()["not_restored_total"] == 0
        assert json.loads(board.sudo(PROGRAM, "doctor", "--json").splitlines()[-1])["ok"]
