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
from benchmarks.measure import EXAMPLES, Measured, measure
from benchmarks.records import OK, WRONG, Agreement, Moment, Picture, Row
from device import selfcheck
from device.bundle import Artifact
from device.frame import Pixels
from device.picture import encode_picture
from device.quality import psnr

log = logging.getLogger(__name__)
LEAST_S, MOST_S = 0.5, 4.0
"""How long one process times frames: as long as the budget allows within these."""
_GUESSED_OVERHEAD_S = 1.5
_NEEDED_DB, _BELOW_EXPORT_DB, _LEAST_NEEDED_DB = 45.0, 9.0, 30.0
_REFERENCES = (("fp32", "litert"), ("fp32", "onnxruntime"), ("fp32", "tflite_runtime"))


@dataclass
class Measurements:
    """What came of the rounds so far."""

    planned: list[Planned]
    of: list[list[Measured]] = field(default_factory=list)
    """By combination: a measurement for each round."""
    complete: bool = False


def run(
    planned: list[Planned], folder: Path, *, rounds: int, seconds: float | None, budget_s: float, began_s: float
) -> Measurements:
    """Measure every combination `rounds` times; the workload lies in `folder`, answers and pictures are left there.

    `seconds` is how long each process times frames; None: what the budget allows, 0.5 to 4 s. Ctrl-C ends it early: what was
    measured until then is returned.
    """
    found = Measurements(planned, [[] for _ in planned])
    todo = [(n, i) for n in range(rounds) for i, p in enumerate(planned) if p.interpreter is not None]
    overhead = dict.fromkeys(range(len(planned)), _GUESSED_OVERHEAD_S)
    judged: set[str] = set()
    try:
        for done, (number, i) in enumerate(todo):
            plan = planned[i]
            if any(m.error for m in found.of[i]):
                continue  # it failed before: twice more would say the same
            left_s = budget_s - (time.monotonic() - began_s) - sum(overhead[k] for _, k in todo[done:])
            share = seconds if seconds is not None else min(MOST_S, max(LEAST_S, left_s / (len(todo) - done)))
            judge = plan.judged_as not in judged
            log.info("%d/%d round %d %s", done + 1, len(todo), number + 1, plan.row.label)
            answer = folder / f"answer-{i}" / "answer.json"
            answer.parent.mkdir(exist_ok=True)
            began = time.monotonic()
            measured = measure(replace(plan.job, seconds=share, judge=judge), folder, answer, str(plan.interpreter), began_s)
            answer.unlink(missing_ok=True)
            found.of[i].append(measured)
            if measured.error:
                log.warning("%s: %s", plan.row.label, measured.error)
            else:
                judged.add(plan.judged_as)
                spent = time.monotonic() - began - share
                overhead[i] = spent if not judge else spent / 2  # the next rounds do not judge
        found.complete = True
    except KeyboardInterrupt:
        log.warning("interrupted: %d of %d measurements were made", sum(map(len, found.of)), len(todo))
    return found


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
        if plan.job.kind == "network" and plan.job.bundle in references:
            row = _judged(row, _picture(folder, i), *references[plan.job.bundle], at_export.get(str(row.sha256)))
        made.append(row)
    return made


def _row(row: Row, good: list[Measured]) -> Row:
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


def _stages(measured: Measured) -> dict[str, float]:
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
                if off_db > selfcheck.TOLERANCE_DB:
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
    agreement = Agreement(reference, min(99.0, psnr(restored, expected)), most, below)
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


def examples(found: Measurements, folder: Path, chosen: Sequence[int], side: int = 192) -> tuple[Picture, ...]:
    """The middle of the first picture of some cases: as it came, restored by the `chosen` combinations, and the truth."""
    made: list[Picture] = []
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


def _example(label: str, picture: workload.Judged, pixels: Pixels, sharp: Pixels, side: int) -> Picture:
    top, left = (max(0, pixels.shape[axis] - side) // 2 for axis in (0, 1))
    part = pixels[top : top + side, left : left + side]
    return Picture(label, picture.case, min(99.0, psnr(pixels, sharp)), base64.b64encode(encode_picture(part, ".png")).decode())
