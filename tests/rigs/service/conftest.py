"""These tests talk to the container that `scripts/service/rig.sh` boots; without it they are skipped."""

import os
import subprocess
from collections.abc import Callable

import pytest

LEADER, _, PROGRAM = os.environ.get("SERVICE_RIG", "").partition(":")

Inside = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder where the rig did not start it."""
    for item in items:
        if "tests/rigs/service/" in item.path.as_posix():
            item.add_marker(pytest.mark.board)
            if not LEADER:
                item.add_marker(pytest.mark.skip(reason="needs a systemd that runs: make test-service"))


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
