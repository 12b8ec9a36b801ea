"""A generated scene that drifts past with one blur after another: a camera for machines without one."""

import math
import time
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.blur.light import from_light, to_light
from device.blur.psf import BLIND, Psf
from device.images.degrade import add_noise
from device.images.frame import Frame
from device.images.scenes import chart
from device.images.yuv import Plane, Yuv, from_rgb
from device.sources.source import SourceStatus

BLURS = (Psf("defocus", 3.5), Psf("motion", 13.0, 25.0), Psf("gaussian", 1.6), Psf("motion", 9.0, 140.0), BLIND)
"""At a height of 480 pixels, one after another; smaller pictures have smaller blurs."""
EACH_S = 20.0
"""How long each lasts: long enough to be estimated and looked at."""
_NOISE = 1.5  # grey levels


class Demo:
    """A test chart that drifts past and is blurred on purpose; 4:2:0 in full range, like a camera."""

    live = True
    total = 0
    origin: Path | None = None
    status = SourceStatus()

    def __init__(self, width: int = 640, height: int = 480, fps: float = 30.0, seed: int = 0) -> None:
        self.fps = fps
        self._width, self._height = width, height
        self._scene = from_rgb(chart(max(16, height * 3 // 2), max(16, width * 3 // 2), seed))
        self._rng = np.random.default_rng(seed)
        self._noise = np.rint(add_noise(np.zeros((height + 64, width + 64), np.float32), _NOISE / 255, self._rng) * 255)
        self._noise = self._noise.astype(np.int16)
        self._blurs = tuple(psf if psf.is_blind else psf.changed(min(1.0, height / 480)) for psf in BLURS)
        self._blurred = lru_cache(1)(lambda psf: _blurred(self._scene, psf))
        self._started_s = time.monotonic()
        self._index = -1

    @property
    def description(self) -> str:
        """Its size, its rate, and how it is blurred now."""
        psf = self._blur_at(max(self._index, 0) / self.fps)
        how = "not blurred" if psf.is_blind else f"blurred on purpose: {psf.describe()}"
        return f"demo, a generated scene of {self._width}x{self._height} at {self.fps:.4g} fps, {how}"

    def read(self) -> Frame:
        """Wait for the next frame time; a late reader gets the frame that is due now, as from a camera."""
        now = time.monotonic()
        due = max(self._index + 1, math.floor((now - self._started_s) * self.fps))
        wait = self._started_s + due / self.fps - now
        if wait > 0:
            time.sleep(wait)
        self._index = due
        return Frame(due, time.monotonic(), self._draw(due / self.fps))

    def _blur_at(self, seconds: float) -> Psf:
        return self._blurs[int(seconds / EACH_S) % len(self._blurs)]

    def _draw(self, seconds: float) -> Yuv:
        scene = self._blurred(self._blur_at(seconds))
        spare_y, spare_x = scene.shape[0] - self._height, scene.shape[1] - self._width
        # In pairs of pixels, so that chroma stays aligned.
        top = round(spare_y / 2 * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / 31)))
        left = round(spare_x / 2 * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / 23)))
        y, x = self._rng.integers(0, 64, 2)  # a random crop of one noise field looks like new noise, but costs nothing
        noise = self._noise[y : y + self._height, x : x + self._width]
        luma = np.clip(_crop(scene.y, 2 * top, 2 * left, self._height, self._width) + noise, 0, 255).astype(np.uint8)
        half = (-(-self._height // 2), -(-self._width // 2))
        u, v = (np.ascontiguousarray(_crop(plane, top, left, *half)) for plane in (scene.u, scene.v))
        return Yuv(luma, u, v)

    def close(self) -> None:
        """Nothing to release."""


def _crop(plane: Plane, top: int, left: int, height: int, width: int) -> Plane:
    return plane[top : top + height, left : left + width]


def _blurred(scene: Yuv, psf: Psf) -> Yuv:
    """The scene through this blur, its luma in linear light."""
    if psf.is_blind:
        return scene
    luma = from_light(_filtered(to_light(scene.y, psf.linear), psf), psf.linear)
    u, v = (from_light(_filtered(to_light(plane, linear=False), psf.changed(0.5)), linear=False) for plane in (scene.u, scene.v))
    return Yuv(luma, u, v)


def _filtered(values: NDArray[np.float32], psf: Psf) -> NDArray[np.float32]:
    kernel = psf.kernel()[::-1, ::-1].astype(np.float32)
    return cv2.filter2D(values, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]
