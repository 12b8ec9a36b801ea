"""Undo a known blur: the Wiener filter of its kernel, by one pair of Fourier transforms. Training and boards share it.

    restored = X · conj(H) / (|H|² + regularisation · (|Dx|² + |Dy|²) + floor)

Dx and Dy are the differences of neighbours: photographs have less of high frequencies, so noise counts for more there.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.blur.kernels import Kernel
from device.blur.psf import Psf

Plane = NDArray[np.uint8]  # (height, width)
Values = NDArray[np.float32]

LEAST_REGULARISATION = 0.01
"""JPEG and denoisers empty the high frequencies, so measured noise is too low there and the filter would amplify artefacts."""
_FLOOR = 1e-4
_USUAL_NOISE = 2 / 255  # that the least regularisation suits
_LEAST_GAP_PX = 32
_STEPS = 16384  # of the table back to sRGB: its slope is 12.92 near black, so one step is a fifth of a grey level there


def regularisation_for(noise: float | None) -> float:
    """The regularisation for noise of this standard deviation (1.0 for white), bounded below; None: unknown."""
    return LEAST_REGULARISATION * max(1.0, ((noise or 0.0) / _USUAL_NOISE) ** 2)


@dataclass(frozen=True)
class WienerFilter:
    """The filter of one kernel for planes of one size."""

    size_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    spectrum: Values
    """H / (|H|² + …) in OpenCV's packed form, of `padded_hw`; to be multiplied conjugated."""

    def apply(self, values: Values) -> Values:
        """(height, width) float32 -> the same, deconvolved, neither rounded nor clipped.

        A plane is continued as a mirror image on every side, and the continuations of opposite sides are blended where
        they meet, since the transform takes the plane as periodic.
        """
        transformed = cv2.dft(_periodic(values, self.padded_hw))
        product = cv2.mulSpectrums(transformed, self.spectrum, 0, conjB=True)
        restored = cv2.idft(product, flags=cv2.DFT_SCALE, nonzeroRows=self.size_hw[0])
        return restored[: self.size_hw[0], : self.size_hw[1]]  # type: ignore[return-value]


def wiener_filter(kernel: Kernel, height: int, width: int, regularisation: float = LEAST_REGULARISATION) -> WienerFilter:
    """Build the filter of `kernel` for planes of `height` x `width`."""
    reach = len(kernel) // 2
    gap = max(_LEAST_GAP_PX, 3 * reach + 16)
    padded = _fast(height + gap), _fast(width + gap)
    spread = np.zeros(padded, np.float32)
    spread[: len(kernel), : len(kernel)] = kernel
    spread = np.roll(spread, (-reach, -reach), (0, 1))
    transformed: Values = cv2.dft(spread)  # type: ignore[assignment]
    power: Values = cv2.mulSpectrums(transformed, transformed, 0, conjB=True)  # type: ignore[assignment]
    _spread_pairs(power)
    power += np.float32(regularisation) * _difference_power(*padded)
    power += np.float32(_FLOOR)
    np.divide(transformed, power, out=transformed)
    transformed *= np.float32(1 / transformed[0, 0])  # brightness stays
    return WienerFilter((height, width), padded, transformed)


def deconvolve(plane: Plane, wiener: WienerFilter, linear: bool) -> Plane:
    """(height, width) uint8 of sRGB values -> the same, deconvolved in linear light or (`linear` False) as they are."""
    if not linear:
        restored = wiener.apply(np.multiply(plane, np.float32(1 / 255), dtype=np.float32))
        return cv2.convertScaleAbs(cv2.max(restored, 0.0), alpha=255)  # type: ignore[return-value, call-overload]
    to_linear, to_srgb = _tables()
    restored = wiener.apply(cv2.LUT(plane, to_linear))  # type: ignore[arg-type]
    levels = cv2.min(cv2.max(restored, 0.0), 1.0) * np.float32(_STEPS - 1) + np.float32(0.5)  # type: ignore[operator, call-overload]
    return np.take(to_srgb, levels.astype(np.uint16))


class Deconvolver:
    """Deconvolves planes by one PSF. Keeps the filter of the last size; not for several threads at once."""

    def __init__(self, psf: Psf) -> None:
        self.psf = psf
        self._kernel = None if psf.is_blind else psf.kernel()
        self._filter: WienerFilter | None = None

    def __call__(self, plane: Plane) -> Plane:
        """(height, width) uint8 -> the same, deconvolved; a blind PSF gives the plane itself."""
        if self._kernel is None:
            return plane
        if self._filter is None or self._filter.size_hw != plane.shape:
            height, width = plane.shape
            self._filter = wiener_filter(self._kernel, height, width, regularisation_for(self.psf.noise))
        return deconvolve(plane, self._filter, self.psf.linear)


def _periodic(values: Values, padded_hw: tuple[int, int]) -> Values:
    """Continue a plane to the right and below, so that it meets itself without a step when it is repeated."""
    for axis in (1, 0):
        after, before, share = _continuation(values.shape[axis], padded_hw[axis])
        weights = share[None, :] if axis else share[:, None]
        mirrored = np.take(values, after, axis)
        mirrored += (np.take(values, before, axis) - mirrored) * weights
        values = np.concatenate([values, mirrored], axis)
    return values


@cache
def _continuation(length: int, padded: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Values]:
    """Indices of the mirror images after the end and before the start, and how much of the latter each place takes."""
    places = np.arange(length, padded)
    after = np.array([cv2.borderInterpolate(int(p), length, cv2.BORDER_REFLECT) for p in places])
    before = np.array([cv2.borderInterpolate(int(p - padded), length, cv2.BORDER_REFLECT) for p in places])
    t = np.clip(1.5 * (places - length + 0.5) / (padded - length) - 0.25, 0, 1)  # all of the nearer image at first
    return after, before, (t * t * (3 - 2 * t)).astype(np.float32)


def _fast(length: int) -> int:
    """The next even length whose transform is fast."""
    length = cv2.getOptimalDFTSize(length)
    while length % 2:
        length = cv2.getOptimalDFTSize(length + 1)
    return length


def _spread_pairs(power: Values) -> None:
    """In OpenCV's packed form, write the real part of every complex number over its imaginary part too. Even sides."""
    power[:, 2:-1:2] = power[:, 1:-1:2]
    for column in (0, -1):  # packed downwards
        power[2:-1:2, column] = power[1:-1:2, column]


@cache
def _difference_power(height: int, width: int) -> Values:
    """|Dx|² + |Dy|² at the frequency of every number of OpenCV's packed form. Even sides."""
    packed_down, packed_across = (np.arange(height) + 1) // 2, (np.arange(width) + 1) // 2
    down = np.repeat(np.arange(height)[:, None], width, 1)
    down[:, [0, -1]] = packed_down[:, None]
    power = 4 - 2 * np.cos(2 * np.pi * down / height) - 2 * np.cos(2 * np.pi * packed_across[None] / width)
    return power.astype(np.float32)


@cache
def _tables() -> tuple[Values, Plane]:
    """From 8-bit sRGB to linear light, and back from `_STEPS` steps of it (IEC 61966-2-1)."""
    codes, light = np.arange(256) / 255, np.arange(_STEPS) / (_STEPS - 1)
    to_linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    to_srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return to_linear.astype(np.float32), np.rint(to_srgb * 255).astype(np.uint8)
