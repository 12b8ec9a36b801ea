"""These tests run inside the root that `scripts/picamera/rig.sh` makes; anywhere else they are skipped."""

import os

import pytest

RIG = os.environ.get("PICAMERA_RIG", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder where the rig did not start it."""
    for item in items:
        if not RIG and "tests/rigs/picamera/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="runs inside the rig: make test-picamera"))
