"""Keeps a frame rate or a frame age: restores every second frame, then uses a smaller model; goes back when there is room.

It has no threads and no clock: the loop reports how long each restoration took, and asks which frames to restore and how.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

from device.hysteresis import Hysteresis

_WINDOW = 15  # restorations that a judgement is based on: half a second at 30 frames a second
_ENOUGH = 8  # restorations on a new step before it is judged
_ENOUGH_IF_TWICE = 3  # restorations that are enough if they take more than twice the available time
_OVERLOADED = 0.95  # share of the available time above which restoring is too slow; the rest is for passing frames on
_ROOM = 0.8  # share that a better step may need if it is to be tried
_FIRST_DWELL_S, _LONGEST_DWELL_S = 3.0, 300.0
_PROVEN_S = 60.0


@dataclass(frozen=True)
class Step:
    """How frames are restored to keep the rate or the age."""

    model: int
    """Index of the model, 0 the best."""
    every: int
    """1: restore every frame; 2: every second one."""


class RateControl:
    """Chooses between steps, one at a time: every frame, every second frame, then the same with the next smaller model.

    The target is `fps` frames a second, or frames no older than `max_age_s`; either may be 0. `source_fps` is the rate at
    which frames arrive.
    """

    def __init__(self, models: int, fps: float, max_age_s: float, source_fps: float) -> None:
        self.fps, self.max_age_s = fps, max_age_s
        # Of the slower of target and source: frames that do not arrive need no time.
        self._interval_s = 1 / min(rate for rate in (fps or source_fps, source_fps or fps) if rate) if fps or source_fps else 0.0
        self.steps = tuple(Step(model, every) for model in range(models) for every in (1, 2))
        self.changes = 0
        """How often the step has changed."""
        self._hysteresis = Hysteresis(
            len(self.steps), first_dwell_s=_FIRST_DWELL_S, longest_dwell_s=_LONGEST_DWELL_S, proven_s=_PROVEN_S
        )
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        # Model -> its median time when it was left, and the next smaller one's just after (0.0 until that is known).
        self._times_at_change: dict[int, tuple[float, float]] = {}

    @property
    def level(self) -> int:
        """Index into `steps`; 0 is the best."""
        return self._hysteresis.level

    @property
    def step(self) -> Step:
        """The present step."""
        return self.steps[self.level]

    def wants(self, index: int) -> bool:
        """Whether to restore the frame with this index. If not, it is skipped and the last restored frame is shown again."""
        return index % self.step.every == 0

    def restored(self, now: float, seconds: float, age_s: float) -> None:
        """Note a restored frame: at `now` (monotonic, s), in `seconds`, `age_s` after its capture. May change the step."""
        self._seconds.append(seconds)
        self._ages.append(age_s)
        took, age = median(self._seconds), median(self._ages)
        twice = len(self._seconds) >= _ENOUGH_IF_TWICE and not self._in_time(self.step, took / 2, age / 2, _OVERLOADED)
        if len(self._seconds) < _ENOUGH and not twice:
            return
        model = self.step.model
        if model - 1 in self._times_at_change and not self._times_at_change[model - 1][1]:
            self._times_at_change[model - 1] = (self._times_at_change[model - 1][0], took)  # both at the same temperature
        change = self._hysteresis.update(
            now,
            overloaded=not self._in_time(self.step, took, age, _OVERLOADED),
            has_room=lambda: self._has_room(took, age),
        )
        if change > 0 and self.step.model != model:
            self._times_at_change[model] = (took, 0.0)
        if change:
            self.changes += 1
            self._seconds.clear()
            self._ages.clear()

    def _has_room(self, took: float, age_s: float) -> bool:
        """Whether the next better step would be in time, estimated from the present times."""
        better = self.steps[self.level - 1]
        estimate = took
        if better.model != self.step.model:
            better_took, smaller_took = self._times_at_change[better.model]
            estimate = better_took * took / smaller_took
        return self._in_time(better, estimate, age_s + estimate - took, _ROOM)

    def _in_time(self, step: Step, seconds: float, age_s: float, share: float) -> bool:
        """Whether `seconds` fit into `share` of the step's interval, and frames are young enough."""
        # The step in use may reach the limit of the age itself; a better step is tried only if it leaves room.
        fits = not self._interval_s or seconds <= share * self._interval_s * step.every
        return fits and (not self.max_age_s or age_s <= self.max_age_s * (1.0 if share == _OVERLOADED else share))
