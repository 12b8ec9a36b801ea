"""The live picture for others: published to an RTSP server such as MediaMTX, which serves the readers.

FFmpeg's RTSP client holds Python's lock while it connects, so a server that does not answer would stop the whole loop. So it runs
in a process of its own, which encodes as well: `device/sinks/publisher.py`. What hangs there is killed.
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
from device.sinks.h264 import MISSING, Form, form_of, planes_of
from device.system.address import without_password, without_secrets
from device.system.python_process import start_python

log = logging.getLogger(__name__)
CONNECTED = b"connected\n"
STAMP = struct.Struct("<d")  # time of capture, before each picture's planes
_STARTING_S = 15.0  # to the first picture at the server: a busy board takes some seconds to start a process
_STUCK_S = 4.0  # afterwards, for one picture
_GRACE_S = 0.3  # for a process that is asked to end
_PIPE_BYTES = 1 << 20  # the most that any user may ask for: a picture or two


class Publisher:
    """A sink. Connects with the first frame; cards are published as well, so that readers see them."""

    def __init__(self, url: str, fps: float, mbit: float) -> None:
        """`rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH`; `fps` is what is expected (0: unknown), `mbit` what a second may cost."""
        if importlib.util.find_spec("av") is None:
            raise RunError(MISSING)
        self.description = f"published to {without_password(url)}"
        self._url, self._fps, self._mbit = url, fps, mbit
        self._lock = threading.Lock()  # a stop may close while a write has not returned
        self._process: _Process | None = None
        self._last: Restored | None = None
        self._closed = False

    def write(self, restored: Restored) -> None:
        """Publish one frame. Raises RunError when the server does not take it; waits a few seconds for it at most."""
        with self._lock:
            if self._closed:
                raise RunError(f"{self.description}: is closed already")
            if restored is self._last:  # repeated to keep a frame rate: readers keep the last picture anyway
                return
            self._last = restored
            form = form_of(restored.image)
            if self._process is not None and self._process.form != form:  # a stream of H.264 has one size
                self._process.close()
                self._process = None
            if self._process is None:
                self._process = _Process(self._url, form, self._fps, self._mbit)
            try:
                self._process.send(planes_of(restored.image), restored.frame.captured_s)
            except OSError as error:
                self._process.kill()
                reason = self._process.said() or str(error)
                self._process.close()
                self._process = None
                raise RunError(f"{self.description}: {without_secrets(reason, self._url)}; is the server there?") from error

    def close(self) -> None:
        """End the stream. Closing twice is safe."""
        self._closed = True
        while not self._lock.acquire(timeout=_GRACE_S):
            if (process := self._process) is not None:
                process.kill()  # which ends the write
        try:
            if self._process is not None:
                self._process.close()
                self._process = None
        finally:
            self._lock.release()


class _Process:
    """One stream of one form. Pictures go in through its standard input; what it says comes out as text."""

    def __init__(self, url: str, form: Form, fps: float, mbit: float) -> None:
        self.form = form
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
        self._said = b""
        # Through the pipe: other users can read the arguments of a process, and the address may hold a password.
        order = {"url": url, "form": asdict(form), "fps": fps, "mbit": mbit}
        self._unsent = memoryview(json.dumps(order).encode() + b"\n")

    def send(self, picture: Yuv, captured_s: float) -> None:
        """Hand over one picture. Raises OSError when the process has ended or takes nothing for too long."""
        self._listen()
        until = time.monotonic() + (_STUCK_S if CONNECTED in self._said else _STARTING_S)
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
                    raise TimeoutError("took no picture for some seconds") from None

    def kill(self) -> None:
        """End it, whatever it hangs in. Safe from any thread."""
        self._process.kill()

    def said(self) -> str:
        """Its last line, after it was killed or ended by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._listen()
        lines = self._said.replace(CONNECTED, b"").decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _listen(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._out, 1 << 16):
                self._said = self._said[-4096:] + data

    def close(self) -> None:
        """Let it say goodbye to the server, then kill it."""
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
