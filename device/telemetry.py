"""What the loop measures of itself: stage times, frame age, frames per second, drops, memory, temperature."""

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime
from typing import Any

import numpy as np

from device.images.frame import Frame, Shot
from device.system.hardware import temperature_c

_KEPT = 2000  # latest samples of each stage that p50 and p95 are taken over
_NOW = 30  # latest samples whose middle is what a stage takes now


class Telemetry:
    """Collects from all threads; `snapshot` may be called at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, deque[float]] = {}
        self._ages: deque[float] = deque(maxlen=_KEPT)
        self._recent: deque[float] = deque(maxlen=120)
        self._began = time.monotonic()
        self._first_s = self._last_s = 0.0
        self.frames = 0
        """Frames that reached the first sink, each counted once."""
        self.dropped = 0
        """Frames of a live source that were never restored or shown, because a newer one had come."""
        self.skipped = 0
        """Frames that were left out on purpose, to keep a deadline."""
        self.repeated = 0
        """How often the last restored frame was shown once more, to keep a frame rate."""
        self.not_restored = 0
        """Frames that were passed through, because the model failed."""
        self.newest_s: float | None = None
        """`time.monotonic()` of the newest frame's capture."""
        self.size_wh: tuple[int, int] | None = None
        self.shot: Shot | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside `with`."""
        began = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Add one sample of a stage."""
        with self._lock:
            self._stages.setdefault(name, deque(maxlen=_KEPT)).append(seconds)

    def count(self, what: str) -> None:
        """Add one to `dropped`, `skipped`, `repeated` or `not_restored`."""
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)

    def shown(self, frame: Frame) -> None:
        """A frame has reached the first sink."""
        now = time.monotonic()
        with self._lock:
            self.frames += 1
            self._first_s = self._first_s or now
            self._last_s = now
            self._recent.append(now)
            self._ages.append(now - frame.captured_s)
            self.newest_s, self.size_wh, self.shot = frame.captured_s, frame.size_wh, frame.shot

    def snapshot(self) -> dict[str, Any]:
        """Plain data: `fps` over the whole run, `fps_now` over the last frames, times in milliseconds."""
        with self._lock:
            stages = {name: list(samples) for name, samples in self._stages.items()}
            ages, recent, now = list(self._ages), list(self._recent), time.monotonic()
            first, last, frames = self._first_s, self._last_s, self.frames
            counts = {name: getattr(self, name) for name in ("dropped", "skipped", "repeated", "not_restored")}
        fresh = [t for t in recent if now - t < 2.0]
        if len(fresh) < 2 <= len(recent):  # below one frame a second: from the last two, or falling while none comes
            fresh = [0.0, max(recent[-1] - recent[-2], now - recent[-1])]
        return {
            "frames": frames,
            "seconds": round(now - self._began, 3),
            "fps": round((frames - 1) / (last - first), 2) if frames > 1 and last > first else 0.0,
            "fps_now": round((len(fresh) - 1) / (fresh[-1] - fresh[0]), 2) if len(fresh) > 1 else 0.0,
            **counts,
            "stages_ms": {name: percentiles_ms(samples) for name, samples in stages.items()},
            "stages_now_ms": {name: percentiles_ms(samples[-_NOW:])["p50"] for name, samples in stages.items()},
            "frame_age_ms": percentiles_ms(ages),
            "first_frame_s": round(first - process_started_s(), 3) if frames else None,
            "peak_rss_mib": peak_rss_mib(),
            "temperature_c": temperature_c(),
        }


def percentiles_ms(seconds: list[float]) -> dict[str, float | None]:
    """p50 and p95 in milliseconds, null without samples."""
    if not seconds:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far, MiB. Not ru_maxrss: that begins with the parent's at a fork."""
    try:
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError, ValueError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def process_started_s() -> float:
    """`time.monotonic()` when this process was started; NaN where the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # since boot, also while suspended
    except (OSError, IndexError, ValueError):
        return float("nan")
    suspended_s = clock_gettime(CLOCK_BOOTTIME) - clock_gettime(CLOCK_MONOTONIC)
    return ticks / os.sysconf("SC_CLK_TCK") - suspended_s
