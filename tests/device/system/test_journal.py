"""Logs for systemd's journal."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from device.system import journal


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger that writes to the journal, and its output."""
    out = io.StringIO()
    logger = logging.getLogger("device.somewhere")
    handler = journal.handler(out)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger, out
    logger.removeHandler(handler)
    logger.propagate = True


def test_a_message_is_plain_lines_with_their_priority(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    logger.info("size %dx%d, ü\n<3>not an entry of its own", 640, 480)
    logger.critical("ends")
    assert out.getvalue().splitlines() == ["<6>size 640x480, ü", "<6><3>not an entry of its own", "<2>ends"]


def test_an_error_comes_with_its_traceback_and_endless_texts_are_cut(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        logger.exception("failed")
    first, *traceback = out.getvalue().splitlines()
    assert first == "<3>failed"
    assert all(line.startswith("<3>") for line in traceback)
    assert any("test_journal.py" in line for line in traceback)
    assert len(out.getvalue()) < 48 * 1024


def test_the_same_message_is_written_a_few_times_a_minute_and_then_counted(
    written: tuple[logging.Logger, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, out = written
    now_s = 1000.0
    monkeypatch.setattr("device.system.journal.time.monotonic", lambda: now_s)
    for i in range(50):
        logger.warning("lost %d", i)
        logger.info("another %d", 1)
        now_s += 1
    lines = out.getvalue().splitlines()
    assert lines.count("<6>another 1") == journal.MOST_A_MINUTE
    assert [line for line in lines if "lost" in line] == [f"<4>lost {i}" for i in range(journal.MOST_A_MINUTE)]
    now_s += 60
    logger.warning("lost %d", 99)
    assert out.getvalue().splitlines()[-1] == f"<4>lost 99 (and {50 - journal.MOST_A_MINUTE} times more before)"


def test_a_million_different_messages_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = journal.RateLimit()
    for i in range(5000):
        assert limit.filter(logging.LogRecord("x", logging.INFO, "", 0, f"text {i}", None, None))
    assert len(limit._seen) <= 256


def test_messages_of_many_threads_are_counted_correctly(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    threads = [threading.Thread(target=lambda: [logger.error("again") for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out.getvalue().splitlines()) == journal.MOST_A_MINUTE


@pytest.mark.parametrize("to_journal", [True, False])
def test_a_command_writes_priorities_to_the_journal_and_plain_lines_elsewhere(to_journal: bool) -> None:
    code = (
        "import os, sys, logging; s = os.fstat(2); "
        + (
            "os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}'; "
            if to_journal
            else "os.environ['JOURNAL_STREAM'] = '1:2'; "
        )
        + "from device.system.console import start_logging; start_logging(False); logging.getLogger('a').info('hello')"
    )
    stderr = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert stderr == ("<6>hello\n" if to_journal else "hello\n")


def test_a_stream_without_a_file_is_not_the_journal() -> None:
    assert not journal.is_journal(io.StringIO())
