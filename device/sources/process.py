"""The loop's side of a camera process: start it, ask it for frames, and end it, even if it hangs."""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from device.images.frame import Frame, Shot
from device.settings import CameraSettings
from device.sources.triple_buffer import Layout, TripleBuffer
from device.system.address import without_password, without_secrets
from device.system.python_process import start_python

log = logging.getLogger(__name__)
_REAP_S = 1.0  # for the kernel to end a killed process; if a driver hangs in the kernel, it may never end


@dataclass(frozen=True)
class Ready:
    """The process has imported its libraries and reacts at once from now on."""


@dataclass(frozen=True)
class Opened:
    """The camera delivers frames; one follows."""

    description: str
    fps: float


@dataclass(frozen=True)
class Bad:
    """A frame was dropped."""

    reason: str
    bad_frames: int


@dataclass(frozen=True)
class Delivered:
    """A frame. Its index counts all frames since this opening, including those that were not requested."""

    frame: Frame
    note: str
    """A problem to report although the frame is shown; empty if there is none."""
    bad_frames: int


@dataclass(frozen=True)
class Lost:
    """There is no camera, or it was lost."""

    reason: str
    usage: bool = False
    """Whether the spec is invalid."""
    ended: bool = False
    """Whether the process has ended; if not, it can open a camera again."""


Message = Ready | Opened | Bad | Delivered | Lost


class CameraProcess:
    """One camera process. Owned and used by one thread; closing it ends the process and frees all file descriptors."""

    def __init__(self, opener: str) -> None:
        """Start the process. It imports its libraries in the background and opens no camera until `open` is called.

        `opener` is the `module:function` that opens cameras.
        """
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, self._lifeline = os.pipe()
        self._output_fd, errors = os.pipe()
        os.set_blocking(self._output_fd, False)
        try:
            self._process = start_python(
                *("-m", "device.sources.child", str(theirs.fileno()), str(lifeline), opener),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(), lifeline),
            )
        except BaseException:
            for fd in (self._lifeline, self._output_fd):
                os.close(fd)
            self._link.close()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(errors)
        self.pid = self._process.pid
        self.ready = False
        self._spec = ""
        self._requested = False
        self._buffer: TripleBuffer | None = None
        self._last_lines: deque[str] = deque(maxlen=3)
        self._closed = False

    def open(self, spec: str, settings: CameraSettings) -> None:
        """Ask the process to open a camera. The spec goes through the socket: other users can read a process's arguments."""
        self._spec = spec
        self._last_lines.clear()
        self._send({"kind": "open", "spec": spec, "settings": asdict(settings)})

    def receive(self, timeout_s: float, wake_fd: int) -> Message | None:
        """Ask for a frame and wait for a message; None after the timeout, or as soon as `wake_fd` is readable."""
        if not self._requested:
            self._requested = True
            self._send({"kind": "want"})
        poll = select.poll()
        for fd in (self._link.fileno(), self._output_fd, wake_fd):
            poll.register(fd, select.POLLIN)
        until = time.monotonic() + timeout_s
        while True:
            ready = {fd for fd, _ in poll.poll(max(0.0, 1000 * (until - time.monotonic())))}
            if wake_fd in ready or not ready:
                return None
            if self._output_fd in ready and not self._read_output():
                poll.unregister(self._output_fd)
            if self._link.fileno() in ready:
                return self._take()

    def _take(self) -> Message:
        try:
            data, fds, _, _ = socket.recv_fds(self._link, 1 << 16, 1)
        except OSError:
            data, fds = b"", []
        if not data:
            return Lost(self._why_ended(), ended=True)
        message = json.loads(data)
        match message["kind"]:
            case "ready":
                self.ready = True
                return Ready()
            case "opened":
                return Opened(message["description"], message["fps"])
            case "bad":
                return Bad(message["reason"], message["bad_frames"])
            case "lost":
                return Lost(message["reason"], message["usage"])
            case _:
                return self._delivered(message, fds)

    def _delivered(self, message: dict[str, Any], fds: list[int]) -> Delivered:
        if fds:
            if self._buffer is not None:
                self._buffer.close()
            self._buffer = TripleBuffer(fds[0], message["slot_bytes"])
        assert self._buffer is not None
        image = self._buffer.read(message["slot"], Layout(**message["layout"]))
        self._requested = False
        shot = Shot(**message["shot"]) if message["shot"] else None
        frame = Frame(message["index"], message["captured_s"], image, shot=shot)
        return Delivered(frame, message["note"], message["bad_frames"])

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # it has ended: the next `receive` reports that
            self._link.send(json.dumps(message).encode())

    def _read_output(self) -> bool:
        """Log what libraries in the process print; False at the end of its output."""
        try:
            data = os.read(self._output_fd, 1 << 16)
        except BlockingIOError:
            return True
        for line in without_secrets(data.decode(errors="replace"), self._spec).splitlines():
            if line.strip():
                self._last_lines.append(line.strip())
                log.debug("camera process: %s", line.strip())
        return bool(data)

    def _why_ended(self) -> str:
        """Why the process ended by itself."""
        try:
            code = self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return f"{without_password(self._spec)}: the camera's process no longer answers"
        self._read_output()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        output = f"; its output: {' / '.join(self._last_lines)}" if self._last_lines else ""
        return f"{without_password(self._spec)}: the camera's process ended {how}{output}"

    def close(self, grace_s: float = 0.5) -> bool:
        """Give the process `grace_s` to close the camera, then kill it. Closing twice is safe.

        Returns False while the kernel cannot end it because a driver hangs; then no other process can open the camera either.
        """
        if not self._closed:
            self._closed = True
            self._link.close()  # asks it to end
            if not self._wait(grace_s):
                self._process.kill()
            os.close(self._lifeline)
            os.close(self._output_fd)
            if self._buffer is not None:
                self._buffer.close()
            return self._wait(_REAP_S)
        return self._wait(0.0)

    def _wait(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True
