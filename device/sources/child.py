"""The camera's own process: opens it, reads it as fast as frames come, and hands over the newest one that is asked for.

    python -m device.sources.child LINK LIFELINE OPENER

It is begun by `device/sources/process.py`, which may kill it at any time: whatever hangs or crashes in a driver or a library
does so here. Over LINK (a socket that keeps messages apart) come `open` and `want`, and go `ready`, `opened`, `frame`, `bad`
and `lost`, JSON each. A frame's pixels lie in shared memory: `want` asks for one frame newer than the last, and gives its slot
back. LIFELINE is a pipe that nobody writes to. This process is killed when its other end closes.
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
from device.sources.checks import BadFrame, Stillness, check_image
from device.sources.ring import SLOTS, Ring, layout_of
from device.system.address import without_password, without_secrets

Opener = Callable[[str, CameraSettings], Camera]
_BAD_EVERY_S = 0.1  # how often thrown away frames are reported


def die_with(lifeline: int) -> None:
    """Be killed when the other end of the pipe is closed, by exit or by SIGKILL of its owner.

    The kernel does it (fcntl(2), F_SETSIG), so it holds while a C function keeps the interpreter's lock. PR_SET_PDEATHSIG would
    bind this process to the thread that began it, not to its parent.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # closed before the kernel knew what to do about it
        os._exit(0)


class Child:
    """One camera for one parent. The main thread reads the camera, the other one listens to the parent."""

    def __init__(self, link: socket.socket, opener: Opener) -> None:
        self._link, self._opener = link, opener
        self._lock = threading.Lock()  # of all that follows
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = False
        self._wanted = False
        self._newest: tuple[int, dict[str, Any]] | None = None  # slot and message, not yet sent
        self._held = -1  # slot that the parent may be reading
        self._ring: Ring | None = None
        self._ring_sent = False
        self._bad_frames, self._bad_said_s = 0, 0.0

    def run(self) -> None:
        """Open what is asked for, until the parent closes the link or an opened camera is lost."""
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
                ours = isinstance(error, DeblurkitError)
                reason = str(error) if ours else f"{without_password(spec)}: {type(error).__name__}: {error}"
                usage = isinstance(error, UsageError)
                self._send({"kind": "lost", "reason": without_secrets(reason, spec), "usage": usage})
                if opened:
                    return
            finally:
                if camera is not None:
                    camera.close()

    def _good_frames(self, camera: Camera, rotation: int) -> Iterator[tuple[Frame, str]]:
        """Frames as they are to be shown, and what there is to be said of them."""
        stillness = Stillness()
        while not self._stop:
            try:
                frame = camera.read()
                check_image(frame.image)
            except BadFrame as error:
                self._throw_away(str(error))
                continue
            note = stillness.look(frame.image)
            yield replace(frame, image=rotated(frame.image, rotation)), note

    def _throw_away(self, reason: str) -> None:
        self._bad_frames += 1
        if time.monotonic() - self._bad_said_s < _BAD_EVERY_S:
            time.sleep(0.002)  # garbage may come as fast as memory
            return
        self._bad_said_s = time.monotonic()
        self._send({"kind": "bad", "reason": reason, "bad_frames": self._bad_frames}, socket.MSG_DONTWAIT)

    def _offer(self, frame: Frame, note: str) -> None:
        """Make it the newest frame, and send it where one is wanted."""
        layout = layout_of(frame.image)
        with self._lock:
            if self._ring is None or self._ring.slot_bytes < layout.nbytes:
                if self._ring is not None:
                    self._ring.close()
                self._ring, self._ring_sent, self._newest, self._held = Ring.made_for(layout), False, None, -1
            taken = {self._held, self._newest[0] if self._newest else -1}
        slot = next(slot for slot in range(SLOTS) if slot not in taken)
        self._ring.write(slot, frame.image, layout)
        message = {
            "kind": "frame",
            "slot": slot,
            "index": frame.index,
            "captured_s": frame.captured_s,
            "layout": asdict(layout),
            "shot": asdict(frame.shot) if frame.shot else None,
            "note": note,
            "bad_frames": self._bad_frames,
            "slot_bytes": self._ring.slot_bytes,
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
                self._held, self._wanted = -1, True
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
        """With the lock held."""
        assert self._newest is not None
        assert self._ring is not None
        self._held, message = self._newest
        self._newest, self._wanted = None, False
        fds = [] if self._ring_sent else [self._ring.fd]
        self._ring_sent = True
        self._send(message, fds=fds)

    def _send(self, message: dict[str, Any], flags: int = 0, fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._link.sendmsg([json.dumps(message).encode()], rights, flags)
        except BlockingIOError:
            pass  # the parent is busy, and the next message will hold the count
        except OSError:
            self._stop = True  # the parent closed the link


def main() -> None:
    """Serve one parent, then end without waiting for the threads that camera libraries leave behind."""
    link, lifeline, opener = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and a service's stop reach the whole group: the parent sees to both
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=link) as link_socket:
        Child(link_socket, pkgutil.resolve_name(opener)).run()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
