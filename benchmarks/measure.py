"""Measure one combination in a process of its own: loading, first frame, latency, memory, output, quality.

The process gets its job as JSON and writes a JSON file back; what it prints is only for people.
"""

import gc
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import cases, workload
from benchmarks.baselines import BLIND_METHODS, NON_BLIND_METHODS
from benchmarks.environment import moment, versions
from benchmarks.intervals import is_steady
from benchmarks.records import CLASSICAL, NETWORK, NON_BLIND
from device.bundle.manifest import MANIFEST
from device.bundle.open import Bundle, open_bundle
from device.errors import DeblurkitError
from device.images.frame import Pixels
from device.images.quality import psnr, ssim
from device.restore import self_check
from device.restore.restorer import Restorer
from device.system.hardware import read
from device.telemetry import Telemetry, peak_rss_mib

KERAS = "keras"
EXAMPLE_CASES = ("gauss-2.0", "defocus-4", "motion-9", "sharp-jpeg")
"""The first picture of each of these cases is kept for the report."""
_TIMEOUT_S = 600
_MIN_FRAMES, _MAX_FRAMES = 6, 2000
_MAX_WARM_UP_S = 2.0
_TIMED_CASE = "gauss-1.6"
_NEVER = float("inf")
_SCORING_THREADS = 2


@dataclass(frozen=True)
class Job:
    """The task of one measuring process."""

    name: str
    """Name of the bundle or of the method."""
    kind: str
    """`network`, `classical` or `oracle`, as in a `Row`."""
    bundle: str | None = None
    """Folder of the bundle; None for a method."""
    variant: str | None = None
    file: str | None = None
    """Name of the file in the bundle."""
    runtime: str | None = None
    threads: int = 1
    seconds: float = 0.0
    """How long to time frames after the warm-up."""
    score: bool = False
    """Whether to score its pictures too. Once is enough, they are always the same."""


@dataclass(frozen=True)
class JobResult:
    """The answer of a measuring process. If `error` is not empty, there is nothing else."""

    error: str = ""
    load_ms: float = 0.0
    first_ms: float = 0.0
    at_s: tuple[float, ...] = ()
    """When each frame after the warm-up began, in seconds since the process began to measure."""
    ms: tuple[float, ...] = ()
    warm_up_frames: int = 0
    steady: bool = False
    stages_ms: dict[str, float] | None = None
    peak_rss_mib: float = 0.0
    scores: tuple[tuple[int, float, float], ...] = ()
    """(number of the picture in the workload, PSNR, SSIM)."""
    scoring_s: float = 0.0
    """How long scoring took, which happens only once."""
    scenes_psnr_db: float | None = None
    """Of an fp32 file: its PSNR on the generated scenes that its export was checked with."""
    python: str = ""
    versions: dict[str, str] | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def measure(job: Job, folder: Path, answer: Path, interpreter: str, began_s: float) -> JobResult:
    """Run the job in a fresh process of `interpreter`. `folder` holds the workload; pictures are written beside `answer`."""
    command = [interpreter, "-m", "benchmarks.measure", json.dumps(asdict(job)), str(folder), str(answer), str(began_s)]
    kills_before = _oom_kills()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return JobResult(f"not finished after {_TIMEOUT_S} s")
    except OSError as error:
        return JobResult(f"{interpreter}: {error.strerror}; --python needs a Python interpreter with deblurkit installed")
    if done.returncode == 0 and answer.is_file():
        return JobResult(**json.loads(answer.read_text()))
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode >= 0:
        return JobResult(last)
    memory = ", out of memory" if _oom_kills() > kills_before or "MemoryError" in done.stderr else ""
    return JobResult(f"killed by signal {-done.returncode}{memory}: {last}; see `dmesg`, or free memory and try again")


def _oom_kills() -> int:
    lines = (read(Path("/proc/vmstat")) or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _measure_here(job: Job, folder: Path, pictures: Path, began_s: float) -> JobResult:
    telemetry = Telemetry()
    frame = workload.frame(folder)
    before = moment(began_s)
    began = time.perf_counter()
    restore, restorer = _open(job, telemetry)
    loaded = time.perf_counter()
    restored = restore(frame)
    first = time.perf_counter()
    gc.collect()
    gc.freeze()  # the collector skips everything that exists now, so that it does not pause a frame
    at_s, ms, warm, steady = _times(restore, frame, job.seconds)
    peak_mib = peak_rss_mib()
    after = moment(began_s)
    np.save(pictures / "frame.npy", restored)
    stages = telemetry.snapshot().stages_ms
    timed = time.perf_counter()
    scores = _score(job, restore, restorer, folder, pictures) if job.score else ()
    scenes_db = (
        self_check.scenes_psnr(restorer) if job.score and job.variant == "fp32" and isinstance(restorer, Restorer) else None
    )
    scored = time.perf_counter()
    if restorer is not None:
        restorer.close()
    return JobResult(
        load_ms=1000 * (loaded - began),
        first_ms=1000 * (first - loaded),
        at_s=tuple(round(at, 4) for at in at_s[warm:]),
        ms=tuple(round(value, 4) for value in ms[warm:]),
        warm_up_frames=warm,
        steady=steady,
        stages_ms={name: of.p50 for name, of in stages.items() if of.p50 is not None},
        peak_rss_mib=peak_mib,
        scores=scores,
        scoring_s=scored - timed,
        scenes_psnr_db=scenes_db,
        python=platform.python_version(),
        versions=versions(),
        before=asdict(before),
        after=asdict(after),
    )


def _open(job: Job, telemetry: Telemetry) -> tuple[Callable[[Pixels], Pixels], Any]:
    """Return (function that restores a picture, object to close)."""
    if job.kind != NETWORK:
        cv2.setNumThreads(job.threads)
    if job.kind == CLASSICAL:
        return BLIND_METHODS[job.name], None
    if job.kind == NON_BLIND:
        kernel = cases.true_kernel(_TIMED_CASE, "frame")
        assert kernel is not None
        return (lambda pixels: NON_BLIND_METHODS[job.name](pixels, kernel)), None
    assert job.bundle is not None
    assert job.file is not None
    if job.runtime == KERAS:
        from benchmarks.keras_predict import KerasPredict

        keras = KerasPredict(open_bundle(job.bundle), job.threads, telemetry)
        keras.use_psf(workload.FRAME_PSF)
        return keras.restore, keras
    restorer = Restorer(open_single_file(Path(job.bundle), job.file), None, job.runtime, job.threads, telemetry=telemetry)
    restorer.use_psf(workload.FRAME_PSF)
    return restorer.restore, restorer


def open_single_file(folder: Path, file: str) -> Bundle:
    """Open the bundle with only this file: a runtime may read two files of one variant."""
    bundle = open_bundle(folder if (folder / MANIFEST).is_file() else folder / file)
    artifacts = tuple(a for a in bundle.manifest.artifacts if a.file == file)
    return replace(bundle, manifest=replace(bundle.manifest, artifacts=artifacts))


def _times(restore: Callable[[Pixels], Pixels], frame: Pixels, seconds: float) -> tuple[list[float], list[float], int, bool]:
    """Return (start of each frame in s, its time in ms, number of warm-up frames, whether the times became steady).

    The warm-up comes first, then `seconds` more: at least 6 frames and at most 2,000.
    """
    at_s: list[float] = []
    ms: list[float] = []
    warm, steady, began = 0, False, time.perf_counter()
    end = _NEVER
    give_up = began + _MAX_WARM_UP_S + 10 * seconds  # a model that needs seconds per frame must not hold up the rest
    while True:
        now = time.perf_counter()
        if end == _NEVER and ((steady := is_steady(now - began, ms)) or now - began > _MAX_WARM_UP_S or len(ms) >= _MAX_FRAMES):
            warm, end = len(ms), now + seconds
        kept = len(ms) - warm
        if (now >= end and kept >= _MIN_FRAMES) or (end != _NEVER and kept >= _MAX_FRAMES) or (now > give_up and kept):
            return at_s, ms, warm, steady
        restore(frame)
        at_s.append(now - began)
        ms.append(1000 * (time.perf_counter() - now))


def _score(
    job: Job, restore: Callable[[Pixels], Pixels], restorer: Any, folder: Path, pictures: Path
) -> tuple[tuple[int, float, float], ...]:
    scores: list[Future[tuple[int, float, float]]] = []
    kept = set()
    with ThreadPoolExecutor(_SCORING_THREADS) as pool:  # a picture is scored while the next one is restored
        for number, (picture, blurred, sharp) in enumerate(workload.scored_pictures(folder)):
            if job.kind == NON_BLIND:
                kernel = cases.true_kernel(picture.case, Path(picture.name).stem) if picture.kernel_known else None
                if kernel is None:
                    continue
                restored = NON_BLIND_METHODS[job.name](blurred, kernel)
            else:
                if restorer is not None:
                    restorer.use_psf(workload.estimated_psf(folder, number))
                restored = restore(blurred)
            if len(scores) >= _SCORING_THREADS:
                scores[-_SCORING_THREADS].result()  # a fast method must not fill the memory with waiting pictures
            scores.append(pool.submit(_score_one, number, restored, sharp))
            if picture.case in EXAMPLE_CASES and picture.case not in kept:
                kept.add(picture.case)
                np.save(pictures / f"{number}-restored.npy", restored)
    return tuple(score.result() for score in scores)


def _score_one(number: int, restored: Pixels, sharp: Pixels) -> tuple[int, float, float]:
    return number, psnr(restored, sharp), ssim(restored, sharp)


def main() -> int:
    """Run the measuring process. Arguments: job as JSON, folder of the workload, file for the answer, start of the benchmark."""
    job, folder, answer, began_s = Job(**json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    try:
        result = _measure_here(job, folder, answer.parent, began_s)
    except DeblurkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    answer.write_text(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
