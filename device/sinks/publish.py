"""Publish the live picture to an RTSP server such as MediaMTX, which serves the viewers.

FFmpeg's RTSP client holds Python's interpreter lock while it connects, so a server that does not answer would stop the whole
loop. So the client runs in its own process, together with the encoder (`publisher.py`), and is killed if it hangs.
"""

import fcntl
import importlib.util
import json
import logging
import os
import select
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict

import numpy as np

from device.errors import RunError
from device.images.frame import Restored
from device.images.yuv import Yuv
from device.sinks.h264 import MISSING, StreamFormat, as_yuv, stream_format
from device.system.address import without_password, without_secrets
from device.system.python_process import start_python

log = logging.getLogger(__name__)
CONNECTED = b"connected\n"
STAMP = struct.Struct("<d")  # capture time, sent before the planes of each picture
_STARTING_S = 15.0  # until the server has the first picture: a busy board takes seconds to start a process
_STUCK_S = 4.0  # per picture, after that
_GRACE_S = 0.3  # for the process to end before it is killed
_PIPE_BYTES = 1 << 20  # the maximum for unprivileged users: one or two pictures


class Publisher:
    """A sink that connects with the first frame. It publishes placeholders too, so that viewers see what is wrong."""

    def __init__(self, url: str, fps: float, mbit: float) -> None:
        """`url`: `rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`; `fps`: expected rate (0: unknown); `mbit`: bit rate in Mbit/s."""
        if importlib.util.find_spec("av") is None:
            raise RunError(MISSING)
        self.description = f"published to {without_password(url)}"
        self._url, self._fps, self._mbit = url, fps, mbit
        self._lock = threading.Lock()  # a stop may close while a write has not returned
        self._process: _Process | None = None
        self._last: Restored | None = None
        self._closed = False

    def write(self, restored: Restored) -> None:
        """Publish one frame. Raises RunError if the server does not accept it within a few seconds."""
        with self._lock:
            if self._closed:
                raise RunError(f"{self.description}: is already closed")
            if restored is self._last:  # repeated to keep a frame rate: viewers keep the last picture anyway
                return
            self._last = restored
            format = stream_format(restored.image)
            if self._process is not None and self._process.format != format:  # an H.264 stream has one size
                self._process.close()
                self._process = None
            if self._process is None:
                self._process = _Process(self._url, format, self._fps, self._mbit)
            try:
                self._process.send(as_yuv(restored.image), restored.frame.captured_s)
            except OSError as error:
                self._process.kill()
                reason = self._process.last_line() or str(error)
                self._process.close()
                self._process = None
                raise RunError(f"{self.description}: {without_secrets(reason, self._url)}; is the server running?") from error

    def close(self) -> None:
        """End the stream. Closing twice is safe."""
        self._closed = True
        while not self._lock.acquire(timeout=_GRACE_S):
            if (process := self._process) is not None:
                process.kill()  # this ends the write
        try:
            if self._process is not None:
                self._process.close()
                self._process = None
        finally:
            self._lock.release()


class _Process:
    """The process of one stream. It reads pictures from its standard input and writes text."""

    def __init__(self, url: str, format: StreamFormat, fps: float, mbit: float) -> None:
        self.format = format
        self._process = start_python(
            *("-m", "device.sinks.publisher"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        with suppress(OSError):
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._output = b""
        # Through the pipe: other users can read a process's arguments, and the address may contain a password.
        settings = {"url": url, "format": asdict(format), "fps": fps, "mbit": mbit}
        self._unsent = memoryview(json.dumps(settings).encode() + b"\n")

    def send(self, picture: Yuv, captured_s: float) -> None:
        """Send one picture to the process. Raises OSError if it has ended or does not read for too long."""
        self._read_output()
        until = time.monotonic() + (_STUCK_S if CONNECTED in self._output else _STARTING_S)
        planes = (np.ascontiguousarray(plane).data.cast("B") for plane in (picture.y, picture.u, picture.v))
        for part in (self._unsent, memoryview(STAMP.pack(captured_s)), *planes):
            self._send(part, until)
        self._unsent = memoryview(b"")

    def _send(self, part: memoryview, until: float) -> None:
        poll = select.poll()
        poll.register(self._in, select.POLLOUT)
        while part:
            try:
                part = part[os.write(self._in, part) :]
            except BlockingIOError:
                left_s = until - time.monotonic()
                if left_s <= 0 or not poll.poll(1000 * left_s):
                    raise TimeoutError("no picture was accepted for some seconds") from None

    def kill(self) -> None:
        """Kill the process, even if it hangs. Safe from any thread."""
        self._process.kill()

    def last_line(self) -> str:
        """The last line of its output, after it was killed or ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._read_output()
        lines = self._output.replace(CONNECTED, b"").decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _read_output(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._out, 1 << 16):
                self._output = self._output[-4096:] + data

    def close(self) -> None:
        """Give it time to close the connection, then kill it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self._process.stdout.close()
