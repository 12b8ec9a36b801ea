"""Telemetry of the loop: stage times, frame age, frames per second, drops, memory, temperature."""

import os
import resource
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_gettime

import numpy as np

from device.images.frame import Frame, Shot
from device.system.hardware import temperature_c

_KEPT = 2000  # p50 and p95 of a stage are over its last 2,000 samples
_RECENT = 30  # the present time of a stage is the median of its last 30 samples


@dataclass(frozen=True)
class Percentiles:
    """Median and 95th percentile, milliseconds; None without samples."""

    p50: float | None
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class TelemetrySnapshot:
    """The figures of a run at one moment. Names of fields are public keys of `/state`."""

    frames: int
    """Frames that reached the first sink, each counted once."""
    seconds: float
    """Since the run began."""
    fps: float
    """Over the whole run, counted from the first frame."""
    fps_now: float
    """Over the last frames."""
    dropped: int
    """Frames of a live source that were never restored or shown, because a newer one had arrived."""
    skipped: int
    """Frames that rate control left out."""
    repeated: int
    """How often the last restored frame was shown again, to keep a frame rate."""
    not_restored: int
    """Frames that were passed through because the model failed."""
    stages_ms: dict[str, Percentiles]
    stages_now_ms: dict[str, float | None]
    frame_age_ms: Percentiles
    """From capture to the first sink."""
    first_frame_s: float | None
    """From the start of the process to the first frame shown; None before."""
    peak_rss_mib: float
    temperature_c: float | None


class Telemetry:
    """Collects figures from all threads; `snapshot` may be called at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, deque[float]] = {}
        self._ages: deque[float] = deque(maxlen=_KEPT)
        self._recent: deque[float] = deque(maxlen=120)
        self._began = time.monotonic()
        self._first_s = self._last_s = 0.0
        self.frames = self.dropped = self.skipped = self.repeated = self.not_restored = 0
        self.newest_s: float | None = None
        """`time.monotonic()` when the newest frame was captured."""
        self.size_wh: tuple[int, int] | None = None
        """Of the newest frame, pixels."""
        self.shot: Shot | None = None
        """How the camera took the newest frame."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of `with` as one sample of a stage."""
        began = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - began)

    def add(self, name: str, seconds: float) -> None:
        """Add one sample of a stage."""
        with self._lock:
            self._stages.setdefault(name, deque(maxlen=_KEPT)).append(seconds)

    def count(self, name: str) -> None:
        """Add one to `dropped`, `skipped`, `repeated` or `not_restored`."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def shown(self, frame: Frame) -> None:
        """Note that a frame reached the first sink."""
        now = time.monotonic()
        with self._lock:
            self.frames += 1
            self._first_s = self._first_s or now
            self._last_s = now
            self._recent.append(now)
            self._ages.append(now - frame.captured_s)
            self.newest_s, self.size_wh, self.shot = frame.captured_s, frame.size_wh, frame.shot

    def snapshot(self) -> TelemetrySnapshot:
        """All figures now."""
        with self._lock:
            stages = {name: list(samples) for name, samples in self._stages.items()}
            ages, recent, now = list(self._ages), list(self._recent), time.monotonic()
            first, last, frames = self._first_s, self._last_s, self.frames
            counts = {name: getattr(self, name) for name in ("dropped", "skipped", "repeated", "not_restored")}
        fresh = [t for t in recent if now - t < 2.0]
        if len(fresh) < 2 <= len(recent):  # below one frame a second: from the last two frames, and falling while none arrives
            fresh = [0.0, max(recent[-1] - recent[-2], now - recent[-1])]
        return TelemetrySnapshot(
            frames=frames,
            seconds=round(now - self._began, 3),
            fps=round((frames - 1) / (last - first), 2) if frames > 1 and last > first else 0.0,
            fps_now=round((len(fresh) - 1) / (fresh[-1] - fresh[0]), 2) if len(fresh) > 1 else 0.0,
            **counts,
            stages_ms={name: percentiles_ms(samples) for name, samples in stages.items()},
            stages_now_ms={name: percentiles_ms(samples[-_RECENT:]).p50 for name, samples in stages.items()},
            frame_age_ms=percentiles_ms(ages),
            first_frame_s=round(first - process_started_s(), 3) if frames else None,
            peak_rss_mib=peak_rss_mib(),
            temperature_c=temperature_c(),
        )


def percentiles_ms(seconds: list[float]) -> Percentiles:
    """p50 and p95 of samples in seconds, as milliseconds."""
    if not seconds:
        return Percentiles(None, None)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return Percentiles(round(float(p50), 3), round(float(p95), 3))


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far, MiB. Not ru_maxrss, which starts with the parent's value after a fork."""
    try:
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError, ValueError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def process_started_s() -> float:
    """`time.monotonic()` when this process started; NaN if the system does not report it."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # since boot, time in suspend included
    except (OSError, IndexError, ValueError):
        return float("nan")
    suspended_s = clock_gettime(CLOCK_BOOTTIME) - clock_gettime(CLOCK_MONOTONIC)
    return ticks / os.sysconf("SC_CLK_TCK") - suspended_s
