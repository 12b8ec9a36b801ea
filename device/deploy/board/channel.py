"""The connection to who deploys, as it is seen from the board.

In come a line of JSON (the request), the bytes of the files that it names, then a byte a second for as long as
somebody waits at the other end. Out goes one JSON object a line.
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from typing import Any

from device.deploy.board.paths import Refused, tail

SILENCE_S = 60.0  # a byte comes every second: so long without one, and the cable is out
_CHUNK = 1 << 16


class Lost(Exception):
    """Nobody is at the other end any more."""


class Line:
    """A thread reads it, so that silence and its end are noticed at any time."""

    def __init__(self, stream: BufferedReader) -> None:
        self.request: dict[str, Any] = json.loads(stream.readline())
        self._stream, self._rest = stream, b""
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=16)
        self._heard_s, self._gone = time.monotonic(), False
        threading.Thread(target=self._pump, name="line", daemon=True).start()

    def _pump(self) -> None:
        while chunk := self._stream.read1(_CHUNK):
            self._chunks.put(chunk)
        self._chunks.put(b"")

    def pieces(self, size: int) -> Iterator[bytes]:
        """So many bytes, as they come. Raises Lost where they end before, or nothing comes for a minute."""
        while size:
            if not self._rest:
                with suppress(queue.Empty):
                    self._rest = self._chunks.get(timeout=SILENCE_S)
            if not self._rest:
                raise Lost
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            self._heard_s = time.monotonic()
            yield piece

    def require(self) -> None:
        """Raise Lost where the other end has gone, or has been silent for a minute."""
        with suppress(queue.Empty):
            while True:
                self._gone |= not self._chunks.get_nowait()
                self._heard_s = time.monotonic()
        if self._gone or time.monotonic() - self._heard_s > SILENCE_S:
            raise Lost

    def confirm(self) -> None:
        """Wait for a sign that somebody is there now: what was heard a while ago may be older than a cut. Raises Lost."""
        self.require()
        try:
            self._gone = not self._chunks.get(timeout=SILENCE_S)
        except queue.Empty:
            self._gone = True
        if self._gone:
            raise Lost

    def say(self, text: str = "", **facts: Any) -> None:
        """Tell the other end; that nobody hears it is for `require` to say."""
        try:
            print(json.dumps({"said": text, **facts} if text else facts), flush=True)
        except OSError:
            self._gone = True

    def run(self, *what: object, refuse: bool = True, code: int = 1) -> str:
        """Run a command to its end; what it said. It is ended where nobody waits for it any more.

        Raises Refused where it fails, with the exit code `code` for the other end, and Lost.
        """
        words = [str(word) for word in what]
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, cwd="/",
        ) as child:  # fmt: skip
            while True:
                try:
                    said, _ = child.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    try:
                        self.require()
                    except Lost:
                        os.killpg(child.pid, signal.SIGKILL)
                        raise
        if refuse and child.returncode != 0:
            raise Refused(f"`{' '.join(words[:5])} …` on the board ended with {child.returncode}:\n{tail(said)}", code)
        return said
