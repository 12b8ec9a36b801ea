"""A generated scene with live panning and blur: a camera for machines without one."""

import math
import time
from pathlib import Path

import numpy as np

from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Frame
from device.images.scenes import chart
from device.images.yuv import Plane, Yuv, from_rgb
from device.sources.source import SourceStatus


class Demo:
    """A test chart that drifts past while its focus changes; 4:2:0 in full range, like a camera."""

    live = True
    total = 0
    origin: Path | None = None
    status = SourceStatus()

    def __init__(self, width: int = 640, height: int = 480, fps: float = 30.0, seed: int = 0) -> None:
        self.fps = fps
        self.description = f"demo, a generated scene of {width}x{height} at {fps:.4g} fps"
        self._width, self._height = width, height
        self._scene = from_rgb(chart(max(16, height * 3 // 2), max(16, width * 3 // 2), seed))
        self._rng = np.random.default_rng(seed)
        self._noise = add_noise(np.zeros((height + 64, width + 64), np.float32), 1.5 / 255, self._rng)
        self._started_s = time.monotonic()
        self._index = -1

    def read(self) -> Frame:
        """Wait for the next frame time; a late reader gets the frame that is due now, as from a camera."""
        now = time.monotonic()
        due = max(self._index + 1, math.floor((now - self._started_s) * self.fps))
        wait = self._started_s + due / self.fps - now
        if wait > 0:
            time.sleep(wait)
        self._index = due
        return Frame(due, time.monotonic(), self._draw(due / self.fps))

    def _draw(self, seconds: float) -> Yuv:
        spare_y, spare_x = self._scene.shape[0] - self._height, self._scene.shape[1] - self._width
        top = round(
            spare_y / 2 * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / 31))
        )  # in pairs of pixels, so that chroma stays aligned
        left = round(spare_x / 2 * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / 23)))
        sigma = 1.6 + 0.9 * math.sin(2 * math.pi * seconds / 7)  # pixels: from nearly sharp to clearly soft
        y, x = self._rng.integers(0, 64, 2)  # a random crop of one noise field looks like new noise, but costs nothing
        noise = self._noise[y : y + self._height, x : x + self._width]
        half = (-(-self._height // 2), -(-self._width // 2))
        luma = _blurred_crop(self._scene.y, 2 * top, 2 * left, self._height, self._width, sigma) + noise
        u, v = (to_pixels(_blurred_crop(plane, top, left, *half, sigma / 2)) for plane in (self._scene.u, self._scene.v))
        return Yuv(to_pixels(luma), u, v)

    def close(self) -> None:
        """Nothing to release."""


def _blurred_crop(plane: Plane, top: int, left: int, height: int, width: int, sigma: float) -> np.ndarray:
    return gaussian_blur(to_float(np.ascontiguousarray(plane[top : top + height, left : left + width])), sigma)
