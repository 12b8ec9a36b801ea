"""Groups of frequencies of a block's half plane, and averages over them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.blur.spectrum import BLOCK, Power

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

SECTORS = 8
"""Directions of the half plane."""


@dataclass(frozen=True)
class Groups:
    """Groups of frequencies of the half plane whose power is averaged."""

    index: Ints
    """Of each frequency that is used, its group."""
    used: NDArray[np.bool_]
    counts: Floats
    x: Floats
    y: Floats
    """Mean frequency, cycles a pixel."""
    frequency: Floats

    def means(self, power: Power) -> Floats:
        """(128, 65) -> the mean power of each group."""
        return (np.bincount(self.index, power[self.used], len(self.counts)) / np.maximum(self.counts, 1)).astype(np.float32)


def grouped(used: NDArray[np.bool_], key: NDArray[np.intp], groups: int) -> Groups:
    y, x = frequencies()
    index, counts = key[used], np.bincount(key[used], minlength=groups)
    mean_x, mean_y, frequency = (
        np.bincount(index, values[used], groups) / np.maximum(counts, 1) for values in (x, y, np.hypot(x, y))
    )
    fields = (counts.astype(np.float32), mean_x.astype(np.float32), mean_y.astype(np.float32), frequency.astype(np.float32))
    return Groups(index, used, *fields)


@cache
def frequencies() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.broadcast_arrays(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None])
    return y, x


def off_axes() -> NDArray[np.bool_]:
    """The axes are left out: that is where borders of pictures, screens and scan lines are."""
    y, x = frequencies()
    return (np.abs(y) * BLOCK >= 1.5) & (x * BLOCK >= 1.5)


def sector() -> Ints:
    y, x = frequencies()
    return np.floor((np.arctan2(y, x) / np.pi % 1) * SECTORS).astype(np.intp) % SECTORS
