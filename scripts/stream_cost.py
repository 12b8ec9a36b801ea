"""Compare the ways to encode both pictures of a frame for the page: python scripts/stream_cost.py [WIDTHxHEIGHT]"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from device.images.scenes import chart
from device.images.yuv import Yuv, from_rgb
from device.settings import parse_size
from device.sinks.web.jpeg import to_jpeg
from device.sinks.web.stream_quality import LEVELS

ROUNDS, REPEATS = 15, 5


def main() -> None:
    """Time the ways in turns, so that disturbances affect all of them; print the median time and the bytes of one frame."""
    width, height = parse_size(sys.argv[1] if len(sys.argv) > 1 else "640x480", "size")
    cv2.setNumThreads(1)
    restored = chart(height, width, 1)
    blurred = cv2.GaussianBlur(restored, (0, 0), 1.8)
    planes = from_rgb(blurred), from_rgb(restored)

    def one_file_of_planes() -> int:
        y, u, v = (np.concatenate([getattr(p, name) for p in planes]) for name in "yuv")
        return len(to_jpeg(Yuv(y, u, v), 85))

    ways: dict[str, Callable[[], int]] = {
        "two files, from planes": lambda: sum(len(to_jpeg(p, 85)) for p in planes),
        "one file of both, from planes": one_file_of_planes,
        "two files, from R G B": lambda: len(to_jpeg(blurred, 85)) + len(to_jpeg(restored, 85)),
        "one file of both, from R G B": lambda: len(to_jpeg(np.concatenate([blurred, restored]), 85)),
        "two files, from planes through R G B": lambda: sum(len(to_jpeg(p.rgb(), 85)) for p in planes),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(REPEATS):
                way()
            seconds[name].append((time.perf_counter() - began) / REPEATS)
    print(f"{width}x{height}, quality 85, both pictures of one frame")
    for name, way in ways.items():
        print(f"{name:38s} {1000 * median(seconds[name]):6.2f} ms  {way():8d} bytes")
    for quality in dict.fromkeys(level.quality for level in LEVELS):
        print(f"quality {quality}: {len(to_jpeg(planes[0], quality))} bytes blurred, {len(to_jpeg(planes[1], quality))} restored")


if __name__ == "__main__":
    main()
