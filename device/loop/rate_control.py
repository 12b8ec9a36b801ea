"""Keeps a frame rate or a frame age: by restoring every second frame, then by a smaller model; undone when there is room.

No threads and no clock of its own: it is told how long each restoration took, and says what to do with the next frame.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

_WINDOW = 15  # restorations that a judgement rests on: half a second at 30 a second
_ENOUGH = 8  # restorations on a new step before it is judged
_PLAIN = 3  # restorations that are enough where they take twice the time at hand
_FULL = 0.95  # share of the time at hand that restoring may take; the rest is handing over
_ROOM = 0.8  # share that it may take on a better step before that is tried
_FIRST_DWELL_S, _LONGEST_DWELL_S = 3.0, 300.0  # how long a step is kept before a better one is tried
_PROVEN_S = 60.0  # a step that holds this long was no mistake


@dataclass(frozen=True)
class Step:
    """What is done to keep the rate or the age."""

    model: int
    """Which of the models, best first."""
    every: int
    """1: every frame is restored; 2: every second one."""


class RateControl:
    """Chooses between steps, one at a time: every frame, every second frame, then the same with the next smaller model.

    `fps` frames a second, or frames not older than `max_age_s`; either may be 0. `source_fps` is the rate of arriving frames.
    """

    def __init__(self, models: int, fps: float, max_age_s: float, source_fps: float) -> None:
        self.fps, self.max_age_s = fps, max_age_s
        self._interval_s = 1 / min(rate for rate in (fps or source_fps, source_fps or fps) if rate) if fps or source_fps else 0.0
        self.steps = tuple(Step(model, every) for model in range(models) for every in (1, 2))
        self.level = 0
        """Index into `steps`; 0 is the best."""
        self.changes = 0
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._ages: deque[float] = deque(maxlen=_WINDOW)
        self._known: dict[int, tuple[float, float]] = {}  # model -> its time when it was left, the next one's time just after
        self._since = self._dwell_s = 0.0
        self._rose_at: float | None = None

    @property
    def step(self) -> Step:
        """What is done now."""
        return self.steps[self.level]

    def wants(self, index: int) -> bool:
        """Whether the frame of this index is to be restored; else it is left out, and the last restored one is shown again."""
        return index % self.step.every == 0

    def restored(self, now: float, seconds: float, age_s: float) -> None:
        """A frame was restored: at `now` (monotonic, s), in `seconds`, `age_s` after its capture. May change the step."""
        if not self._since:
            self._since, self._dwell_s = now, _FIRST_DWELL_S
        self._seconds.append(seconds)
        self._ages.append(age_s)
        took, age = median(self._seconds), median(self._ages)
        plain = len(self._seconds) >= _PLAIN and not self._holds(self.step, took / 2, age / 2, _FULL)
        if len(self._seconds) < _ENOUGH and not plain:
            return
        model = self.step.model
        if model - 1 in self._known and not self._known[model - 1][1]:
            self._known[model - 1] = (self._known[model - 1][0], took)  # both in the same heat
        if not self._holds(self.step, took, age, _FULL):
            if self.level + 1 < len(self.steps):
                if self._rose_at is not None and now - self._rose_at < _PROVEN_S:  # the better step was tried too soon
                    self._dwell_s = min(2 * self._dwell_s, _LONGEST_DWELL_S)
                self._rose_at = None
                if self.steps[self.level + 1].model != model:
                    self._known[model] = (took, 0.0)
                self._go(self.level + 1, now)
        elif self.level > 0 and now - self._since >= self._dwell_s:
            better = self.steps[self.level - 1]
            guess = took
            if better.model != model:
                before, then = self._known[better.model]
                guess = before * took / then
            if self._holds(better, guess, age + guess - took, _ROOM):
                self._rose_at = now
                self._go(self.level - 1, now)
        elif self._rose_at is not None and now - self._rose_at >= _PROVEN_S:
            self._rose_at, self._dwell_s = None, _FIRST_DWELL_S

    def _holds(self, step: Step, seconds: float, age_s: float, share: float) -> bool:
        in_time = not self._interval_s or seconds <= share * self._interval_s * step.every
        return in_time and (not self.max_age_s or age_s <= self.max_age_s * (1.0 if share == _FULL else share))

    def _go(self, level: int, now: float) -> None:
        self.level, self._since = level, now
        self.changes += 1
        self._seconds.clear()
        self._ages.clear()
