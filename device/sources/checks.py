"""Detect camera frames that must not be shown (empty, truncated, green), and a picture that is frozen."""

import time
import zlib

import numpy as np
from numpy.typing import NDArray

from device.errors import DataError
from device.images.frame import Image
from device.images.yuv import Yuv

FROZEN_S = 10.0  # sensor noise differs in every frame: identical bytes for this long are not a camera facing a wall
_FINGERPRINT_ROWS = 480  # rows compared: enough to notice changing noise, and 4K costs no more than VGA


class BadFrame(DataError):
    """One frame that must not be shown; the next one may be good."""


def check_image(image: Image) -> None:
    """Raise BadFrame for a picture without pixels, and for one whose lower part the camera did not fill.

    An unfilled buffer contains zeros, which are green: black has 128 in both chroma planes. Truncated frames of many USB
    cameras are green in their lower part only; a driver that lost its sensor delivers green frames only. A black picture, as
    at night, passes.
    """
    if not all(image.shape[:2]):
        raise BadFrame("empty picture")
    if isinstance(image, Yuv):
        last = max(1, image.u.shape[0] // 16)
        unfilled = not image.u[-last:].any() and not image.v[-last:].any()
    else:
        unfilled = _zero_planes_as_rgb(image[-max(1, image.shape[0] // 16) :])
    if unfilled:
        raise BadFrame("green, at least in the lower part: the camera did not fill the picture")


def _zero_planes_as_rgb(pixels: NDArray[np.uint8]) -> bool:
    """Whether all pixels have the green of Y = U = V = 0: (0, 135, 0) in BT.601, either range; (0, 77 or 84, 0) in BT.709."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if red.max() > 2 or blue.max() > 2:  # JPEG rounding
        return False
    return int(green.min()) >= 70 and int(green.max()) <= 140 and int(green.max()) - int(green.min()) <= 2


class FreezeDetector:
    """Notices when a camera repeats the same picture, byte by byte."""

    def __init__(self) -> None:
        self._fingerprint, self._since = -1, 0.0

    def check(self, image: Image) -> str:
        """The problem as text if the picture is frozen, else an empty string."""
        plane = image.y if isinstance(image, Yuv) else image
        step = -(-plane.shape[0] // _FINGERPRINT_ROWS)
        fingerprint, now = zlib.crc32(plane[::step].tobytes()), time.monotonic()
        if fingerprint != self._fingerprint:
            self._fingerprint, self._since = fingerprint, now
        unchanged_s = now - self._since
        if unchanged_s < FROZEN_S:
            return ""
        return "picture frozen: the camera keeps sending the same picture; unplug and reconnect it, or restart it"
