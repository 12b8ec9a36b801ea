"""How sharp a spot of a picture is: for somebody who turns the lens."""

import math

import numpy as np

from device.blur.light import Plane
from device.blur.spectrum import BLOCK, periodogram

_COARSE, _FINE, _NOISE = (3, 10), (18, 45), (56, 63)  # bands of frequencies, in units of 1/128 cycle a pixel


def sharpness_at(plane: Plane, x: float, y: float) -> float | None:
    """How much fine detail there is for the coarse detail, about 0 to 1, around a point.

    The point is given in shares of width and height. Brightness and contrast cancel, and the noise, as seen at the highest
    frequencies, is taken off. None for a spot without detail, and for a picture smaller than 128 pixels.
    """
    height, width = plane.shape
    if min(height, width) < BLOCK:
        return None
    top = min(max(round(y * height) - BLOCK // 2, 0), height - BLOCK)
    left = min(max(round(x * width) - BLOCK // 2, 0), width - BLOCK)
    spot = np.ascontiguousarray(plane[top : top + BLOCK, left : left + BLOCK]).astype(np.float32) / np.float32(255)
    power = periodogram(spot)
    radius = np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None]) * BLOCK
    coarse, fine, noise = (float(power[(radius >= low) & (radius < high)].mean()) for low, high in (_COARSE, _FINE, _NOISE))
    if coarse - noise < _LEAST_DETAIL:
        return None
    return min(1.0, _SCALE * math.sqrt(max(fine - noise, 0) / (coarse - noise)))


_LEAST_DETAIL = 1e-4  # power, 1.0 for white: below it there are only noise and slow changes of light
_SCALE = 3.0  # sharp photographs reach about 1
