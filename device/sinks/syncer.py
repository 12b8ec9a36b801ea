"""Brings what was written to the medium, in a thread of its own: a card that is busy for a second costs no frame."""

import os
import threading
import time

from device.errors import RunError

STUCK_S = 10.0  # cards and USB sticks pause for a second or two while they put their blocks in order


class Syncer:
    """Owns its thread. `request` returns at once; what went wrong is raised by the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[tuple[int, int], int] = {}  # file -> a descriptor of our own: each file waits once
        self._busy_since: float | None = None
        self._error: OSError | None = None
        self._over = False
        self._thread = threading.Thread(target=self._work, name="sync", daemon=True)
        self._thread.start()

    def request(self, fd: int) -> None:
        """Sync this file (or folder) soon; the caller may close it meanwhile.

        Raises RunError when an earlier sync failed, or has not returned for ten seconds.
        """
        with self._changed:
            if self._error is not None:
                raise RunError(f"the medium did not take what was recorded: {self._error.strerror}; check or replace it")
            if self._busy_since is not None and time.monotonic() - self._busy_since > STUCK_S:
                raise RunError(f"the medium has not answered for {STUCK_S:.0f} s; check or replace it")
            state = os.fstat(fd)
            if (state.st_dev, state.st_ino) not in self._waiting:
                self._waiting[state.st_dev, state.st_ino] = os.dup(fd)
                self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
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
        """Finish what was requested, waiting so long at most. Closing twice is safe."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
