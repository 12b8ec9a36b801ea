"""All combinations, round after round (A B C, A B C, A B C), so that a drift of the machine hits all alike; then rows of it."""

import base64
import csv
import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workload
from benchmarks.combinations import Planned
from benchmarks.intervals import latency
from benchmarks.measure import EXAMPLES, JobResult, measure
from benchmarks.records import NETWORK, OK, WRONG, Example, Moment, PictureParity, Row
from device.bundle.manifest import Artifact
from device.images.frame import Pixels
from device.images.picture import encode_picture
from device.images.quality import psnr
from device.restore import self_check

log = logging.getLogger(__name__)
LEAST_S, MOST_S = 0.5, 4.0
"""How long one process times frames: as long as the budget allows within these."""
_GUESSED_OVERHEAD_S = 1.5
_LEAST_ROUNDS = 2
_NEEDED_DB, _BELOW_EXPORT_DB, _LEAST_NEEDED_DB = 45.0, 9.0, 30.0
_REFERENCES = (("fp32", "litert"), ("fp32", "onnxruntime"), ("fp32", "tflite_runtime"))


@dataclass
class Measurements:
    """What came of the rounds so far."""

    planned: list[Planned]
    of: list[list[JobResult]] = field(default_factory=list)
    """By combination: a measurement for each round."""
    rounds: int = 0
    """How often all were gone through."""
    complete: bool = False


def run(
    planned: list[Planned], folder: Path, *, rounds: int, seconds: float | None, budget_s: float, began_s: float
) -> Measurements:
    """Measure every combination `rounds` times; the workload lies in `folder`, answers and pictures are left there.

    `seconds` is how long each process times frames; None: what the budget allows, 0.5 to 4 s, and where it does not allow a
    third round there are two. Ctrl-C ends it early: what was measured until then is returned.
    """
    found = Measurements(planned, [[] for _ in planned])
    here = [i for i, plan in enumerate(planned) if plan.interpreter is not None]
    at_work = _Work(found, folder, began_s)
    ends_s = began_s + budget_s
    try:
        while found.rounds < rounds:
            for k, i in enumerate(here):
                if at_work.has_failed(i):
                    continue  # twice more would say the same
                if seconds is None:
                    rounds = at_work.affordable(here, k, rounds, ends_s)
                rest = [*here[k:], *here * (rounds - found.rounds - 1)]
                share = seconds if seconds is not None else at_work.share_s(rest, ends_s)
                log.info("round %d of %d, %d/%d %s", found.rounds + 1, rounds, k + 1, len(here), planned[i].row.label)
                at_work.measure(i, share)
            found.rounds += 1
        found.complete = True
    except KeyboardInterrupt:
        log.warning("interrupted: %d of %d measurements were made", sum(map(len, found.of)), len(here) * rounds)
    return found


@dataclass
class _Work:
    """What is measured, and what that costs beside the timed frames."""

    found: Measurements
    folder: Path
    began_s: float
    overhead_s: dict[int, float] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)

    def has_failed(self, i: int) -> bool:
        return any(m.error for m in self.found.of[i])

    def affordable(self, here: list[int], k: int, rounds: int, ends_s: float) -> int:
        """As many of the rounds, two at least, as can be made by then, where the k-th of this round is next."""
        while rounds > max(_LEAST_ROUNDS, self.found.rounds + 1):
            rest = [*here[k:], *here * (rounds - self.found.rounds - 1)]
            if time.monotonic() + sum(self._overhead_s(i) + LEAST_S for i in rest if not self.has_failed(i)) <= ends_s:
                break
            rounds -= 1
            log.warning("no time for round %d", rounds + 1)
        return rounds

    def share_s(self, places: Sequence[int], ends_s: float) -> float:
        """How long each of these may time frames for all to be done by then."""
        able = [i for i in places if not self.has_failed(i)]
        left_s = ends_s - time.monotonic() - sum(self._overhead_s(i) for i in able)
        return min(MOST_S, max(LEAST_S, left_s / len(able)))

    def measure(self, i: int, seconds: float) -> None:
        """Once more, in a fresh process."""
        plan = self.found.planned[i]
        judge = plan.judged_as not in self.judged
        answer = self.folder / f"answer-{i}" / "answer.json"
        answer.parent.mkdir(exist_ok=True)
        began = time.monotonic()
        job = replace(plan.job, seconds=seconds, judge=judge)
        measured = measure(job, self.folder, answer, str(plan.interpreter), self.began_s)
        answer.unlink(missing_ok=True)
        self.found.of[i].append(measured)
        if measured.error:
            log.warning("%s: %s", plan.row.label, measured.error)
            return
        self.judged.add(plan.judged_as)
        self.overhead_s[i] = max(0.0, time.monotonic() - began - seconds - measured.judge_s)

    def _overhead_s(self, i: int) -> float:
        return self.overhead_s.get(i, _GUESSED_OVERHEAD_S)


def rows(found: Measurements, folder: Path, at_export: dict[str, Artifact]) -> list[Row]:
    """A row for each combination. `at_export`: by SHA-256, the files with what they were worth when they were exported."""
    scores = _scores(found, folder)
    references = _references(found, folder, at_export)
    made = []
    for i, (plan, measured) in enumerate(zip(found.planned, found.of, strict=True)):
        good = [m for m in measured if not m.error]
        failed = next((m.error for m in measured if m.error), "")
        if not good or failed:
            message = (failed or plan.row.message or "not measured").replace(f"{plan.job.bundle}/", "")
            made.append(replace(plan.row, message=message))
            continue
        row = _row(plan.row, good)
        by_case, gain = scores.get(plan.judged_as, ({}, None))
        row = replace(row, quality=by_case, gain_db=gain)
        if plan.job.kind == NETWORK and plan.job.bundle in references:
            row = _judged(row, _picture(folder, i), *references[plan.job.bundle], at_export.get(str(row.sha256)))
        made.append(row)
    return made


def _row(row: Row, good: list[JobResult]) -> Row:
    stages = {name: statistics.median(_stages(m)[name] for m in good) for name in _stages(good[0])}
    timed = latency([m.ms for m in good], max(m.warm_up_frames for m in good), all(m.steady for m in good))
    middle = statistics.median
    return replace(
        row,
        status=OK,
        message="",
        latency=timed,
        load_ms=middle(m.load_ms for m in good),
        first_ms=middle(m.first_ms for m in good),
        stages_ms=stages,
        infer_share=stages["infer"] / timed.p50_ms.value if "infer" in stages and timed.p50_ms.value > 0 else None,
        peak_rss_mib=middle(m.peak_rss_mib for m in good),
        python=good[0].python,
        versions=good[0].versions or {},
        before=_moment(good[0].before),
        after=_moment(good[-1].after),
        rounds=len(good),
    )


def _stages(measured: JobResult) -> dict[str, float]:
    return measured.stages_ms or {}


def _moment(given: dict[str, Any] | None) -> Moment | None:
    if given is None:
        return None
    held = given["throttled"]
    return Moment(**{**given, "throttled": None if held is None else tuple(held)})


def _scores(found: Measurements, folder: Path) -> dict[str, Any]:
    """(quality by case, mean gain) by what was judged."""
    pictures = [picture for picture, _, _ in workload.judged(folder)]
    made = {}
    for plan, measured in zip(found.planned, found.of, strict=True):
        for one in measured:
            if one.scores:
                by_case: dict[str, list[tuple[workload.Judged, float, float]]] = {}
                for number, after, similarity in one.scores:
                    by_case.setdefault(pictures[number].case, []).append((pictures[number], after, similarity))
                made[plan.judged_as] = workload.summary(by_case)
    return made


def _references(found: Measurements, folder: Path, at_export: dict[str, Artifact]) -> dict[str | None, tuple[str, Pixels]]:
    """By bundle (words, picture): its fp32 file on the runtime that is trusted most among those that were measured.

    Only one that restores the generated scenes as well as it did where it was exported.
    """
    made: dict[str | None, tuple[str, Pixels]] = {}
    for variant, runtime in reversed(_REFERENCES):
        for i, plan in enumerate(found.planned):
            if (plan.job.variant, plan.job.runtime) != (variant, runtime) or (restored := _picture(folder, i)) is None:
                continue
            artifact = at_export.get(str(plan.row.sha256))
            reached = next((m.scenes_psnr_db for m in found.of[i] if m.scenes_psnr_db is not None), None)
            if artifact and artifact.quality and reached is not None:
                off_db = abs(reached - artifact.quality.scenes_psnr_db)
                if off_db > self_check.TOLERANCE_DB:
                    log.warning(
                        "%s: %.2f dB off its export on generated scenes; not taken as the reference", plan.row.label, off_db
                    )
                    continue
            made[plan.job.bundle] = (f"{plan.job.file} on {runtime}", restored)
    return made


def _picture(folder: Path, i: int) -> Pixels | None:
    path = folder / f"answer-{i}" / "frame.npy"
    return np.load(path) if path.is_file() else None


def _judged(row: Row, restored: Pixels | None, reference: str, expected: Pixels, artifact: Artifact | None) -> Row:
    """The row with its agreement; `wrong` where that is too low."""
    if restored is None or restored.shape != expected.shape:
        return replace(row, status=WRONG, message=f"made no picture of the size of that of {reference}")
    at_export_db = artifact.parity.psnr_db if artifact and artifact.parity else _LEAST_NEEDED_DB
    below = max(_LEAST_NEEDED_DB, min(_NEEDED_DB, at_export_db - _BELOW_EXPORT_DB))
    most = int(np.abs(restored.astype(np.int16) - expected).max())
    agreement = PictureParity(reference, min(99.0, psnr(restored, expected)), most, below)
    if agreement.psnr_db >= below:
        return replace(row, agreement=agreement)
    return replace(
        row,
        status=WRONG,
        agreement=agreement,
        latency=None,
        infer_share=None,
        message=f"computes another picture: {agreement.psnr_db:.1f} dB from {reference}, {below:.1f} needed; use another runtime",
    )


def write_raw(found: Measurements, path: Path) -> None:
    """Every timed frame: row, round, frame, at_s, ms."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "round", "frame", "at_s", "ms"])
        for i, measured in enumerate(found.of):
            for number, one in enumerate(measured):
                writer.writerows((i, number, n, at, ms) for n, (at, ms) in enumerate(zip(one.at_s, one.ms, strict=True)))


def examples(found: Measurements, folder: Path, chosen: Sequence[int], side: int = 192) -> tuple[Example, ...]:
    """The middle of the first picture of some cases: as it came, restored by the `chosen` combinations, and the truth."""
    made: list[Example] = []
    first: Counter[str] = Counter()
    for number, (picture, blurred, sharp) in enumerate(workload.judged(folder)):
        first[picture.case] += 1
        if picture.case not in EXAMPLES or first[picture.case] > 1:
            continue
        made.append(_example("as it came", picture, blurred, sharp, side))
        for label, restored in _restored(found, folder, chosen, number):
            made.append(_example(label, picture, restored, sharp, side))
        made.append(_example("the truth", picture, sharp, sharp, side))
    return tuple(made)


def _restored(found: Measurements, folder: Path, chosen: Sequence[int], number: int) -> Iterator[tuple[str, Pixels]]:
    for i in chosen:
        alike = (k for k, plan in enumerate(found.planned) if plan.judged_as == found.planned[i].judged_as)
        for path in (folder / f"answer-{k}" / f"{number}-restored.npy" for k in alike):
            if path.is_file():
                yield found.planned[i].row.label, np.load(path)
                break


def _example(label: str, picture: workload.Judged, pixels: Pixels, sharp: Pixels, side: int) -> Example:
    top, left = (max(0, pixels.shape[axis] - side) // 2 for axis in (0, 1))
    part = pixels[top : top + side, left : left + side]
    return Example(label, picture.case, min(99.0, psnr(pixels, sharp)), base64.b64encode(encode_picture(part, ".png")).decode())
