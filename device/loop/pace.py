"""How often the blur of a live source is looked at, so that it takes a small share of one core. No clock of its own."""

_SHARE = 0.03  # of one core
_SOON_S = 0.5  # until the next look while the blur is not clear
_AHEAD_S = 2.0  # of CPU time that changes of the blur may use before the share allows it


class Pace:
    """Looks take half of the share, so that estimates have the rest; a change may use some time ahead."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._look_s = 0.0
        self._owed_s = 0.0

    def pause_s(self, now_s: float, used_s: float, *, estimated: bool, settled: bool) -> float:
        """How long to wait after `used_s` of CPU time for an estimate or a mere look, which end at `now_s`."""
        self._owed_s = max(0.0, self._owed_s - (now_s - self._now_s) * _SHARE) + used_s
        self._now_s = now_s
        if not estimated:
            self._look_s = used_s
        if self._owed_s > _AHEAD_S:
            return used_s / _SHARE
        return max(_SOON_S, 2 * self._look_s / _SHARE) if settled else _SOON_S
