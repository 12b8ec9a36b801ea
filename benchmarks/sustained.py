"""Minutes of full load: the rate that a board keeps once it is warm, apart from its rate at first."""

import json
import logging
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import workload
from benchmarks.environment import moment
from benchmarks.measure import open_single_file
from benchmarks.records import LoadSample, Sustained
from device.errors import RunError
from device.restore.restorer import Restorer
from device.system.python_process import start_python

log = logging.getLogger(__name__)
SAMPLE_S = 5.0
BURST_S = 30.0
_FALLEN_SHARE = 0.95


def run(folder: str, file: str, runtime: str, threads: int, label: str, seconds: float, frames: Path) -> Sustained:
    """Put one file of the bundle in `folder` under full load, in a process of its own; it restores the frame in `frames`.

    Ctrl-C ends it early and returns the samples so far. Raises RunError if there are none.
    """
    words = [folder, file, runtime, str(threads), str(seconds), str(frames)]
    process = start_python("-m", "benchmarks.sustained", *words, stdout=subprocess.PIPE, text=True)
    curve: list[LoadSample] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            throttled = entry["throttled"]
            curve.append(LoadSample(**{**entry, "throttled": None if throttled is None else tuple(throttled)}))
            log.info("%.0f s: %.1f frames a second, p95 %.1f ms", curve[-1].at_s, curve[-1].fps, curve[-1].p95_ms)
    except KeyboardInterrupt:
        log.warning("interrupted after %.0f s", curve[-1].at_s if curve else 0)
    finally:
        process.terminate()
        process.wait()
    if not curve:
        raise RunError(f"{label}: no frame was restored at full load; see the messages above")
    return summarise(label, curve)


def summarise(label: str, curve: list[LoadSample]) -> Sustained:
    """Compute the burst rate (median of the first 30 s) and the steady rate (median of the last third)."""
    burst_fps = statistics.median(s.fps for s in curve if s.at_s <= max(BURST_S, curve[0].at_s))
    last = curve[-max(1, len(curve) // 3) :]
    steady_fps = statistics.median(s.fps for s in last)
    return Sustained(
        label=label,
        seconds=curve[-1].at_s,
        burst_fps=burst_fps,
        steady_fps=steady_fps,
        kept=steady_fps / burst_fps,
        throttled_at_s=_throttled_at_s(curve, burst_fps),
        curve=tuple(curve),
    )


def _throttled_at_s(curve: list[LoadSample], burst_fps: float) -> float | None:
    """When the firmware first reported throttling, or the rate fell below 95 % of the burst and stayed there."""
    reported = next((s.at_s for s in curve if s.throttled), None)
    fallen = None
    for sample in reversed(curve):
        if sample.fps >= _FALLEN_SHARE * burst_fps:
            break
        fallen = sample.at_s
    return min((at_s for at_s in (reported, fallen) if at_s is not None), default=None)


def main() -> int:
    """Run the process under load: it prints a line of JSON every five seconds."""
    folder, file, runtime, threads, seconds, frames = sys.argv[1:]
    frame = workload.frame(Path(frames))
    with Restorer(open_single_file(Path(folder), file), None, runtime, int(threads)) as restorer:
        restorer.use_psf(workload.FRAME_PSF)
        restorer.restore(frame)
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < float(seconds):
            ms, start = [], time.perf_counter()
            while (now := time.perf_counter()) - start < SAMPLE_S:
                restorer.restore(frame)
                ms.append(1000 * (time.perf_counter() - now))
            spent = time.perf_counter() - start
            state = moment(began)
            sample = LoadSample(
                at_s=round(at_s + spent, 1),
                fps=len(ms) / spent,
                p95_ms=float(np.percentile(ms, 95)),
                clock_mhz=state.clock_mhz,
                temperature_c=state.temperature_c,
                throttled=state.throttled,
            )
            print(json.dumps(asdict(sample)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
