"""Measure all combinations round after round (A B C, A B C, A B C), so that a drift of the machine affects all of them alike."""

import csv
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.combinations import Planned
from benchmarks.measure import JobResult, measure

log = logging.getLogger(__name__)
MIN_S, MAX_S = 0.5, 4.0
"""How long one process times frames: as long as the budget allows, within these limits."""
_GUESSED_OVERHEAD_S = 1.5
_MIN_ROUNDS = 2


@dataclass
class Measurements:
    """What the rounds so far measured."""

    planned: list[Planned]
    results: list[list[JobResult]] = field(default_factory=list)
    """By combination, one for each round."""
    rounds: int = 0
    """Number of finished rounds."""
    complete: bool = False


def run(
    planned: list[Planned], folder: Path, *, rounds: int, seconds: float | None, budget_s: float, began_s: float
) -> Measurements:
    """Measure every combination `rounds` times. `folder` holds the workload; answers and pictures are written there.

    `seconds` is how long each process times frames; with None, as long as the budget allows, from 0.5 to 4 s, and two rounds if
    the budget has no time for a third. Ctrl-C ends it early and returns what was measured so far.
    """
    measured = Measurements(planned, [[] for _ in planned])
    runnable = [i for i, plan in enumerate(planned) if plan.interpreter is not None]
    work = _Work(measured, folder, began_s)
    end_s = began_s + budget_s
    try:
        while measured.rounds < rounds:
            for k, i in enumerate(runnable):
                if work.has_failed(i):
                    continue  # trying twice more would give the same error
                if seconds is None:
                    rounds = work.affordable_rounds(runnable, k, rounds, end_s)
                rest = [*runnable[k:], *runnable * (rounds - measured.rounds - 1)]
                share = seconds if seconds is not None else work.share_s(rest, end_s)
                log.info("round %d of %d, %d/%d %s", measured.rounds + 1, rounds, k + 1, len(runnable), planned[i].row.label)
                work.measure(i, share)
            measured.rounds += 1
        measured.complete = True
    except KeyboardInterrupt:
        log.warning("interrupted after %d of %d measurements", sum(map(len, measured.results)), len(runnable) * rounds)
    return measured


@dataclass
class _Work:
    """The measurements, and how long each takes beside the timed frames."""

    measured: Measurements
    folder: Path
    began_s: float
    overhead_s: dict[int, float] = field(default_factory=dict)
    scored: set[str] = field(default_factory=set)

    def has_failed(self, i: int) -> bool:
        return any(result.error for result in self.measured.results[i])

    def affordable_rounds(self, runnable: list[int], k: int, rounds: int, end_s: float) -> int:
        """Return how many of the rounds fit before `end_s`, at least two, when the k-th job of this round is next."""
        while rounds > max(_MIN_ROUNDS, self.measured.rounds + 1):
            rest = [*runnable[k:], *runnable * (rounds - self.measured.rounds - 1)]
            if time.monotonic() + sum(self._overhead_s(i) + MIN_S for i in rest if not self.has_failed(i)) <= end_s:
                break
            rounds -= 1
            log.warning("no time for round %d", rounds + 1)
        return rounds

    def share_s(self, remaining: Sequence[int], end_s: float) -> float:
        """Return how long each of the remaining jobs may time frames so that all end before `end_s`."""
        able = [i for i in remaining if not self.has_failed(i)]
        left_s = end_s - time.monotonic() - sum(self._overhead_s(i) for i in able)
        return min(MAX_S, max(MIN_S, left_s / len(able)))

    def measure(self, i: int, seconds: float) -> None:
        """Measure the i-th combination once in a fresh process."""
        plan = self.measured.planned[i]
        score = plan.quality_key not in self.scored
        answer = self.folder / f"answer-{i}" / "answer.json"
        answer.parent.mkdir(exist_ok=True)
        began = time.monotonic()
        job = replace(plan.job, seconds=seconds, score=score)
        result = measure(job, self.folder, answer, str(plan.interpreter), self.began_s)
        answer.unlink(missing_ok=True)
        self.measured.results[i].append(result)
        if result.error:
            log.warning("%s: %s", plan.row.label, result.error)
            return
        self.scored.add(plan.quality_key)
        self.overhead_s[i] = max(0.0, time.monotonic() - began - seconds - result.scoring_s)

    def _overhead_s(self, i: int) -> float:
        return self.overhead_s.get(i, _GUESSED_OVERHEAD_S)


def write_raw(measured: Measurements, path: Path) -> None:
    """Write every timed frame as CSV: row, round, frame, at_s, ms."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "round", "frame", "at_s", "ms"])
        for i, results in enumerate(measured.results):
            for number, result in enumerate(results):
                times = enumerate(zip(result.at_s, result.ms, strict=True))
                writer.writerows((i, number, frame, at, ms) for frame, (at, ms) in times)
