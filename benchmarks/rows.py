"""Turn measurements into rows: percentiles, quality by case, and parity with the bundle's reference."""

import logging
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import workload
from benchmarks.intervals import latency
from benchmarks.measure import JobResult
from benchmarks.records import NETWORK, OK, WRONG, CaseQuality, Moment, PictureParity, Row
from benchmarks.rounds import Measurements
from device.bundle.manifest import Artifact
from device.images.frame import Pixels
from device.images.quality import psnr
from device.restore import self_check

log = logging.getLogger(__name__)
_NEEDED_DB, _BELOW_EXPORT_DB, _MIN_NEEDED_DB = 45.0, 9.0, 30.0
_REFERENCES = (("fp32", "litert"), ("fp32", "onnxruntime"), ("fp32", "tflite_runtime"))
"""Variant and runtime of the reference, the most trusted first."""


def rows(measured: Measurements, folder: Path, exported: dict[str, Artifact]) -> list[Row]:
    """Make a row for each combination. `exported` are the files by SHA-256, with their parity and quality at export."""
    scores = _scores(measured, folder)
    references = _references(measured, folder, exported)
    finished = []
    for i, (plan, results) in enumerate(zip(measured.planned, measured.results, strict=True)):
        good = [result for result in results if not result.error]
        failure = next((result.error for result in results if result.error), "")
        if not good or failure:
            message = (failure or plan.row.message or "not measured").replace(f"{plan.job.bundle}/", "")
            finished.append(replace(plan.row, message=message))
            continue
        by_case, gain_db = scores.get(plan.quality_key, ({}, None))
        row = replace(_timed(plan.row, good), quality=by_case, gain_db=gain_db)
        if plan.job.kind == NETWORK and plan.job.bundle in references:
            row = _check_parity(row, _frame(folder, i), *references[plan.job.bundle], exported.get(str(row.sha256)))
        finished.append(row)
    return finished


def _timed(row: Row, good: list[JobResult]) -> Row:
    median = statistics.median
    stages = {name: median((result.stages_ms or {})[name] for result in good) for name in good[0].stages_ms or {}}
    timed = latency(
        [result.ms for result in good], max(result.warm_up_frames for result in good), all(result.steady for result in good)
    )
    return replace(
        row,
        status=OK,
        message="",
        latency=timed,
        load_ms=median(result.load_ms for result in good),
        first_ms=median(result.first_ms for result in good),
        stages_ms=stages,
        infer_share=stages["infer"] / timed.p50_ms.value if "infer" in stages and timed.p50_ms.value > 0 else None,
        peak_rss_mib=median(result.peak_rss_mib for result in good),
        python=good[0].python,
        versions=good[0].versions or {},
        before=_moment(good[0].before),
        after=_moment(good[-1].after),
        rounds=len(good),
    )


def _moment(content: dict[str, Any] | None) -> Moment | None:
    if content is None:
        return None
    throttled = content["throttled"]
    return Moment(**{**content, "throttled": None if throttled is None else tuple(throttled)})


def _scores(measured: Measurements, folder: Path) -> dict[str, tuple[dict[str, CaseQuality], float | None]]:
    """Return (quality by case, mean gain) by quality key."""
    pictures = [picture for picture, _, _ in workload.scored_pictures(folder)]
    scores = {}
    for plan, results in zip(measured.planned, measured.results, strict=True):
        for result in results:
            if result.scores:
                by_case: dict[str, list[tuple[workload.ScoredPicture, float, float]]] = {}
                for number, psnr_db, similarity in result.scores:
                    by_case.setdefault(pictures[number].case, []).append((pictures[number], psnr_db, similarity))
                scores[plan.quality_key] = workload.summarise(by_case)
    return scores


def _references(measured: Measurements, folder: Path, exported: dict[str, Artifact]) -> dict[str | None, tuple[str, Pixels]]:
    """Return the reference of each bundle (words, output): its fp32 file on the most trusted runtime that was measured.

    A reference must restore the generated scenes as well as it did at export.
    """
    references: dict[str | None, tuple[str, Pixels]] = {}
    for variant, runtime in reversed(_REFERENCES):
        for i, plan in enumerate(measured.planned):
            if (plan.job.variant, plan.job.runtime) != (variant, runtime) or (restored := _frame(folder, i)) is None:
                continue
            artifact = exported.get(str(plan.row.sha256))
            scenes_db = next((r.scenes_psnr_db for r in measured.results[i] if r.scenes_psnr_db is not None), None)
            if artifact and artifact.quality and scenes_db is not None:
                off_db = abs(scenes_db - artifact.quality.scenes_psnr_db)
                if off_db > self_check.TOLERANCE_DB:
                    log.warning(
                        "%s: its PSNR on generated scenes is %.2f dB off its value at export, at most %.2f expected; it is not "
                        "used as the reference",
                        plan.row.label,
                        off_db,
                        self_check.TOLERANCE_DB,
                    )
                    continue
            references[plan.job.bundle] = (f"{plan.job.file} on {runtime}", restored)
    return references


def _frame(folder: Path, i: int) -> Pixels | None:
    path = folder / f"answer-{i}" / "frame.npy"
    return np.load(path) if path.is_file() else None


def _check_parity(row: Row, restored: Pixels | None, reference: str, expected: Pixels, artifact: Artifact | None) -> Row:
    """Add the parity to the row; set its status to `wrong` if the parity is too low."""
    if restored is None or restored.shape != expected.shape:
        return replace(
            row, status=WRONG, message=f"its output does not have the size of that of {reference}; use another runtime"
        )
    at_export_db = artifact.parity.psnr_db if artifact and artifact.parity else _MIN_NEEDED_DB
    parity = PictureParity(
        reference=reference,
        psnr_db=min(99.0, psnr(restored, expected)),
        most_levels=int(np.abs(restored.astype(np.int16) - expected).max()),
        needed_db=max(_MIN_NEEDED_DB, min(_NEEDED_DB, at_export_db - _BELOW_EXPORT_DB)),
    )
    if parity.psnr_db >= parity.needed_db:
        return replace(row, agreement=parity)
    return replace(
        row,
        status=WRONG,
        agreement=parity,
        latency=None,
        infer_share=None,
        message=f"wrong output: {parity.psnr_db:.1f} dB from {reference}, {parity.needed_db:.1f} needed; use another runtime",
    )
