"""The power spectrum of pictures, averaged over blocks: what the estimator of blur sees."""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.blur.light import Plane, to_light

BLOCK = 128
"""Side of a block in pixels."""
LINEAR, AS_IS = 0, 1  # index of the domain in `Spectrum.power`
Power = NDArray[np.float32]

_MOST_BLOCKS = 96  # of one picture
_BRIGHT, _DARK = 250, 4  # grey levels beyond which a sensor or a curve has cut values off
_MOST_CUT_OFF = 0.02  # of a block's pixels
_LEAST_CONTRAST = 2.5  # standard deviation in grey levels; with less there is only noise
_taper = np.hanning(BLOCK + 1)[:BLOCK]
_WINDOW = np.outer(_taper, _taper).astype(np.float32)
_WINDOW /= np.sqrt((_WINDOW**2).mean())


class Spectrum:
    """Mean periodograms of blocks with a Hann window. White noise of standard deviation s (1.0 for white) has s² everywhere."""

    def __init__(self) -> None:
        self.power: Power = np.zeros((2, BLOCK, BLOCK // 2 + 1), np.float32)
        """(domain, y frequency, x frequency); the domains are linear light and the values as they are."""
        self.blocks = 0.0
        """How many blocks it is the mean of. Forgetting makes them fewer."""

    def add(self, plane: Plane, most_blocks: int = _MOST_BLOCKS) -> int:
        """Add a picture's blocks, (height, width) uint8 of sRGB values. Returns how many of them could be used."""
        total = np.zeros_like(self.power)
        used = 0
        height, width = plane.shape
        for y, x in _places(height, width, most_blocks):
            block = np.ascontiguousarray(plane[y : y + BLOCK, x : x + BLOCK])
            counts = cv2.calcHist([block], [0], None, [256], [0, 256]).ravel()
            cut_off = counts[_BRIGHT:].sum() + counts[: _DARK + 1].sum()
            if cut_off > _MOST_CUT_OFF * BLOCK**2 or float(cv2.meanStdDev(block)[1][0, 0]) < _LEAST_CONTRAST:
                continue
            for domain in (LINEAR, AS_IS):
                total[domain] += periodogram(to_light(block, linear=domain == LINEAR))
            used += 1
        if used:
            self.power = (self.power * np.float32(self.blocks) + total) / np.float32(self.blocks + used)
            self.blocks += used
        return used

    def forget(self, share: float) -> None:
        """Let what is known count less, so that the mean follows what is added later."""
        self.blocks *= 1 - share


def _places(height: int, width: int, most: int) -> list[tuple[int, int]]:
    """Top left corners of blocks that overlap by half, spread evenly; fewer in a large picture."""
    if min(height, width) < BLOCK:
        return []
    step = BLOCK / 2
    rows, columns = (int(np.ceil((n - BLOCK) / step)) + 1 for n in (height, width))
    if rows * columns > most:
        shrink = np.sqrt(most / (rows * columns))
        rows, columns = max(1, int(rows * shrink)), max(1, int(columns * shrink))
    ys, xs = (np.linspace(0, n - BLOCK, count).astype(int) for n, count in ((height, rows), (width, columns)))
    return [(int(y), int(x)) for y in ys for x in xs]


def periodogram(values: Power) -> Power:
    """(128, 128) float32 -> (128, 65): the power of a block's frequencies, without its mean."""
    tapered = (values - np.float32(cv2.mean(values)[0])) * _WINDOW
    packed = cv2.dft(tapered, flags=cv2.DFT_COMPLEX_OUTPUT)[:, : BLOCK // 2 + 1]
    power: Power = (packed[..., 0] ** 2 + packed[..., 1] ** 2) / np.float32(BLOCK**2)
    return power
