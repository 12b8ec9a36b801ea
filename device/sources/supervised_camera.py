"""A supervised camera: it runs in its own process and is reopened when it stops delivering frames.

Reading a camera can block forever in a driver or library. A blocked thread cannot be ended, but a process can. So a read here
always returns: a picture, or once a second a placeholder frame that says why there is no picture.
"""

import logging
import os
import select
import threading
import time
from dataclasses import replace
from enum import Enum
from pathlib import Path

from device.errors import CameraLost, UsageError
from device.images.frame import NO_VIDEO, Frame
from device.images.overlay import placeholder
from device.settings import CameraSettings
from device.sources.process import Bad, CameraProcess, Delivered, Lost, Message, Opened, Ready
from device.sources.source import SourceStatus
from device.system.address import without_password

log = logging.getLogger(__name__)
OPENER = "device.sources.open_camera:open_camera"
SILENCE_S = 2.5  # without a good frame the camera is reopened
STARTING_S = 60.0  # for the process to import its libraries: 2 s on a board, 20 on a busy emulated one
OPENING_S = 10.0  # to the first good frame: a network camera may send a key frame only every few seconds
REOPENING_S = 3.0  # the same for a camera that opened in at most half of that before
PLACEHOLDER_EVERY_S = 1.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 4.0  # the picture returns within 5 s after the camera
STEADY_S = 5.0  # a camera that delivered for this long is healthy: after its next loss retries start quickly again
FRESH_AFTER = 8  # failed attempts in one process before a new one is started: libraries may cache what they saw
_GRACE_S = 0.3  # for the process to release the camera before it is killed
_SILENT_GRACE_S = 0.1  # the same if it probably hangs: the placeholder waits for this


class _Phase(Enum):
    WAITING = "until the next attempt to open"
    OPENING = "until the first good frame"
    DELIVERING = "until the next good frame"


class SupervisedCamera:
    """The source for every kind of camera. After it is opened, `read` neither raises nor hangs."""

    live = True
    total = 0
    origin: Path | None = None

    def __init__(
        self,
        spec: str,
        camera: CameraSettings,
        wait: bool = False,
        opener: str = OPENER,
        stop: threading.Event | None = None,
    ) -> None:
        """Open the camera. Raises CameraLost if there is none, unless `wait` is set; UsageError for an invalid spec.

        `opener` is the `module:function` that opens cameras in their process. `stop` ends the wait for the first frame.
        """
        self._spec, self._camera, self._opener = spec, camera, opener
        self._name = without_password(spec)
        self.description = self._name
        self.fps = camera.fps
        self.status = SourceStatus(ok=False, reason=f"{self._name}: is being opened")
        width, height = camera.size_wh
        self._size_wh = (height, width) if camera.rotation in (90, 270) else (width, height)
        self._reading, self._ending = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._closed = False
        self._index = -1  # of the last frame, picture or placeholder
        self._first_index: int | None = None  # index of frame 0 since the last opening; None before the first frame
        self._delivered = self._pictures = False  # whether the camera ever delivered, and whether a picture was read
        self._bad_before = self._bad_here = 0  # frames dropped by earlier processes, and by this one
        self._bad_reason = ""  # of frames dropped since the last good one
        self._failures, self._retry_s = 0, FIRST_RETRY_S
        self._patience_s = OPENING_S  # for the first good frame
        self._attempt_s = self._opened_s = self._lost_s = self._placeholder_at = time.monotonic()
        self._phase, self._due = _Phase.WAITING, 0.0
        self._stuck: CameraProcess | None = None  # a process that the kernel cannot end
        self._process: CameraProcess | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._start_opening()
            while self._phase is _Phase.OPENING and not (stop is not None and stop.is_set()):
                message = self._receive(min(self._due, time.monotonic() + 0.1))
                if isinstance(message, Lost) and message.usage:
                    raise UsageError(message.reason)
                self._handle(message)
            if self._phase is _Phase.WAITING:
                if not wait:
                    raise CameraLost(self.status.reason)
                log.warning("%s; waiting for it", self.status.reason)
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """The newest unread frame, or once a second a placeholder marked NO VIDEO; None after `close`."""
        with self._reading:
            if self._phase is _Phase.DELIVERING:
                self._due = time.monotonic() + SILENCE_S
            while not self._closing.is_set():
                now = time.monotonic()
                if self._phase is _Phase.WAITING and now >= self._due:
                    self._start_opening()
                elif self._phase is not _Phase.DELIVERING and now >= self._placeholder_at:
                    return self._placeholder()
                else:
                    until = self._due if self._phase is _Phase.DELIVERING else min(self._due, self._placeholder_at)
                    if (frame := self._handle(self._receive(until))) is not None:
                        return frame
            return None

    def _start_opening(self) -> None:
        """Ask the process to open the camera."""
        if self._stuck is not None and not self._stuck.close():
            self._lose(f"{self._name}: its driver hangs, and process {self._stuck.pid} cannot be killed; restart the board")
            return
        self._stuck = None
        try:
            self._process = self._process or CameraProcess(self._opener)
        except OSError as error:
            self._lose(f"{self._name}: its process cannot be started ({error.strerror})")
            return
        self._attempt_s = time.monotonic()
        self._phase, self._due = _Phase.OPENING, self._attempt_s + (self._patience_s if self._process.ready else STARTING_S)
        self._first_index, self._bad_reason = None, ""
        self._process.open(self._spec, self._camera)

    def _receive(self, until: float) -> Message | None:
        timeout_s = max(0.0, until - time.monotonic())
        if self._process is None:
            select.select([self._wake], [], [], timeout_s)
            return None
        return self._process.receive(timeout_s, self._wake)

    def _handle(self, message: Message | None) -> Frame | None:
        """Handle a message of the process, or its silence (None); returns a good frame."""
        match message:
            case Delivered():
                return self._good(message)
            case Ready() if self._phase is _Phase.OPENING:
                self._attempt_s = time.monotonic()  # start-up time is not the camera's fault, and a busy board is slow
                self._due = self._attempt_s + self._patience_s
            case Opened():
                self._opened_s = time.monotonic()
                self._phase, self._due = _Phase.DELIVERING, self._opened_s + SILENCE_S
                self._patience_s = min(OPENING_S, max(REOPENING_S, 2 * (self._opened_s - self._attempt_s)))
                if self._failures:
                    log.info("%s: delivers pictures again after %.1f s", self._name, self._opened_s - self._lost_s)
                self.description, self.fps = message.description, message.fps or self._camera.fps
                again = self.status.reopened + int(self._delivered)
                self.status, self._delivered = replace(self.status, ok=True, reason="", reopened=again), True
            case Bad():
                self._bad_reason, self._bad_here = message.reason, message.bad_frames
                self.status = replace(self.status, bad_frames=self._bad_before + self._bad_here)
            case Lost():
                self._lose(message.reason, message.ended or self._phase is _Phase.DELIVERING)
            case None if time.monotonic() >= self._due and self._phase is not _Phase.WAITING and not self._closing.is_set():
                self._lose(f"{self._name}: {self._silence()}", True, _SILENT_GRACE_S)
        return None

    def _silence(self) -> str:
        if self._process is not None and not self._process.ready:
            return f"its process was not ready within {STARTING_S:.2g} s; this machine is too busy or out of memory"
        silent_s = SILENCE_S if self._phase is _Phase.DELIVERING else self._patience_s
        what = f"only frames that cannot be shown ({self._bad_reason})" if self._bad_reason else "no frame"
        return f"{what} for {silent_s:.2g} s; check its plug, cable and power"

    def _good(self, message: Delivered) -> Frame:
        now = time.monotonic()
        if self._first_index is None:
            self._first_index = self._index + 1 - message.frame.index
        if now - self._opened_s > STEADY_S:
            self._failures, self._retry_s = 0, FIRST_RETRY_S
        frame = replace(message.frame, index=self._first_index + message.frame.index)
        if frame.size_wh != self._size_wh and self._pictures:
            log.info("%s: the picture size changed to %dx%d from %dx%d", self._name, *frame.size_wh, *self._size_wh)
        if message.note and message.note != self.status.reason:
            log.warning("%s: %s", self._name, message.note)
        self._index, self._size_wh, self._pictures = frame.index, frame.size_wh, True
        self._bad_reason, self._bad_here = "", message.bad_frames
        self.status = replace(self.status, ok=True, reason=message.note, bad_frames=self._bad_before + self._bad_here)
        return frame

    def _lose(self, reason: str, renew: bool = False, grace_s: float = _GRACE_S) -> None:
        """Show placeholders and reopen the camera later; with `renew`, in a new process, since the old one ended or hangs."""
        now = time.monotonic()
        if self._phase is _Phase.DELIVERING:
            self._lost_s = self._placeholder_at = now
            log.warning("%s; reopened as soon as it is back", reason)
        elif reason != self.status.reason and self._failures:  # `__init__` reports the first one
            log.info("%s", reason)
        self.status = replace(self.status, ok=False, reason=reason)
        # Count from the start of the last attempt: if it hung, part of the time has passed already.
        self._phase, self._due = _Phase.WAITING, max(now + FIRST_RETRY_S, self._attempt_s + self._retry_s)
        self._failures += 1
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        if renew or self._failures % FRESH_AFTER == 0:
            self._renew(grace_s)

    def _renew(self, grace_s: float) -> None:
        """End the process and start the next one at once, so that it has imported its libraries before the next attempt."""
        old, self._process = self._process, None
        self._bad_before, self._bad_here = self._bad_before + self._bad_here, 0
        if old is not None and not old.close(grace_s):
            self._stuck = old
            return
        try:
            self._process = CameraProcess(self._opener)
        except OSError as error:
            log.warning("%s: its process cannot be started (%s)", self._name, error.strerror)

    def _placeholder(self) -> Frame:
        now = time.monotonic()
        self._placeholder_at = now + PLACEHOLDER_EVERY_S
        self._index += 1
        return Frame(self._index, now, placeholder(self._size_wh, self.status.reason), mark=NO_VIDEO)

    def close(self) -> None:
        """End the process, which releases the camera; a waiting read returns None. Closing twice is safe."""
        with self._ending:
            if self._closed:
                return
            self._closed = True
            self._closing.set()
            os.eventfd_write(self._wake, 1)
            with self._reading:
                for process in (self._process, self._stuck):
                    if process is not None:
                        process.close(_GRACE_S)
                os.close(self._wake)
