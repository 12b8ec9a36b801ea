"""Measure one combination of file, runtime and threads in a process of its own: load, first frame, latency, memory, quality."""

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import BASELINES
from benchmarks.quality import Case
from device.bundle import open_bundle
from device.errors import DeblurkitError
from device.frame import Pixels
from device.quality import psnr, ssim
from device.restorer import Restorer
from device.telemetry import Telemetry, peak_rss_mib

TIMEOUT_S = 600
_LEAST_FRAMES = 20


@dataclass(frozen=True)
class Job:
    """What one process measures."""

    name: str
    """The bundle's name, or the baseline's."""
    bundle: str | None
    """Folder of the bundle; None for a baseline."""
    variant: str | None
    runtime: str | None
    threads: int
    seconds: float
    """How long latency is measured, after the warm-up."""


@dataclass(frozen=True)
class Workload:
    """The same for every job: a frame to time and pictures to judge."""

    frame: Pixels
    cases: list[Case]


def measure(job: Job, workload_file: Path) -> dict[str, Any]:
    """Run the job in a fresh process; a row of results, or a row whose `error` says why there is none."""
    command = [sys.executable, "-m", "benchmarks.measure", json.dumps(asdict(job)), str(workload_file)]
    row: dict[str, Any] = {"name": job.name, "variant": job.variant, "runtime": job.runtime, "threads": job.threads}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {**row, "error": f"not finished after {TIMEOUT_S} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        killed = f"killed by signal {-done.returncode}; " if done.returncode < 0 else ""
        return {**row, "error": killed + last}
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def _measure_here(job: Job, workload: Workload) -> dict[str, Any]:
    telemetry = Telemetry()
    began = time.perf_counter()
    restorer: Restorer | None = None
    if job.bundle is None:
        restore: Callable[[Pixels], Pixels] = BASELINES[job.name]
    else:
        restorer = Restorer(open_bundle(job.bundle), job.variant, job.runtime, job.threads, telemetry=telemetry)
        restore = restorer.restore
    loaded = time.perf_counter()
    restore(workload.frame)
    first = time.perf_counter()
    samples = _steady_ms(restore, workload.frame, job.seconds)
    memory_mib = peak_rss_mib()
    row: dict[str, Any] = {
        "load_ms": 1000 * (loaded - began),
        "first_ms": 1000 * (first - loaded),
        **{f"p{p}_ms": float(np.percentile(samples, p)) for p in (50, 95, 99)},
        "frames": len(samples),
        "infer_p50_ms": telemetry.snapshot()["stages_ms"].get("infer", {}).get("p50"),
        "peak_rss_mib": memory_mib,
        "quality": {case.name: _judge(restore, case) for case in workload.cases},
    }
    if restorer is not None:
        row |= {"file": restorer.artifact.file, "sha256": restorer.artifact.sha256, "bytes": restorer.artifact.bytes}
        restorer.close()
    blurred = [q for name, q in row["quality"].items() if not name.startswith("sharp")]
    row["gain_db"] = float(np.mean([q["gain_db"] for q in blurred]))
    return row


def _steady_ms(restore: Callable[[Pixels], Pixels], frame: Pixels, seconds: float) -> list[float]:
    """Milliseconds of single calls, after a warm-up of a third of the time."""
    samples: list[tuple[float, float]] = []
    began = time.perf_counter()
    warm, end = began + seconds / 3, began + seconds * 4 / 3
    patience = began + 10 * seconds  # a model that needs seconds for a frame shall not hold up the rest
    while (now := time.perf_counter()) < end or (len(samples) < _LEAST_FRAMES and now < patience):
        restore(frame)
        samples.append((now, 1000 * (time.perf_counter() - now)))
    steady = [ms for at, ms in samples if at >= warm]
    return steady if len(steady) >= _LEAST_FRAMES // 2 else [ms for _, ms in samples[len(samples) // 4 :]]


def _judge(restore: Callable[[Pixels], Pixels], case: Case) -> dict[str, float]:
    before = [psnr(b, s) for b, s in zip(case.blurred, case.sharp, strict=True)]
    restored = [restore(b) for b in case.blurred]
    after = [psnr(r, s) for r, s in zip(restored, case.sharp, strict=True)]
    gains = np.subtract(after, before)
    return {
        "input_psnr_db": float(np.mean(before)),
        "psnr_db": float(np.mean(after)),
        "gain_db": float(np.mean(gains)),
        "worst_gain_db": float(np.min(gains)),
        "ssim": float(np.mean([ssim(r, s) for r, s in zip(restored, case.sharp, strict=True)])),
    }


def main() -> int:
    """The measuring process: job as JSON and the workload's file, a row as JSON on stdout."""
    job = Job(**json.loads(sys.argv[1]))
    with open(sys.argv[2], "rb") as file:
        workload: Workload = pickle.load(file)  # written by the parent process a moment ago
    try:
        print(json.dumps(_measure_here(job, workload)))
    except DeblurkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
