"""Logs for systemd's journal: plain lines with a priority, and no message too often.

A camera that is missing for a night fails once a second. The journal is stored on a memory card, so the same message is written a
few times a minute, and further ones are only counted.
"""

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TextIO

MOST_A_MINUTE = 6  # of the same message
ERROR = 3
"""The priority of errors."""
_MINUTE_S = 60.0
_MOST_REMEMBERED = 256  # different messages; texts built from data could be endless
_LONGEST = 8000  # characters of a message, and of a traceback; journald splits a line at 48 KiB (LineMax)
# sd-daemon(3): "<3>" in front of a line is its priority in the journal.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, ERROR), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def is_journal(stream: TextIO) -> bool:
    """Whether the stream goes to the journal: systemd puts its device and inode into $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file of the system
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def with_priority(text: str, priority: int) -> str:
    """The text with its priority in front of every line: each line is an entry of the journal."""
    return "\n".join(f"<{priority}>{line}" for line in text.splitlines() or [""])


class JournalFormatter(logging.Formatter):
    """`<6>message`; the journal adds time and process. A traceback follows in further lines of the same priority."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, without the last line's end."""
        text = _short(record.getMessage())
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text}\n{_short(self.formatException(record.exc_info))}"
        return with_priority(text, next(number for level, number in _PRIORITIES if record.levelno >= level))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


@dataclass
class _Seen:
    began_s: float
    written: int = 0
    left_out: int = 0


class RateLimit(logging.Filter):
    """Lets the same message pass a few times a minute. The next one that passes says how many were left out.

    Two messages are the same if logger, level and text are, before the values are filled in.
    """

    def __init__(self, most: int = MOST_A_MINUTE) -> None:
        super().__init__()
        self._most = most
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        with self._lock:
            left_out = self._count((record.name, record.levelno, str(record.msg)))
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times more before)", None
        return left_out is not None

    def _count(self, key: tuple[str, int, str]) -> int | None:
        """How many were left out before this one; None if this one is left out too."""
        now = time.monotonic()
        seen = self._seen.pop(key, None) or _Seen(now)
        self._seen[key] = seen  # now the last one to be forgotten
        if len(self._seen) > _MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        left_out = 0
        if now - seen.began_s >= _MINUTE_S:
            left_out = seen.left_out
            seen.began_s, seen.written, seen.left_out = now, 0, 0
        if seen.written >= self._most:
            seen.left_out += 1
            return None
        seen.written += 1
        return left_out


def handler(stream: TextIO | None = None) -> logging.Handler:
    """A handler that writes to the journal, for `logging.basicConfig(handlers=[…])`."""
    result = logging.StreamHandler(stream or sys.stderr)
    result.setFormatter(JournalFormatter())
    result.addFilter(RateLimit())
    return result
