"""The board's end of the connection to the workstation.

Received: one line of JSON (the request), the bytes of the files that it names, then one byte a second for as long as the
workstation waits (the heartbeat). Sent: one JSON object a line.
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

SILENCE_S = 60.0  # a heartbeat comes every second: without one for this long, the cable is unplugged
_CHUNK_BYTES = 1 << 16


class ConnectionLost(Exception):
    """The workstation is gone."""


class Channel:
    """Reads the request, files and heartbeats. A thread does it, so that silence and the end are noticed at any time."""

    def __init__(self, stream: BufferedReader) -> None:
        self.request: dict[str, Any] = json.loads(stream.readline())
        self._stream, self._rest = stream, b""
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=16)
        self._heard_s, self._gone = time.monotonic(), False
        threading.Thread(target=self._read_all, name="channel", daemon=True).start()

    def _read_all(self) -> None:
        while chunk := self._stream.read1(_CHUNK_BYTES):
            self._chunks.put(chunk)
        self._chunks.put(b"")

    def receive(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in chunks. Raises ConnectionLost if they end early, or if nothing comes for a minute."""
        while size:
            if not self._rest:
                with suppress(queue.Empty):
                    self._rest = self._chunks.get(timeout=SILENCE_S)
            if not self._rest:
                raise ConnectionLost
            chunk, self._rest = self._rest[:size], self._rest[size:]
            size -= len(chunk)
            self._heard_s = time.monotonic()
            yield chunk

    def check_alive(self) -> None:
        """Raise ConnectionLost if the workstation has gone, or has been silent for a minute."""
        with suppress(queue.Empty):
            while True:
                self._gone |= not self._chunks.get_nowait()
                self._heard_s = time.monotonic()
        if self._gone or time.monotonic() - self._heard_s > SILENCE_S:
            raise ConnectionLost

    def wait_for_heartbeat(self) -> None:
        """Wait for a new heartbeat: those received so far may be older than a cut of the connection. Raises ConnectionLost."""
        self.check_alive()
        try:
            self._gone = not self._chunks.get(timeout=SILENCE_S)
        except queue.Empty:
            self._gone = True
        if self._gone:
            raise ConnectionLost

    def send(self, message: str = "", **facts: Any) -> None:
        """Send a message, facts, or both. A lost connection is not an error here: `check_alive` reports it."""
        try:
            print(json.dumps({"message": message, **facts} if message else facts), flush=True)
        except OSError:
            self._gone = True

    def run(self, *arguments: object, check: bool = True, code: int = 1) -> str:
        """Run a command to its end and return its output. Kills it if the connection is lost.

        Raises Refused with exit code `code` if it fails (unless `check` is off), and ConnectionLost.
        """
        words = [str(argument) for argument in arguments]
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, cwd="/",
        ) as child:  # fmt: skip
            while True:
                try:
                    output, _ = child.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    try:
                        self.check_alive()
                    except ConnectionLost:
                        os.killpg(child.pid, signal.SIGKILL)
                        raise
        if check and child.returncode != 0:
            raise Refused(f"`{' '.join(words[:5])} …` on the board ended with {child.returncode}:\n{tail(output)}", code)
        return output
