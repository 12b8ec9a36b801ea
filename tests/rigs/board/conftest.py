"""These tests need the virtual board that `scripts/board/rig.sh` makes; without it they are skipped."""

import os
from collections.abc import Callable, Iterator

import pytest
from virtual_board import PATIENCE_S, Board, protected, rig, switched_on

FORM = os.environ.get("BOARD_FORM", "")
FORMS = {
    "test_running.py": ("short", "long"),
    "test_deployed.py": ("deploy",),
    "test_with_large_pages.py": ("long", "16k"),
}
"""Which forms of the rig run a file."""
CUTS, UNPLUGGED = (10, 20) if FORM == "long" else (2, 3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything in this folder where the rig did not start it, and what is not of the form that was asked for."""
    for item in items:
        if "tests/rigs/board/" in item.path.as_posix():
            item.add_marker(pytest.mark.board)
            item.add_marker(pytest.mark.timeout(4 * PATIENCE_S))  # one that waits says so itself, and what the board said
            if rig() is None:
                item.add_marker(pytest.mark.skip(reason="needs the virtual board: make board"))
            elif FORM not in FORMS[item.path.name]:
                item.add_marker(pytest.mark.skip(reason=f"not of the form {FORM}"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many power cuts as the form has."""
    if "cut" in metafunc.fixturenames:
        metafunc.parametrize("cut", range(1, CUTS + 1))


@pytest.fixture(scope="session")
def unplugged() -> int:
    """How often the camera is unplugged."""
    return UNPLUGGED


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure that was measured, past pytest's capture."""

    def line(text: str) -> None:
        with capfd.disabled():
            print(f"\n  {text} ", end="", flush=True)

    return line


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    """The board, switched on for the first time and told nothing; restored pictures come."""
    with switched_on("arm64", "board") as one:
        one.until_restoring()
        yield one


@pytest.fixture(scope="module")
def untouched(board: Board) -> str:
    """What no fault may change, before there was any."""
    return protected(board)
