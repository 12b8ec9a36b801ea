"""100,000 frames through the whole loop: capture, model, page with a viewer, recorder. Nothing may grow. Run by `make soak`."""

import gc
import os
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from device.session import Session
from device.settings import CameraSettings, RecordSettings, Settings, WebSettings

FRAMES = 100_000
BEFORE = 30_000  # frames that fill all bounded storage: samples of telemetry, the recorder's folder, allocators
MOST_MIB = 1.0  # growth over all of them


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_memory_threads_and_descriptors_stay_over_a_hundred_thousand_frames(tmp_path: Path) -> None:
    settings = Settings(
        bundle=("nano",),
        source="demo",
        sink=("null", "web", f"record:{tmp_path}"),
        threads=1,
        camera=CameraSettings(size="64x48", fps=1000.0),
        web=WebSettings(port=0),
        record=RecordSettings(max_gib=0.004, min_free_gib=0.1, segment_s=5.0, mbit=0.5),
    )
    stop, over = threading.Event(), threading.Event()
    samples: list[tuple[int, float, int, int]] = []

    def watch(url: str) -> None:
        with urllib.request.urlopen(f"{url}/stream?view=both", timeout=10) as stream:
            while not over.is_set() and stream.read1(1 << 16):
                pass

    with Session(settings, stop) as session:
        (web,) = (sink for sink in session.state().sinks if sink.description.startswith("http"))
        viewer = threading.Thread(target=watch, args=(web.description,), daemon=True)

        def look() -> None:
            while not stop.wait(2.0):
                frames = session.telemetry.frames
                samples.append((frames, resident_mib(), threading.active_count(), len(os.listdir("/proc/self/fd"))))
                if frames >= BEFORE + FRAMES:
                    stop.set()

        viewer.start()
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        began = time.monotonic()
        session.run()
        over.set()
    looking.join(10)
    kept = np.array([s for s in samples if s[0] > BEFORE], float)
    slope = np.polyfit(kept[:, 0], kept[:, 1], 1)[0] * FRAMES
    print(
        f"\n{kept[-1, 0]:.0f} frames in {time.monotonic() - began:.0f} s: {slope:+.2f} MiB per {FRAMES} frames, "
        f"{kept[0, 1]:.1f} to {kept[-1, 1]:.1f} MiB, threads {kept[:, 2].min():.0f} to {kept[:, 2].max():.0f}, "
        f"descriptors {kept[:, 3].min():.0f} to {kept[:, 3].max():.0f}"
    )
    assert slope <= MOST_MIB
    assert kept[-1, 2] <= kept[0, 2] + 1
    assert kept[-1, 3] <= kept[0, 3] + 2
