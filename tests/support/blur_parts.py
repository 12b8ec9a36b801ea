"""Photographs and what a camera with a known blur makes of them."""

from functools import cache

import cv2
import numpy as np
import pytest

from device.blur.kernels import Kernel
from device.blur.light import from_light, to_light
from device.images.scenes import chart

data = pytest.importorskip("skimage.data", reason="scikit-image, whose photographs these are, is not installed")
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "camera")


@cache
def sharp_luma(name: str) -> np.ndarray:
    picture = chart(480, 640) if name == "chart" else getattr(data, name)()
    return picture if picture.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)


def seen(sharp: np.ndarray, kernel: Kernel | None, *, linear: bool = True, noise: float = 1.0, quality: int = 92) -> np.ndarray:
    """What a camera makes of it: blurred in linear light, with noise (grey levels), as JPEG."""
    values = to_light(sharp, linear)
    if kernel is not None:
        values = cv2.filter2D(values, cv2.CV_32F, kernel[::-1, ::-1], borderType=cv2.BORDER_REFLECT)
    noisy = from_light(values, linear) + np.random.default_rng(0).normal(0, noise, sharp.shape)
    pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
