"""How much one viewer is sent: less when the network does not keep up, more again when it does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """What a viewer gets. All viewers share these few qualities, so that their pictures are shared too."""

    quality: int
    """libjpeg's, 1 to 100."""
    interval_s: float
    """Least time between two frames; 0: every frame."""


# Bytes of a 640x480 picture of the generated scene at quality 85, 65, 40: 77,000, 50,000, 37,000 (scripts/stream_cost.py).
LEVELS = (Level(85, 0.0), Level(65, 0.0), Level(40, 0.0), Level(40, 0.1), Level(40, 0.4))
_WINDOW_S = 1.0  # what a judgement rests on
_FULL = 0.6  # share of the time that sending may take; the rest is the network's reserve
_ROOM = 0.2  # share below which the next better level, of up to twice the bytes, would still fit
_FIRST_DWELL_S, _LONGEST_DWELL_S = 3.0, 60.0  # how long a level is kept before a better one is tried
_PROVEN_S = 20.0  # a better level that holds this long was no mistake


class StreamQuality:
    """Chooses the level. No clock of its own: it is told how long the viewer's network kept each frame waiting."""

    def __init__(self, now: float) -> None:
        self._index = 0
        self._window_began = self._since = now
        self._busy_s = 0.0
        self._dwell_s = _FIRST_DWELL_S
        self._rose_at: float | None = None

    @property
    def level(self) -> Level:
        """What to send now."""
        return LEVELS[self._index]

    def sent(self, now: float, busy_s: float) -> None:
        """A frame has gone out: at `now` (monotonic, s), after the network was busy with it for `busy_s`."""
        self._busy_s += busy_s
        window_s = now - self._window_began
        if window_s < _WINDOW_S:
            return
        share = self._busy_s / window_s
        self._window_began, self._busy_s = now, 0.0
        if share > _FULL:
            if self._index + 1 < len(LEVELS):
                if self._rose_at is not None and now - self._rose_at < _PROVEN_S:  # the better level was tried too soon
                    self._dwell_s = min(2 * self._dwell_s, _LONGEST_DWELL_S)
                self._rose_at = None
                self._go(self._index + 1, now)
        elif share < _ROOM and self._index > 0 and now - self._since >= self._dwell_s:
            self._rose_at = now
            self._go(self._index - 1, now)
        elif self._rose_at is not None and now - self._rose_at >= _PROVEN_S:
            self._rose_at, self._dwell_s = None, _FIRST_DWELL_S

    def _go(self, index: int, now: float) -> None:
        self._index, self._since = index, now
