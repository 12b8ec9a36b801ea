"""Undo a known blur: the Wiener filter of its kernel, by one pair of Fourier transforms. Training and boards share it.

    restored = X · conj(H) / (|H|² + regularisation · (|Dx|² + |Dy|²) + floor)

Dx and Dy are the differences of neighbours: photographs have less of high frequencies, so noise counts for more there.
A plane is always transformed whole: what a uniform motion has wiped out rings through all of a picture, so tiles would not
fit together. Everything large is computed in place: two floats a pixel are the most that is held.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.blur.kernels import Kernel
from device.blur.light import Plane, Values, from_light, to_light
from device.blur.psf import Psf

LEAST_REGULARISATION = 0.005
"""JPEG and denoisers empty the high frequencies, so measured noise is too low there and the filter would amplify artefacts.
On test pairs of seven photographs 0.005 gained most or within 0.2 dB of it in every case; 0.002 up to 0.6 dB less, 0.02 a dB."""
_FLOOR = 1e-4
_USUAL_NOISE = 2 / 255  # up to which the least regularisation serves
_LEAST_GAP_PX = 32
_MOST_TAPS = 200
_STRIP = 256  # rows that are converted at once


def regularisation_for(noise: float | None) -> float:
    """The regularisation for noise of this standard deviation (1.0 for white), bounded below; None: unknown."""
    return LEAST_REGULARISATION * max(1.0, ((noise or 0.0) / _USUAL_NOISE) ** 2)


@dataclass(frozen=True)
class WienerFilter:
    """The filter of one kernel for planes of one size."""

    size_hw: tuple[int, int]
    spectrum: Values
    """H / (|H|² + …) in OpenCV's packed form, larger than the plane; to be multiplied conjugated."""
    border_kernel: Values | None
    """What blurs a plane's continuation, as filter2D wants it: the kernel mirrored. None where it looks the same from every
    side: a mirror image of what such a kernel has blurred is as blurred itself."""


def wiener_filter(kernel: Kernel, height: int, width: int, regularisation: float = LEAST_REGULARISATION) -> WienerFilter:
    """Build the filter of `kernel` for planes of `height` x `width`."""
    reach = len(kernel) // 2
    gap = max(_LEAST_GAP_PX, 3 * reach + 16)
    spectrum = np.zeros((_fast(height + gap), _fast(width + gap)), np.float32)
    spectrum[: len(kernel), : len(kernel)] = kernel
    spectrum = np.roll(spectrum, (-reach, -reach), (0, 1))  # its centre at the origin, so that nothing moves
    cv2.dft(spectrum, spectrum)
    power: Values = cv2.mulSpectrums(spectrum, spectrum, 0, conjB=True)  # type: ignore[assignment]
    _spread_pairs(power)
    _add_difference_power(power, regularisation)
    power += np.float32(_FLOOR)
    spectrum /= power
    spectrum *= np.float32(1 / spectrum[0, 0])  # brightness stays
    round_about = np.allclose(kernel, kernel[::-1]) and np.allclose(kernel, kernel.T)
    mirrored = None if round_about else kernel[::-1, ::-1].astype(np.float32)
    return WienerFilter((height, width), spectrum, mirrored)


def deconvolve(plane: Plane, wiener: WienerFilter, linear: bool) -> Plane:
    """(height, width) uint8 of sRGB values -> the same, deconvolved in linear light or (`linear` False) as they are."""
    height, width = plane.shape
    values = np.empty(wiener.spectrum.shape, np.float32)
    strips = [slice(y, min(y + _STRIP, height)) for y in range(0, height, _STRIP)]
    for rows in strips:
        values[rows, :width] = to_light(plane[rows], linear)
    _continue(values, height, width)
    if wiener.border_kernel is not None:
        _blur_continuation(values, height, width, wiener.border_kernel)
    cv2.dft(values, values)
    cv2.mulSpectrums(values, wiener.spectrum, 0, values, conjB=True)
    cv2.dft(values, values, cv2.DFT_INVERSE | cv2.DFT_SCALE, height)
    restored = np.empty_like(plane)
    for rows in strips:
        restored[rows] = from_light(values[rows, :width], linear)
    return restored


class Deconvolver:
    """Deconvolves planes by one PSF. Keeps the filter of the last size; not for several threads at once."""

    def __init__(self, psf: Psf) -> None:
        self.psf = psf
        self.is_round = psf.is_round
        """Of the PSF, computed once: it is asked for at every frame."""
        self._kernel = None if psf.is_blind else psf.kernel()
        self._filter: WienerFilter | None = None

    def ready_for(self, height: int, width: int) -> bool:
        """Whether its filter is built for planes of this size."""
        return self._filter is not None and self._filter.size_hw == (height, width)

    def prepare(self, height: int, width: int) -> None:
        """Build the filter for planes of this size, so that the first one need not wait for it."""
        if self._kernel is None or self.ready_for(height, width):
            return
        self._filter = None  # two at once would take twice the memory
        self._filter = wiener_filter(self._kernel, height, width, regularisation_for(self.psf.noise))

    def with_seen(self, seen: Plane) -> NDArray[np.uint8]:
        """(height, width) uint8 -> (height, width, 2): as seen, and deconvolved. What a model of two planes takes."""
        return cv2.merge([seen, self(seen)])  # type: ignore[return-value]

    def __call__(self, plane: Plane) -> Plane:
        """(height, width) uint8 -> the same, deconvolved; a blind PSF gives the plane itself."""
        self.prepare(*plane.shape)
        return plane if self._filter is None else deconvolve(plane, self._filter, self.psf.linear)


def _continue(values: Values, height: int, width: int) -> None:
    """Fill what lies beyond `height` and `width` so that the whole meets itself without a step when it is repeated.

    A plane goes on as its mirror image; those of opposite sides are blended where they meet.
    """
    after, before, share = _continuation(width, values.shape[1])
    values[:height, width:] = values[:height].take(after, 1) * (1 - share) + values[:height].take(before, 1) * share
    after, before, share = _continuation(height, values.shape[0])
    values[height:] = values[after] * (1 - share[:, None]) + values[before] * share[:, None]


def _blur_continuation(values: Values, height: int, width: int, kernel: Values) -> None:
    """Blur what lies beyond `height` and `width`, as if the mirror image were what was there before the blur.

    Without it motion is continued in the mirrored direction, which rings through the whole picture: hand-shake of 17 pixels
    gains 0.8 to 1.1 dB by it, straight motion of 17 pixels 0.8 (test pairs) to 1.8 (cropped after the blur).
    """
    reach, (padded_height, padded_width) = len(kernel) // 2, values.shape

    def blurred(top: int, bottom: int, left: int, right: int) -> Values:
        rows = np.arange(top - reach, bottom + reach) % padded_height
        columns = np.arange(left - reach, right + reach) % padded_width
        return _correlated(values.take(rows, 0).take(columns, 1), kernel)  # indexing with both takes four times the instructions

    beside = blurred(0, padded_height, width, padded_width)
    values[height:, :width] = blurred(height, padded_height, 0, width)
    values[:, width:] = beside


def _correlated(values: Values, kernel: Values) -> Values:
    """What `cv2.filter2D` makes of the values, where the whole kernel lies on them.

    filter2D takes Fourier transforms for all but tiny kernels. A path has few taps, so moved copies are added up: on an Arm core
    that took the whole filter of a motion of 17 pixels from 347 to 301 instructions per pixel (scripts/instructions/filters.py).
    """
    reach = len(kernel) // 2
    taps = np.argwhere(kernel)
    if len(taps) > _MOST_TAPS:
        return cv2.filter2D(values, cv2.CV_32F, kernel)[reach:-reach, reach:-reach]  # type: ignore[return-value]
    height, width = values.shape[0] - 2 * reach, values.shape[1] - 2 * reach
    total = np.zeros((height, width), np.float32)
    for y, x in taps:
        cv2.scaleAdd(values[y : y + height, x : x + width], float(kernel[y, x]), total, total)
    return total


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


def _add_difference_power(power: Values, weight: float) -> None:
    """Add `weight` · (|Dx|² + |Dy|²) to every number of OpenCV's packed form. Even sides."""

    def of(frequencies: NDArray[np.intp], length: int) -> Values:
        return (weight * (2 - 2 * np.cos(2 * np.pi * frequencies / length))).astype(np.float32)

    height, width = power.shape
    power += of((np.arange(width) + 1) // 2, width)
    power[:, 1:-1] += of(np.arange(height), height)[:, None]
    power[:, [0, -1]] += of((np.arange(height) + 1) // 2, height)[:, None]
