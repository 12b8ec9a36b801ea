"""8-bit sRGB values to linear light (IEC 61966-2-1) and back, by tables."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (height, width)
Values = NDArray[np.float32]

_STEPS = 16384  # of the table back to sRGB: its slope is 12.92 near black, so one step is a fifth of a grey level there


def to_light(plane: Plane, linear: bool) -> Values:
    """uint8 of sRGB values -> linear light, or (`linear` False) the values as they are; 1.0 for white."""
    return cv2.LUT(plane, _tables(linear)[0])  # type: ignore[return-value, arg-type]


def from_light(values: Values, linear: bool) -> Plane:
    """The way back. What is below 0 or above 1 is clipped."""
    levels = cv2.min(cv2.max(values, 0.0), 1.0) * np.float32(_STEPS - 1) + np.float32(0.5)  # type: ignore[operator, call-overload]
    return np.take(_tables(linear)[1], levels.astype(np.uint16))


@cache
def _tables(linear: bool) -> tuple[Values, Plane]:
    codes, light = np.arange(256) / 255, np.arange(_STEPS) / (_STEPS - 1)
    if linear:
        codes = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
        light = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return codes.astype(np.float32), np.rint(light * 255).astype(np.uint8)
