"""Full load for minutes: what a board keeps up once it is warm, apart from what it does at first."""

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
from benchmarks.measure import only
from benchmarks.records import LoadSample, Sustained
from device.errors import RunError
from device.restore.restorer import Restorer
from device.system.python_process import start_python

log = logging.getLogger(__name__)
STRETCH_S = 5.0
BURST_S = 30.0
_FALLEN = 0.95


def run(folder: str, file: str, runtime: str, threads: int, label: str, seconds: float, frames: Path) -> Sustained:
    """Put one file of the bundle in `folder` under load: the frame in `frames` again and again, in a process of its own.

    Ctrl-C ends it early; what was seen until then is returned. Raises RunError where nothing was.
    """
    words = [folder, file, runtime, str(threads), str(seconds), str(frames)]
    process = start_python("-m", "benchmarks.sustained", *words, stdout=subprocess.PIPE, text=True)
    curve: list[LoadSample] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            entry = json.loads(line)
            held = entry["throttled"]
            curve.append(LoadSample(**{**entry, "throttled": None if held is None else tuple(held)}))
            log.info("%.0f s: %.1f frames a second, p95 %.1f ms", curve[-1].at_s, curve[-1].fps, curve[-1].p95_ms)
    except KeyboardInterrupt:
        log.warning("interrupted after %.0f s", curve[-1].at_s if curve else 0)
    finally:
        process.terminate()
        process.wait()
    if not curve:
        raise RunError(f"{label}: no frame was restored at full load; see above")
    return summary(label, curve)


def summary(label: str, curve: list[LoadSample]) -> Sustained:
    """Burst: median of the first 30 s. Steady: median of the last third."""
    burst = statistics.median(s.fps for s in curve if s.at_s <= max(BURST_S, curve[0].at_s))
    last = curve[-max(1, len(curve) // 3) :]
    steady = statistics.median(s.fps for s in last)
    return Sustained(label, curve[-1].at_s, burst, steady, steady / burst, _held_back(curve, burst), tuple(curve))


def _held_back(curve: list[LoadSample], burst: float) -> float | None:
    """When the firmware first said so, or the rate fell below 95 % of the burst and stayed there; seconds."""
    said = next((s.at_s for s in curve if s.throttled), None)
    fallen = None
    for second in reversed(curve):
        if second.fps >= _FALLEN * burst:
            break
        fallen = second.at_s
    return min((t for t in (said, fallen) if t is not None), default=None)


def main() -> int:
    """The process under load: a line of JSON for each stretch of five seconds."""
    folder, file, runtime, threads, seconds, frames = sys.argv[1:]
    frame = workload.frame(Path(frames))
    began = time.monotonic()
    with Restorer(only(Path(folder), file), None, runtime, int(threads)) as restorer:
        restorer.restore(frame)
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < float(seconds):
            ms, start = [], time.perf_counter()
            while (now := time.perf_counter()) - start < STRETCH_S:
                restorer.restore(frame)
                ms.append(1000 * (time.perf_counter() - now))
            spent = time.perf_counter() - start
            seen = moment(began)
            p95_ms = float(np.percentile(ms, 95))
            stretch = LoadSample(
                round(at_s + spent, 1), len(ms) / spent, p95_ms, seen.clock_mhz, seen.temperature_c, seen.throttled
            )
            print(json.dumps(asdict(stretch)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
