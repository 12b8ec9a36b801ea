"""These tests run on an emulated Arm core, where scripts/aarch64/rig.sh starts them; elsewhere they are skipped.

The rig runs the unit tests of the device package in the same process, but for what stands in `LEFT_OUT`.
"""

import os

import pytest

CORE = os.environ.get("AARCH64_RIG", "")

WAITS = "threads and processes that wait for each other by the clock; an emulated core is too slow"
FLOATS = "minutes of float arithmetic, which is emulated in software"
PROCESSES = "begins many processes, each with seconds of imports"
LEFT_OUT = {
    **dict.fromkeys(
        [
            f"tests/device/test_{name}.py"
            for name in (
                "deadline", "lineup", "network", "outlet", "pipeline", "publish", "record", "session", "sinks", "sources",
                "supervision", "watched",
            )
        ],
        WAITS,
    ),
    "tests/device/test_notify.py::test_a_supervisor_that_has_gone_or_does_not_listen_never_holds_the_loop": WAITS,
    "tests/device/test_degrade.py": FLOATS,
    "tests/device/test_restorer.py::test_any_size_comes_out_as_it_went_in[(1500, 1100)]": FLOATS,
    "tests/device/test_restorer.py::test_tiled_equals_untiled_within_one_grey_level": FLOATS,
    "tests/device/test_selfcheck.py::test_every_shipped_file_reaches_here_what_it_reached_at_export": (
        f"{FLOATS}; doctor does it for the files that `run` takes, and test_files.py compares all of them with x86's"
    ),
    "tests/device/test_doctor_machine.py": f"{PROCESSES}; doctor itself is run by test_installed.py",
    "tests/device/test_journal.py": PROCESSES,
    "tests/device/test_embedded.py": "reads broken files for minutes, with Python alone",
    "tests/device/test_telemetry.py::test_peak_memory_grows_with_what_this_process_takes": "the emulator's memory is counted too",
}  # fmt: skip
"""The beginning of a test's name -> why it is not run under emulation. Measured: each of these took 10 s to minutes."""

table = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Room for the lines that the tests print at the end."""
    config.stash[table] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder without the rig, and with it what is left out."""
    for item in items:
        if "tests/aarch64/" in item.path.as_posix():
            item.add_marker(pytest.mark.board)
            if not CORE:
                item.add_marker(pytest.mark.skip(reason="needs an emulated Arm core: make test-aarch64"))
        elif CORE:
            for beginning, reason in LEFT_OUT.items():
                if item.nodeid.startswith(beginning):
                    item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Where the core's pictures differ from the other machine's."""
    if config.stash[table]:
        terminalreporter.section(f"{CORE} against this machine's processor")
        for line in config.stash[table]:
            terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed at the end."""
    return request.config.stash[table]
