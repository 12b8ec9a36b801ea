"""The loop's end of a camera's process: begins it, asks it for frames, and ends it, whatever it hangs in."""

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
from device.sources.ring import Layout, Ring
from device.system.address import without_password, without_secrets
from device.system.python_process import start_python

log = logging.getLogger(__name__)
_REAP_S = 1.0  # that the kernel may take over a killed process; a driver that hangs inside it can take for ever


@dataclass(frozen=True)
class Ready:
    """The process has imported its libraries; what it is asked for from now on, it does at once."""


@dataclass(frozen=True)
class Opened:
    """The camera delivers; a frame follows."""

    description: str
    fps: float


@dataclass(frozen=True)
class Bad:
    """A frame was thrown away."""

    reason: str
    bad_frames: int


@dataclass(frozen=True)
class Delivered:
    """A frame; its index counts the frames of this opening, those not asked for too."""

    frame: Frame
    note: str
    """What there is to be said of it, though it is shown."""
    bad_frames: int


@dataclass(frozen=True)
class Lost:
    """There is no camera, or not any more."""

    reason: str
    usage: bool = False
    """Whether the spec itself is wrong."""
    ended: bool = False
    """Whether the process has ended; else it can be asked to open once more."""


Message = Ready | Opened | Bad | Delivered | Lost


class CameraProcess:
    """One process. Owned and used by one thread; close it to end the process and to free every descriptor."""

    def __init__(self, opener: str) -> None:
        """Begin it. It imports what it needs while nobody waits, and opens nothing before it is asked to.

        `opener` is the `module:function` that opens cameras.
        """
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        held, self._lifeline = os.pipe()
        self._said_to, errors = os.pipe()
        os.set_blocking(self._said_to, False)
        try:
            self._process = start_python(
                *("-m", "device.sources.child", str(theirs.fileno()), str(held), opener),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(theirs.fileno(), held),
            )
        except BaseException:
            for fd in (self._lifeline, self._said_to):
                os.close(fd)
            self._link.close()
            raise
        finally:
            theirs.close()
            os.close(held)
            os.close(errors)
        self.pid = self._process.pid
        self.ready = False
        self._spec = ""
        self._asked = False
        self._ring: Ring | None = None
        self._said: deque[str] = deque(maxlen=3)
        self._closed = False

    def open(self, spec: str, settings: CameraSettings) -> None:
        """Ask it to open a camera. The spec travels through the link: other users can read the arguments of a process."""
        self._spec = spec
        self._said.clear()
        self._send({"kind": "open", "spec": spec, "settings": asdict(settings)})

    def receive(self, timeout_s: float, wake_fd: int) -> Message | None:
        """Ask for a frame, and wait for a message; None after that time, or at once when `wake_fd` becomes readable."""
        if not self._asked:
            self._asked = True
            self._send({"kind": "want"})
        poll = select.poll()
        for fd in (self._link.fileno(), self._said_to, wake_fd):
            poll.register(fd, select.POLLIN)
        until = time.monotonic() + timeout_s
        while True:
            ready = {fd for fd, _ in poll.poll(max(0.0, 1000 * (until - time.monotonic())))}
            if wake_fd in ready or not ready:
                return None
            if self._said_to in ready and not self._listen():
                poll.unregister(self._said_to)
            if self._link.fileno() in ready:
                return self._take()

    def _take(self) -> Message:
        try:
            data, fds, _, _ = socket.recv_fds(self._link, 1 << 16, 1)
        except OSError:
            data, fds = b"", []
        if not data:
            return Lost(self._end(), ended=True)
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
            if self._ring is not None:
                self._ring.close()
            self._ring = Ring(fds[0], message["slot_bytes"])
        assert self._ring is not None
        image = self._ring.read(message["slot"], Layout(**message["layout"]))
        self._asked = False
        shot = Shot(**message["shot"]) if message["shot"] else None
        frame = Frame(message["index"], message["captured_s"], image, shot=shot)
        return Delivered(frame, message["note"], message["bad_frames"])

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # it has ended, which the next message tells
            self._link.send(json.dumps(message).encode())

    def _listen(self) -> bool:
        """Log what the libraries in it print; False when nothing can come any more."""
        try:
            data = os.read(self._said_to, 1 << 16)
        except BlockingIOError:
            return True
        for line in without_secrets(data.decode(errors="replace"), self._spec).splitlines():
            if line.strip():
                self._said.append(line.strip())
                log.debug("camera process: %s", line.strip())
        return bool(data)

    def _end(self) -> str:
        """Why it ended by itself, in words."""
        try:
            code = self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return f"{without_password(self._spec)}: the camera's process does not answer any more"
        self._listen()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        said = f"; it said: {' / '.join(self._said)}" if self._said else ""
        return f"{without_password(self._spec)}: the camera's process ended {how}{said}"

    def close(self, grace_s: float = 0.5) -> bool:
        """Let it close the camera for so long, then kill it. Closing twice is safe.

        False while the kernel cannot end it, because a driver hangs: then nobody else can have the camera either.
        """
        if not self._closed:
            self._closed = True
            self._link.close()  # tells it to end
            if not self._gone(grace_s):
                self._process.kill()
            os.close(self._lifeline)
            os.close(self._said_to)
            if self._ring is not None:
                self._ring.close()
            return self._gone(_REAP_S)
        return self._gone(0.0)

    def _gone(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True
