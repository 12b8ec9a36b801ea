"""What makes a camera's frame unfit to be shown: empty, cut off, green. And a picture that does not move any more."""

import time
import zlib

import numpy as np
from numpy.typing import NDArray

from device.errors import DataError
from device.images.frame import Image
from device.images.yuv import Yuv

FROZEN_S = 10.0  # a sensor's noise differs in every frame; so long the same bytes is no camera looking at a wall
_FINGERPRINT_ROWS = 480  # rows that are compared: enough to see noise change, and 4K costs no more than VGA


class BadFrame(DataError):
    """One frame that is not to be shown; the next may be well."""


def check_image(image: Image) -> None:
    """Raise BadFrame for a picture without pixels, and for one whose lower part the camera left empty.

    Buffers that a camera did not fill hold zeros, which is no black (that has 128 in both planes of colour) but green. Cut off
    frames of many USB cameras are that in their lower part only, and a driver that lost its sensor delivers nothing else. A
    black picture is a night, and passes.
    """
    if not all(image.shape[:2]):
        raise BadFrame("an empty picture")
    if isinstance(image, Yuv):
        last = max(1, image.u.shape[0] // 16)
        hollow = not image.u[-last:].any() and not image.v[-last:].any()
    else:
        hollow = _zero_planes_as_rgb(image[-max(1, image.shape[0] // 16) :])
    if hollow:
        raise BadFrame("green, at least in its lower part: the camera did not fill the picture")


def _zero_planes_as_rgb(pixels: NDArray[np.uint8]) -> bool:
    """Whether all is the green that Y = U = V = 0 becomes: (0, 135, 0) by BT.601 in both ranges, (0, 77 or 84, 0) by BT.709."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if red.max() > 2 or blue.max() > 2:  # JPEG rounds
        return False
    return int(green.min()) >= 70 and int(green.max()) <= 140 and int(green.max()) - int(green.min()) <= 2


class Stillness:
    """Notices a live picture that repeats itself byte by byte."""

    def __init__(self) -> None:
        self._fingerprint, self._since = -1, 0.0

    def look(self, image: Image) -> str:
        """What to say of it, empty where nothing is to be said."""
        plane = image.y if isinstance(image, Yuv) else image
        step = -(-plane.shape[0] // _FINGERPRINT_ROWS)
        fingerprint, now = zlib.crc32(plane[::step].tobytes()), time.monotonic()
        if fingerprint != self._fingerprint:
            self._fingerprint, self._since = fingerprint, now
        still_s = now - self._since
        if still_s < FROZEN_S:
            return ""
        return "picture frozen: the camera sends the same one again and again; plug it out and in, or restart it"
