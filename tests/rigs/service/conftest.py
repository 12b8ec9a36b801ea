"""What the tests of the booted container share: commands in it, and which tests a form of the rig leaves out."""

import os
import subprocess
from collections.abc import Callable

import pytest

LEADER, _, PROGRAM = os.environ.get("SERVICE_RIG", "").partition(":")
ONCE = os.environ.get("SERVICE_FORM") == "bookworm short"
ON_BOTH_SYSTEMS = (
    "test_a_fresh_board_ends_with_a_healthy_service_and_its_page",
    "test_the_same_again_changes_nothing_and_reports_its_health",
    "test_another_release_is_activated_and_the_one_before_stays",
    "test_rollback_goes_to_the_release_before_with_its_settings_and_back_again",
    "test_uninstalling_on_the_board_removes_the_settings_of_the_release_too",
)
"""Tests of test_deploy.py that depend on the system's Python, pip and systemd. The others test our own code and ssh."""

Inside = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what the short form does on the other system."""
    for item in items:
        if ONCE and item.path.name == "test_deploy.py" and item.name not in ON_BOTH_SYSTEMS:
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
