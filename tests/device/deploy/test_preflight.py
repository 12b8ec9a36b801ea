"""`deblurkit deploy`: what a board must have (device/deploy/preflight.py)."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from deploy_parts import NOW_S, PI

from device.deploy import preflight
from device.errors import RunError

Command = Callable[..., Any]


def test_a_good_board_has_no_problems() -> None:
    assert preflight.problems(PI, NOW_S) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"machine": "armv7l", "bits": 32}, "armv7l with programs of 32 bits; expected a 64-bit system"),
        ({"bits": 32}, "aarch64 with programs of 32 bits; expected a 64-bit system"),  # Raspberry Pi OS, 32-bit, on a Pi 4
        ({"machine": "riscv64"}, "riscv64 with programs of 64 bits"),
        ({"libc": (0, 0)}, "no GNU C library"),
        ({"python": (3, 9, 2)}, "Python 3.9.2; expected Python 3.11, 3.12 or 3.13"),
        ({"python": (3, 14, 0)}, "Python 3.14.0; expected"),
        ({"python": (0, 0, 0), "venv": False}, "no /usr/bin/python3; expected"),
        ({"venv": False}, "Python without venv; install it: sudo apt install python3-venv"),
        ({"systemd": False}, "not started by systemd"),
        ({"clock_s": 0.0}, "its clock says 1970-01-01 00:00 UTC, here it is 2027-01-15 08:00 UTC"),
        ({"clock_s": NOW_S + 90_000}, "sudo timedatectl set-ntp true"),
        ({"root": ""}, "pi is not root and cannot use sudo without a password; to allow it, run on the board: echo"),
    ],
)
def test_every_problem_names_what_to_do_about_it(seen: dict[str, Any], expected: str) -> None:
    (problem,) = preflight.problems(replace(PI, **seen), NOW_S)
    assert expected in problem


def test_the_disk_needs_space_for_the_environment_and_for_what_is_sent() -> None:
    assert preflight.space_problems(replace(PI, free_mib=preflight.NEEDED_MIB), 0.0) == []
    (problem,) = preflight.space_problems(replace(PI, free_mib=preflight.NEEDED_MIB), 130.0)
    assert f"{preflight.NEEDED_MIB} MiB free for /opt/deblurkit; expected {preflight.NEEDED_MIB + 130} MiB" in problem


def test_all_problems_are_reported_at_once() -> None:
    assert len(preflight.problems(replace(PI, root="", venv=False, clock_s=0.0), NOW_S)) == 3


def test_the_script_reports_the_facts_of_this_machine() -> None:
    done = subprocess.run(["sh", "-s"], input=preflight.SCRIPT, capture_output=True, text=True, check=True)
    facts = preflight.parse("Welcome!\n" + done.stdout)
    assert (facts.machine, facts.bits) == (os.uname().machine, 64)
    assert facts.user
    assert facts.free_mib > 0
    assert abs(facts.clock_s - time.time()) < 60
    assert done.stderr == ""


def test_an_answer_that_is_not_from_a_shell_is_an_error() -> None:
    with pytest.raises(RunError, match="the board's shell did not run the script"):
        preflight.parse("This account is restricted.\n")


def test_a_release_that_the_service_does_not_run_is_not_the_running_one() -> None:
    running = replace(PI, release={"id": "0.1.0-aa-1"}, unit='"/opt/deblurkit/releases/0.1.0-aa-1/venv/bin/deblurkit" run')
    assert running.running_release == "0.1.0-aa-1"
    assert replace(running, unit='"/home/pi/deblurkit/.venv/bin/deblurkit" run').running_release == ""
