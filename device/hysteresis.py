"""Chooses between levels so that the choice does not swing: worse at once, better only after a while."""

from collections.abc import Callable


class Hysteresis:
    """An index into levels, 0 the best. It has no clock: `now` is monotonic time in seconds.

    A level is kept for `first_dwell_s` before a better one is tried. Each time a better level lasts less than `proven_s`, that
    time doubles, up to `longest_dwell_s`; once a better level has lasted `proven_s`, it is `first_dwell_s` again.
    """

    def __init__(self, levels: int, *, first_dwell_s: float, longest_dwell_s: float, proven_s: float) -> None:
        self.level = 0
        self._levels, self._proven_s = levels, proven_s
        self._dwell_s, self._first_dwell_s, self._longest_dwell_s = first_dwell_s, first_dwell_s, longest_dwell_s
        self._since = 0.0  # when the level last changed; not read before it has
        self._improved_at: float | None = None  # when the present level was tried as a better one

    def update(self, now: float, *, overloaded: bool, has_room: Callable[[], bool]) -> int:
        """Judge the present level. Returns the change: 1 to the next worse level, -1 to the next better one, or 0.

        `has_room` tells whether the next better level would do. It is asked only when that level may be tried.
        """
        if overloaded:
            if self.level + 1 == self._levels:
                return 0
            if self._improved_at is not None and now - self._improved_at < self._proven_s:  # tried too soon
                self._dwell_s = min(2 * self._dwell_s, self._longest_dwell_s)
            self._improved_at = None
            return self._change(1, now)
        if self.level > 0 and now - self._since >= self._dwell_s and has_room():
            self._improved_at = now
            return self._change(-1, now)
        if self._improved_at is not None and now - self._improved_at >= self._proven_s:
            self._improved_at, self._dwell_s = None, self._first_dwell_s
        return 0

    def _change(self, by: int, now: float) -> int:
        self.level, self._since = self.level + by, now
        return by
