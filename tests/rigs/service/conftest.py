"""What the tests of the booted container share: commands in it, and which tests a form of the rig leaves out."""

import os
import subprocess
from collections.abc import Callable

import pytest

LEADER, _, PROGRAM = os.environ.get("SERVICE_RIG", "").partition(":")
SUITE, _, FORM = os.environ.get("SERVICE_FORM", "").partition(" ")
BOTH_SYSTEMS = (
    "test_a_fresh_board_ends_with_a_healthy_service_and_its_page",
    "test_the_same_again_changes_nothing_and_reports_its_health",
    "test_uninstalling_on_the_board_removes_the_settings_of_the_release_too",
)
"""Tests of test_deploy.py that depend on the system's Python, pip and systemd: in the short form on Bookworm too."""
LONG_FORM = (
    "test_a_service_that_was_installed_by_hand_is_restored_if_the_first_release_does_not_run",
    "test_a_lost_connection_leaves_what_ran[silent from the installation on]",
    "test_without_a_camera_it_runs_and_waits",
)
"""Tests of test_deploy.py that are only in the long form: each takes a minute, and the short form has others of the same code."""

Inside = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of the short form what another test or the other system has."""
    for item in items:
        if FORM != "short" or item.path.name != "test_deploy.py":
            continue
        if item.name in LONG_FORM:
            item.add_marker(pytest.mark.skip(reason="only in the long form: make test-service"))
        elif SUITE == "bookworm" and item.name not in BOTH_SYSTEMS:
            item.add_marker(pytest.mark.skip(reason="short form: on Trixie only; make test-service runs it here too"))


@pytest.fixture(scope="session")
def inside() -> Inside:
    """`inside("systemctl", "status")`: a command in the container, as root."""

    def call(*words: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        line = ["nsenter", "--target", LEADER, "--all", "env", "-i", "PATH=/usr/bin:/usr/sbin:/bin", "LANG=C.UTF-8", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False)

    return call


@pytest.fixture(scope="session")
def kit(inside: Inside) -> Inside:
    """`kit("service", "status")`: the installed command in the container."""
    return lambda *words, **options: inside(PROGRAM, *words, **options)
