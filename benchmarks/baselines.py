"""Methods without a network: nothing, an unsharp mask, Polyblur, and non-blind methods, which need the true kernel.

All of them need only NumPy and OpenCV, compute in float32, and pad pictures to sizes that are fast to transform, so that their
milliseconds are those of a careful implementation on a board. scikit-image has the same Wiener filter and the same
Richardson-Lucy iteration, but in float64 and without padding, and no board has it installed; a test compares ours with its.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from device.config import nearest
from device.errors import UsageError
from device.images.degrade import Kernel, to_float, to_pixels
from device.images.frame import Pixels, luma_of

Plane = NDArray[np.float32]

UNSHARP_SIGMA_PX, UNSHARP_AMOUNT = 2.0, 0.8  # the best of a small grid on the val photographs, sigma 1.0 to 3.0
_WIENER_BALANCE = 0.02  # a plausible value for noise of 2/255, not tuned
_RICHARDSON_LUCY_STEPS = 12  # a plausible value, not tuned; more steps amplify the noise
_MIN_LIGHT = 1e-3  # a quarter of a grey level: never divide by the rounding errors of a float32 transform in black areas

# Polyblur's polynomial and quantile are those of the paper. Its two constants of natural pictures (0.352 and 0.768 there)
# depend on how derivatives are computed; these gain most on the val photographs, with central differences.
_ALPHA, _BETA = 6.0, 1.0
_QUANTILE = 1e-4
_STEEPEST, _OWN_SOFTNESS_PX = 0.29, 0.7
_MAX_SIGMA_PX = 4.0
_DIRECTIONS = 6
_BORDER_PX = 24  # three times a Gaussian of 4 pixels has a standard deviation of 7


def nothing(pixels: Pixels) -> Pixels:
    """Return the picture unchanged."""
    return pixels


def unsharp(pixels: Pixels) -> Pixels:
    """Add the difference to a Gaussian blur of 2 pixels, times 0.8."""
    soft = cv2.GaussianBlur(pixels, (0, 0), UNSHARP_SIGMA_PX)
    return cv2.addWeighted(pixels, 1 + UNSHARP_AMOUNT, soft, -UNSHARP_AMOUNT, 0)  # type: ignore[return-value]


def polyblur(pixels: Pixels) -> Pixels:
    """Blind: estimate an anisotropic Gaussian, then apply a cubic polynomial of it that nearly inverts it.

    Delbracio, Garcia-Dorado, Choi, Kelly, Milanfar, "Polyblur: Removing mild blur by polynomial reblurring", IEEE Transactions
    on Computational Imaging, 2021. Differences: it works on brightness only, as our networks do (the same gain as with three
    channels on the val photographs); it applies all three convolutions at once, in the frequency domain; it has no mask against
    halos, which gained 0.02 dB; and it returns a picture without visible blur unchanged, where the paper assumes a blur of at
    least 0.3 pixels.
    """
    luma = luma_of(pixels)
    along_px, across_px, angle = estimated_blur(luma)
    if not max(along_px, across_px):
        return pixels
    bordered = _bordered(luma, _BORDER_PX)
    y, x = _frequencies(*bordered.shape[:2])
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    k = np.exp(np.float32(-0.5) * ((along_px * (c * x + s * y)) ** 2 + (across_px * (c * y - s * x)) ** 2))
    cube, square, linear = _ALPHA / 2 - _BETA + 2, 3 * _BETA - _ALPHA - 6, 5 - 3 * _BETA + _ALPHA / 2
    spectrum = cv2.dft(bordered) * (((cube * k + square) * k + linear) * k + _BETA)
    restored = to_pixels(_inside(_inverse(spectrum), luma.shape[:2], _BORDER_PX))
    change = cv2.subtract(restored, luma, dtype=cv2.CV_16S)
    return cv2.add(pixels, cv2.merge([change, change, change]), dtype=cv2.CV_8U)  # type: ignore[return-value]


def estimated_blur(luma: NDArray[np.uint8]) -> tuple[np.float32, np.float32, float]:
    """Estimate the Gaussian that blurred a picture: (sigma along in pixels, sigma across, angle in radians); 0 for no blur.

    A sharp picture of full contrast has an edge in every direction somewhere, so the steepest slope in a direction tells how
    wide the blur is in that direction.
    """
    up_to = np.cumsum(cv2.calcHist([luma], [0], None, [256], [0, 256])) / luma.size
    contrast = max(1, int(np.searchsorted(up_to, 1 - _QUANTILE) - np.searchsorted(up_to, _QUANTILE)))
    down, right = (cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, ksize=1, scale=0.5 / contrast) for dx in (0, 1))
    steepest = np.empty(_DIRECTIONS)
    for i in range(_DIRECTIONS):
        angle = np.pi * i / _DIRECTIONS
        least, most, _, _ = cv2.minMaxLoc(cv2.addWeighted(right, np.cos(angle), down, np.sin(angle), 0))
        steepest[i] = max(most, -least, 1e-6)
    softest = int(steepest.argmin())
    of_two = steepest[[softest, (softest + _DIRECTIONS // 2) % _DIRECTIONS]]
    variance = np.clip((_STEEPEST / of_two) ** 2 - _OWN_SOFTNESS_PX**2, 0, _MAX_SIGMA_PX**2)
    along_px, across_px = np.sqrt(variance).astype(np.float32)
    return along_px, across_px, np.pi * softest / _DIRECTIONS


def wiener(pixels: Pixels, kernel: Kernel) -> Pixels:
    """Non-blind: Wiener filter, regularised by the Laplacian (Hunt, 1971; as in scikit-image).

    The filter is built once for a kernel and a size, as it would be for a camera whose kernel is known.
    """

    def restore(plane: Plane) -> Plane:
        return _inverse(cv2.mulSpectrums(cv2.dft(plane), _wiener_spectrum(kernel.tobytes(), len(kernel), plane.shape), 0))  # type: ignore[arg-type]

    return _by_channel(pixels, kernel, restore)


def richardson_lucy(pixels: Pixels, kernel: Kernel) -> Pixels:
    """Non-blind: Richardson-Lucy deconvolution (1972, 1974)."""

    def restore(plane: Plane) -> Plane:
        spectrum = _kernel_spectrum(kernel.tobytes(), len(kernel), plane.shape)  # type: ignore[arg-type]
        estimate = np.full_like(plane, 0.5)
        for _ in range(_RICHARDSON_LUCY_STEPS):
            blurred = _inverse(cv2.mulSpectrums(cv2.dft(estimate), spectrum, 0))
            ratio = cv2.divide(plane, cv2.max(blurred, _MIN_LIGHT))  # type: ignore[call-overload]
            estimate = cv2.multiply(estimate, _inverse(cv2.mulSpectrums(cv2.dft(ratio), spectrum, 0, conjB=True)))  # type: ignore[assignment]
        return estimate

    return _by_channel(pixels, kernel, restore)


def available(name: str) -> str:
    """The command that installs what the method needs: empty, as all of them need only the device floor. Raises UsageError."""
    if name not in BLIND_METHODS and name not in NON_BLIND_METHODS:
        raise UsageError(f"unknown method {name!r}; {nearest(name, [*BLIND_METHODS, *NON_BLIND_METHODS])}")
    return ""


def _by_channel(pixels: Pixels, kernel: Kernel, restore: Callable[[Plane], Plane]) -> Pixels:
    """Restore each channel with a border of twice the kernel's size: brightness alone gained 0.3 dB less."""
    reach = 2 * len(kernel)
    planes = [_inside(restore(_bordered(plane, reach)), plane.shape[:2], reach) for plane in cv2.split(pixels)]  # type: ignore[arg-type]
    return to_pixels(cv2.merge(planes))  # type: ignore[arg-type]


def _bordered(plane: NDArray[np.uint8], reach: int) -> Plane:
    """Convert to 0..1 and add at least `reach` mirrored pixels on each side.

    A transform treats a picture as periodic, and is fast only for some sizes.
    """
    height, width = (cv2.getOptimalDFTSize(side + 2 * reach) for side in plane.shape[:2])
    below, beside = height - plane.shape[0] - reach, width - plane.shape[1] - reach
    return to_float(cv2.copyMakeBorder(plane, reach, below, reach, beside, cv2.BORDER_REFLECT))  # type: ignore[arg-type]


def _inside(plane: Plane, hw: tuple[int, ...], reach: int) -> Plane:
    return np.ascontiguousarray(plane[reach : reach + hw[0], reach : reach + hw[1]])


def _inverse(spectrum: cv2.typing.MatLike) -> Plane:
    return cv2.idft(spectrum, flags=cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)  # type: ignore[return-value]


@lru_cache(maxsize=1)
def _frequencies(height: int, width: int) -> tuple[Plane, Plane]:
    """Radians per pixel (down, right) of each number of the spectrum of a real plane in OpenCV's packed layout (CCS).

    Real and imaginary parts are side by side, but in the first column and in an even last column one below the other.
    """
    packed = (np.arange(height) + 1) // 2 / height
    down = np.repeat(np.fft.fftfreq(height)[:, None], width, axis=1)
    down[:, 0] = packed
    if width % 2 == 0:
        down[:, -1] = packed
    right = np.broadcast_to((np.arange(width) + 1) // 2 / width, (height, width))
    return (2 * np.pi * down).astype(np.float32), (2 * np.pi * right).astype(np.float32)


def _around_zero(kernel: bytes, size: int, hw: tuple[int, int]) -> NDArray[np.float64]:
    """Place the kernel in a plane of this size with its centre at (0, 0)."""
    plane = np.zeros(hw)
    plane[:size, :size] = np.frombuffer(kernel).reshape(size, size)
    return np.roll(plane, (-(size // 2), -(size // 2)), (0, 1))


@lru_cache(maxsize=4)
def _kernel_spectrum(kernel: bytes, size: int, hw: tuple[int, int]) -> Plane:
    return cv2.dft(_around_zero(kernel, size, hw).astype(np.float32))  # type: ignore[return-value]


@lru_cache(maxsize=4)
def _wiener_spectrum(kernel: bytes, size: int, hw: tuple[int, int]) -> Plane:
    laplacian = _around_zero(np.array([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]).tobytes(), 3, hw)
    blur, roughness = np.fft.rfft2(_around_zero(kernel, size, hw)), np.fft.rfft2(laplacian)
    inverse = np.conj(blur) / (np.abs(blur) ** 2 + _WIENER_BALANCE * np.abs(roughness) ** 2)
    return cv2.dft(np.fft.irfft2(inverse, s=hw).astype(np.float32))  # type: ignore[return-value]


BLIND_METHODS: dict[str, Callable[[Pixels], Pixels]] = {"nothing": nothing, "unsharp mask": unsharp, "Polyblur": polyblur}
NON_BLIND_METHODS: dict[str, Callable[[Pixels, Kernel], Pixels]] = {
    "Wiener (non-blind)": wiener,
    "Richardson-Lucy (non-blind)": richardson_lucy,
}
