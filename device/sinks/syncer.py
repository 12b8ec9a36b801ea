"""Sync files to the medium in a separate thread, so that a card that is busy for a second costs no frames."""

import os
import threading
import time

from device.errors import RunError

STUCK_S = 10.0  # cards and USB sticks pause for a second or two while they reorganise their blocks


class Syncer:
    """Owns its thread. `request` returns at once; the next `request` raises the error of an earlier one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[tuple[int, int], int] = {}  # file -> our copy of its descriptor: each file is queued once
        self._busy_since: float | None = None
        self._error: OSError | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
        self._thread.start()

    def request(self, fd: int) -> None:
        """Sync this file or folder soon; the caller may close it meanwhile.

        Raises RunError if an earlier sync failed, or has not returned for ten seconds.
        """
        with self._changed:
            if self._error is not None:
                raise RunError(f"the recording could not be written to the medium: {self._error.strerror}; check or replace it")
            if self._busy_since is not None and time.monotonic() - self._busy_since > STUCK_S:
                raise RunError(f"the medium has not answered for {STUCK_S:.0f} s; check or replace it")
            state = os.fstat(fd)
            if (state.st_dev, state.st_ino) not in self._waiting:
                self._waiting[state.st_dev, state.st_ino] = os.dup(fd)
                self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                fd = self._waiting.pop(next(iter(self._waiting)))
                self._busy_since = time.monotonic()
            error: OSError | None = None
            try:
                os.fdatasync(fd)
            except OSError as failed:
                error = failed
            finally:
                os.close(fd)
            with self._changed:
                self._busy_since = None
                self._error = self._error or error

    def close(self, timeout_s: float) -> None:
        """Finish the requested syncs, within `timeout_s`. Closing twice is safe."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
