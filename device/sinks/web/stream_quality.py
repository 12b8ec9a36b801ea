"""How much one viewer is sent: less when the network does not keep up, more again when it does."""

from dataclasses import dataclass

from device.hysteresis import Hysteresis


@dataclass(frozen=True)
class Level:
    """What a viewer gets. All viewers share these few qualities, so that they also share the encoded pictures."""

    quality: int
    """libjpeg's, 1 to 100."""
    interval_s: float
    """Least time between two frames; 0: every frame."""


# Bytes of a 640x480 picture of the generated scene at quality 85, 65, 40: 77,000, 50,000, 37,000 (scripts/stream_cost.py).
LEVELS = (Level(85, 0.0), Level(65, 0.0), Level(40, 0.0), Level(40, 0.1), Level(40, 0.4))
_WINDOW_S = 1.0  # the level is judged once per window
_OVERLOADED = 0.6  # share of the time above which sending is too slow; the rest is reserve for the network
_ROOM = 0.2  # share below which the next better level fits: it needs up to twice the bytes
_FIRST_DWELL_S, _LONGEST_DWELL_S = 3.0, 60.0
_PROVEN_S = 20.0


class StreamQuality:
    """Chooses the level from how long the viewer's network kept each frame waiting. It has no clock of its own."""

    def __init__(self, now: float) -> None:
        self._hysteresis = Hysteresis(
            len(LEVELS), first_dwell_s=_FIRST_DWELL_S, longest_dwell_s=_LONGEST_DWELL_S, proven_s=_PROVEN_S
        )
        self._window_began = now
        self._busy_s = 0.0

    @property
    def level(self) -> Level:
        """What to send now."""
        return LEVELS[self._hysteresis.level]

    def sent(self, now: float, busy_s: float) -> None:
        """Note that a frame was sent: at `now` (monotonic, s), after the network was busy with it for `busy_s`."""
        self._busy_s += busy_s
        window_s = now - self._window_began
        if window_s < _WINDOW_S:
            return
        share = self._busy_s / window_s
        self._window_began, self._busy_s = now, 0.0
        self._hysteresis.update(now, overloaded=share > _OVERLOADED, has_room=lambda: share < _ROOM)
