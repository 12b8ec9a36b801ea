"""The camera's own process: it opens the camera, reads every frame as it arrives, and passes on the newest when asked.

    python -m device.sources.child LINK LIFELINE OPENER

`process.py` starts it and may kill it at any time: if a driver or library hangs or crashes, it does so here. LINK is a socket
that preserves message boundaries; it receives `open` and `want` and sends `ready`, `opened`, `frame`, `bad` and `lost`, all in
JSON. Pixels are in shared memory: `want` releases the slot of the last frame and asks for a newer one. LIFELINE is a pipe that
nobody writes to: the kernel kills this process when the other end closes.
"""

import array
import fcntl
import json
import os
import pkgutil
import queue
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from device.errors import DeblurkitError, UsageError
from device.images.frame import Frame
from device.settings import CameraSettings
from device.sources.camera import Camera, rotated
from device.sources.checks import BadFrame, FreezeDetector, check_image
from device.sources.triple_buffer import SLOTS, TripleBuffer, layout_of
from device.system.address import without_password, without_secrets

Opener = Callable[[str, CameraSettings], Camera]
_BAD_EVERY_S = 0.1  # report dropped frames at most this often


def die_with(lifeline: int) -> None:
    """Make the kernel kill this process when the other end of the pipe closes, even if its owner gets SIGKILL.

    The kernel does it (fcntl(2), F_SETSIG), so it works while a C function holds the interpreter lock. PR_SET_PDEATHSIG would
    tie this process to the thread that started it, not to the parent process.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it closed before F_SETSIG took effect
        os._exit(0)


class Child:
    """One camera for one parent process. The main thread reads the camera; a second thread listens to the parent."""

    def __init__(self, link: socket.socket, opener: Opener) -> None:
        self._link, self._opener = link, opener
        self._lock = threading.Lock()  # guards everything below
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = False
        self._wanted = False
        self._newest: tuple[int, dict[str, Any]] | None = None  # slot and message that are not sent yet
        self._reading = -1  # slot that the parent may be reading
        self._buffer: TripleBuffer | None = None
        self._buffer_sent = False
        self._bad_frames, self._bad_reported_s = 0, 0.0

    def run(self) -> None:
        """Open cameras on request, until the parent closes the link or an opened camera is lost."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._send({"kind": "ready"})
        while (order := self._orders.get()) is not None:
            spec = str(order["spec"])
            opened = False
            camera: Camera | None = None
            try:
                camera = self._opener(spec, CameraSettings(**order["settings"]))
                for frame, note in self._good_frames(camera, int(order["settings"]["rotation"])):
                    if not opened:
                        self._send({"kind": "opened", "description": camera.description, "fps": camera.fps})
                        opened = True
                    self._offer(frame, note)
                return
            except Exception as error:
                if not isinstance(error, DeblurkitError):
                    print(without_secrets(traceback.format_exc(), spec), file=sys.stderr)
                expected = isinstance(error, DeblurkitError)
                reason = str(error) if expected else f"{without_password(spec)}: {type(error).__name__}: {error}"
                usage = isinstance(error, UsageError)
                self._send({"kind": "lost", "reason": without_secrets(reason, spec), "usage": usage})
                if opened:
                    return
            finally:
                if camera is not None:
                    camera.close()

    def _good_frames(self, camera: Camera, rotation: int) -> Iterator[tuple[Frame, str]]:
        """Frames to show, rotated, each with a problem to report or an empty string."""
        freeze_detector = FreezeDetector()
        while not self._stop:
            try:
                frame = camera.read()
                check_image(frame.image)
            except BadFrame as error:
                self._drop(str(error))
                continue
            note = freeze_detector.check(frame.image)
            yield replace(frame, image=rotated(frame.image, rotation)), note

    def _drop(self, reason: str) -> None:
        self._bad_frames += 1
        if time.monotonic() - self._bad_reported_s < _BAD_EVERY_S:
            time.sleep(0.002)  # bad frames may arrive as fast as memory allows
            return
        self._bad_reported_s = time.monotonic()
        self._send({"kind": "bad", "reason": reason, "bad_frames": self._bad_frames}, socket.MSG_DONTWAIT)

    def _offer(self, frame: Frame, note: str) -> None:
        """Make this the newest frame, and send it if the parent is waiting for one."""
        layout = layout_of(frame.image)
        with self._lock:
            if self._buffer is None or self._buffer.slot_bytes < layout.nbytes:
                if self._buffer is not None:
                    self._buffer.close()
                self._buffer, self._buffer_sent, self._newest, self._reading = TripleBuffer.create(layout), False, None, -1
            in_use = {self._reading, self._newest[0] if self._newest else -1}
        slot = next(slot for slot in range(SLOTS) if slot not in in_use)
        self._buffer.write(slot, frame.image, layout)
        message = {
            "kind": "frame",
            "slot": slot,
            "index": frame.index,
            "captured_s": frame.captured_s,
            "layout": asdict(layout),
            "shot": asdict(frame.shot) if frame.shot else None,
            "note": note,
            "bad_frames": self._bad_frames,
            "slot_bytes": self._buffer.slot_bytes,
        }
        with self._lock:
            self._newest = slot, message
            if self._wanted:
                self._send_newest()

    def _listen(self) -> None:
        while received := self._receive():
            message = json.loads(received)
            if message["kind"] == "open":
                self._orders.put(message)
                continue
            with self._lock:
                self._reading, self._wanted = -1, True
                if self._newest is not None:
                    self._send_newest()
        self._stop = True
        self._orders.put(None)

    def _receive(self) -> bytes:
        try:
            return self._link.recv(1 << 16)
        except OSError:
            return b""

    def _send_newest(self) -> None:
        """Send the newest frame. Call it with the lock held."""
        assert self._newest is not None
        assert self._buffer is not None
        self._reading, message = self._newest
        self._newest, self._wanted = None, False
        fds = [] if self._buffer_sent else [self._buffer.fd]
        self._buffer_sent = True
        self._send(message, fds=fds)

    def _send(self, message: dict[str, Any], flags: int = 0, fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._link.sendmsg([json.dumps(message).encode()], rights, flags)
        except BlockingIOError:
            pass  # the parent is busy; the next message will contain the count
        except OSError:
            self._stop = True  # the parent closed the link


def main() -> None:
    """Serve one parent, then exit without waiting for threads that camera libraries leave behind."""
    link, lifeline, opener = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach the whole group; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=link) as link_socket:
        Child(link_socket, pkgutil.resolve_name(opener)).run()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
