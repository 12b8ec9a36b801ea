"""The tests in the folders beside this file run inside a rig only (scripts/rigs.py); anywhere else they are skipped."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RIGS = {
    "aarch64": ("AARCH64_RIG", "an emulated Arm core"),
    "board": ("BOARD_RIG", "the virtual board"),
    "budget": ("BUDGET_RIG", "an emulated Arm core to count on"),
    "picamera": ("PICAMERA_RIG", "Debian's root with picamera2"),
    "service": ("SERVICE_RIG", "a container that runs systemd"),
}
"""Folder -> the variable that its rig sets, and what the tests need."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import a rig's tests, unless its rig started pytest or the command line names the folder."""
    if collection_path.parent != HERE or collection_path.name not in RIGS or os.environ.get(RIGS[collection_path.name][0]):
        return None
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(collection_path in (path, *path.parents) for path in named) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the rigs' tests, and skip those whose rig did not start them."""
    for item in items:
        folder = item.path.parent.name
        if item.path.parent.parent == HERE and folder in RIGS:
            variable, needed = RIGS[folder]
            item.add_marker(pytest.mark.rig)
            if not os.environ.get(variable):
                item.add_marker(pytest.mark.skip(reason=f"needs {needed}: make rigs RIGS={folder}"))
