"""What the tests of the virtual board share, and which tests a form of `scripts/board/rig.sh` runs."""

import os
from collections.abc import Callable, Iterator

import pytest
from virtual_board import PATIENCE_S, VirtualBoard, protected, rig, switched_on

FORM = os.environ.get("BOARD_FORM", "")
FORMS = {
    "test_running.py": ("short", "long"),
    "test_deployed.py": ("deploy",),
    "test_with_large_pages.py": ("long", "16k"),
}
"""File -> the forms of the rig that run it."""
CUTS, UNPLUGGED = (10, 20) if FORM == "long" else (1, 3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests the time that an emulated board needs, and leave out those of other forms."""
    for item in items:
        if "tests/rigs/board/" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(4 * PATIENCE_S))  # a test that waits too long reports the board's last messages
            if rig() is not None and FORM not in FORMS[item.path.name]:
                item.add_marker(pytest.mark.skip(reason=f"not in the form {FORM} but in: {' '.join(FORMS[item.path.name])}"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat a power cut as often as the form says."""
    if "cut" in metafunc.fixturenames:
        metafunc.parametrize("cut", range(1, CUTS + 1))


@pytest.fixture(scope="session")
def unplugged() -> int:
    """How many times the camera is unplugged."""
    return UNPLUGGED


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a measured figure past pytest's capture."""

    def line(text: str) -> None:
        with capfd.disabled():
            print(f"\n  {text} ", end="", flush=True)

    return line


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    """The board after its first start, without any help: it streams restored pictures."""
    with switched_on("arm64", "board") as one:
        one.until_restoring()
        yield one


@pytest.fixture(scope="module")
def untouched(board: VirtualBoard) -> str:
    """The state of everything that no fault may change, before the first fault."""
    return protected(board)
