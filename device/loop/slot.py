"""Passes items from thread to thread, one at a time."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
POLL_S = 0.1  # how often a waiting thread checks whether to stop


class Slot(Generic[Item]):
    """Holds at most one item. With `newest`, a newer item replaces one not yet taken; without, `put` waits until it is taken.

    `stop` ends every wait within a tenth of a second. Threads poll it, because the signal handler that sets it cannot wake them:
    it may have interrupted a thread that holds the lock.
    """

    def __init__(self, newest: bool, dropped: Callable[[], None], stop: threading.Event) -> None:
        self._newest, self._dropped, self._stop = newest, dropped, stop
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Pass an item on. Returns False, without keeping the item, if closed or stopped."""
        with self._changed:
            if self.over:
                return False
            if self._item is not None:
                self._dropped()
            self._item = item
            self._changed.notify_all()
            while not self._newest and self._item is not None and not self.over:
                self._changed.wait(POLL_S)
            return True

    def take(self, timeout_s: float = float("inf")) -> Item | None:
        """Wait for an item. None after `timeout_s`, or when the slot is closed or stopped (`over`) and empty."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while self._item is None and not self.over and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(POLL_S, left))
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Accept no more items. Takers get the one that is left, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        """Whether no more items are accepted; one may be left."""
        return self._closed or self._stop.is_set()
