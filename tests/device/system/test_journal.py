"""Logs for the journal."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from device.system import journal


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger that writes to the journal, and what it wrote."""
    out = io.StringIO()
    logger = logging.getLogger("device.somewhere")
    handler = journal.handler(out)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger, out
    logger.removeHandler(handler)
    logger.propagate = True


def entries(out: io.StringIO) -> list[tuple[int, dict[str, str]]]:
    """(priority, entry) of each line."""
    found = []
    for line in out.getvalue().splitlines():
        priority, _, rest = line.removeprefix("<").partition(">")
        found.append((int(priority), json.loads(rest)))
    return found


def test_a_message_is_one_line_of_json_with_its_priority(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    logger.info("size %dx%d, ü\n<3>not an entry of its own", 640, 480)
    logger.critical("ends")
    assert entries(out) == [
        (6, {"level": "info", "logger": "device.somewhere", "message": "size 640x480, ü\n<3>not an entry of its own"}),
        (2, {"level": "critical", "logger": "device.somewhere", "message": "ends"}),
    ]


def test_an_error_comes_with_its_traceback_and_endless_texts_are_cut(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        logger.exception("failed")
    ((priority, entry),) = entries(out)
    assert priority == 3
    assert entry["message"] == "failed"
    assert "test_journal.py" in entry["error"]
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
    messages = [entry["message"] for _, entry in entries(out)]
    assert messages.count("another 1") == journal.MOST_A_MINUTE
    assert [m for m in messages if m.startswith("lost")] == [f"lost {i}" for i in range(journal.MOST_A_MINUTE)]
    now_s += 60
    logger.warning("lost %d", 99)
    assert entries(out)[-1][1]["message"] == f"lost 99 (and {50 - journal.MOST_A_MINUTE} times more before)"


def test_a_million_different_messages_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = journal.RateLimit()
    for i in range(5000):
        assert limit.filter(logging.LogRecord("x", logging.INFO, "", 0, f"text {i}", None, None))
    assert len(limit._seen) <= 256


def test_many_threads_are_counted_rightly(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = written
    threads = [threading.Thread(target=lambda: [logger.error("again") for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(out)) == journal.MOST_A_MINUTE


@pytest.mark.parametrize("to_journal", [True, False])
def test_a_command_writes_json_where_systemd_reads_and_plain_lines_elsewhere(to_journal: bool) -> None:
    code = (
        "import os, sys, logging; s = os.fstat(2); "
        + (
            "os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}'; "
            if to_journal
            else "os.environ['JOURNAL_STREAM'] = '1:2'; "
        )
        + "from device.system.console import start_logging; start_logging(False); logging.getLogger('a').info('hello')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said == ('<6>{"level": "info", "logger": "a", "message": "hello"}\n' if to_journal else "hello\n")


def test_a_closed_stream_is_no_journal() -> None:
    assert not journal.is_journal(io.StringIO())
