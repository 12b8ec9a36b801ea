"""What the tests on an emulated Arm core leave out (scripts/aarch64/rig.sh).

The rig also runs the unit tests of the device package, in the same process, on one core of each system: they depend more on
Python and its packages than on the core. `FILES_LEFT_OUT` and `LEFT_OUT` list the exceptions.
"""

import os
from pathlib import Path

import pytest

CORE = os.environ.get("AARCH64_RIG", "")
DEVICE = Path(__file__).parents[2] / "device"

WAITS = "threads and processes that wait for each other with time limits; an emulated core is too slow"
FLOATS = "a minute of float arithmetic, which is emulated in software"
PROCESSES = "starts processes, each with seconds of imports"
COMPARED = "test_files.py compares every file with x86"
WORKSTATION = "builds and sends the wheel of a checkout, which is the workstation's side: make board-deploy"
COMMANDS = "starts the command line as a process, or checks a whole run"
FILES_LEFT_OUT = {
    **dict.fromkeys(
        ["loop/test_rate_control.py", "loop/test_models.py", "loop/test_sink_worker.py", "loop/test_pipeline.py",
         "loop/test_supervision.py", "sinks", "sources/test_network.py", "sources/test_sources.py",
         "sources/test_supervised_camera.py", "test_session.py"],
        WAITS,
    ),
    "deploy": WORKSTATION,
    "images/test_degrade.py": FLOATS,
    "doctor": f"{PROCESSES}; test_installed.py runs doctor itself",
    "bundle/test_embedded.py": "a minute of reading broken files in pure Python",
    **dict.fromkeys(["bundle/test_shipped_odd_inputs.py", "bundle/test_shipped_quality.py"], COMPARED),
    "system/test_journal.py": PROCESSES,
    **dict.fromkeys(
        ["service/test_service.py", "test_run_outputs.py", "test_run_tuned.py", "test_settings.py", "test_signals.py"], COMMANDS
    ),
}  # fmt: skip
"""File or folder of tests/device -> the reason. They are not even imported, which takes a third of a second each here."""
LEFT_OUT = {
    "test_a_supervisor_that_is_gone_or_does_not_listen_never_blocks_the_loop": WAITS,
    "test_any_size_comes_out_as_it_went_in[(1500, 1100)]": FLOATS,
    "test_tiled_equals_untiled_within_one_grey_level": FLOATS,
    "test_sizes_may_change_from_frame_to_frame": FLOATS,
    "test_the_pairs_are_the_same_every_time_and_blurred": FLOATS,
    "test_a_size_gives_the_same_result_after_other_sizes": FLOATS,
    "test_every_shipped_file_reaches_its_psnr_at_export": f"{FLOATS}; doctor does this for the files that `run` uses",
    "test_every_file_that_a_runtime_reads_gives_nearly_the_picture_of_fp32_or_is_refused": COMPARED,
    "test_all_runtimes_agree_within_one_grey_level": COMPARED,
    "[litert_compiled": "only bench uses this runtime, and its tests take as long as LiteRT's",
    "test_the_compiled_model_prints_nothing_while_it_is_used": FLOATS,
    "test_importing_the_module_imports_neither_picamera2_nor_libcamera": PROCESSES,
    "test_peak_memory_grows_with_what_this_process_takes": "the emulator's memory counts too",
}
"""A part of a test's name -> the reason. Measured under emulation: each takes 10 s or more."""

table = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Collect the lines that are printed at the end; leave out files."""
    config.stash[table] = []
    if CORE:
        left_out = [str(DEVICE / name) for name in FILES_LEFT_OUT]
        config.option.ignore = [*(config.option.ignore or []), *left_out]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that are left out."""
    for item in items:
        if CORE and "tests/rigs/" not in item.path.as_posix():
            for part, reason in LEFT_OUT.items():
                if part in item.nodeid:
                    item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print where the core's pictures differ from the other machine's, and the files that were left out."""
    if CORE:
        terminalreporter.section("left out under emulation")
        for name, why in FILES_LEFT_OUT.items():
            terminalreporter.write_line(f"tests/device/{name}: {why}")
    if config.stash[table]:
        terminalreporter.section(f"{CORE} against this machine's processor")
        for line in config.stash[table]:
            terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print at the end."""
    return request.config.stash[table]
