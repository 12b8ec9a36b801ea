"""Logs for the journal of systemd: one JSON object a line with its priority before it, and no message too often.

A camera that is gone for a night fails once a second. The journal lies on a memory card, so the same message is written a
few times a minute and then counted.
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, TextIO

MOST_A_MINUTE = 6  # of the same message
_MINUTE_S = 60.0
_MOST_REMEMBERED = 256  # different messages; texts that are made of data could be endless
_LONGEST = 8000  # characters: journald cuts a line at 48 KiB (LineMax), which would cut the object
# sd-daemon(3): "<3>" in front of a line is the priority that the journal files it under.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def is_journal(stream: TextIO) -> bool:
    """Whether the stream goes to the journal: systemd names its device and inode in $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or none of the system
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


class JournalFormatter(logging.Formatter):
    """`<6>{"level": "info", "logger": "device.session", "message": "…"}`; the journal adds the time and the process.

    With an error also `error`, its traceback. Line breaks are escaped, so that a message is one entry.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, Any] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _short(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["error"] = _short("".join(traceback.format_exception(*record.exc_info)))
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{json.dumps(entry, ensure_ascii=False)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


@dataclass
class _Seen:
    began_s: float
    written: int = 0
    left_out: int = 0


class RateLimit(logging.Filter):
    """Lets the same message through so often a minute. What was left out is said with the next one that goes through.

    The same is what has the same place in the code and the same text before its values were put in.
    """

    def __init__(self, most: int = MOST_A_MINUTE) -> None:
        super().__init__()
        self._most = most
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        with self._lock:
            left_out = self._count((record.name, record.levelno, str(record.msg)))
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times more before)", None
        return left_out is not None

    def _count(self, key: tuple[str, int, str]) -> int | None:
        """How many were left out before this one; None where it is left out too."""
        now = time.monotonic()
        seen = self._seen.pop(key, None) or _Seen(now)
        self._seen[key] = seen  # the last one to be forgotten
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
    """What writes to the journal, for `logging.basicConfig(handlers=[…])`."""
    made = logging.StreamHandler(stream or sys.stderr)
    made.setFormatter(JournalFormatter())
    made.addFilter(RateLimit())
    return made
