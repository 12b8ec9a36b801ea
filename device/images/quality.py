"""Picture quality: the only source of all figures that we report."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.degrade import LUMA
from device.images.frame import Pixels


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all values, without cropping borders; 99.0 for equal arrays."""
    mse = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if mse == 0 else float(10 * np.log10(peak**2 / mse))


def mean_psnr(a: Iterable[NDArray[np.generic]], b: Iterable[NDArray[np.generic]], peak: float = 255.0) -> float:
    """Mean PSNR of a mixed set of pictures in dB, each capped at 50 dB.

    Above 50 dB nobody sees a difference; without the cap, one picture that was already sharp (99 dB) would outweigh the rest.
    """
    return float(np.mean([min(psnr(x, y, peak), 50.0) for x, y in zip(a, b, strict=True)]))


def ssim(a: Pixels, b: Pixels) -> float:
    """Structural similarity on grey values, Gaussian window 11x11 with sigma 1.5 (Wang et al., 2004); 1.0 for equal pictures."""
    x, y = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (a, b))

    def local_mean(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(v, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)  # type: ignore[return-value]

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x, var_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def largest_channel_accuracy(restored: NDArray[np.generic], sharp: NDArray[np.generic]) -> float:
    """Share of pixels whose largest channel is the correct one: Keras' "acc" on pictures. It says little about quality.

    Arrays (..., channels); ties go to the first channel, as in Keras' categorical accuracy.
    """
    return float(np.mean(restored.argmax(-1) == sharp.argmax(-1)))


def psnr_luma(a: Pixels, b: Pixels) -> float:
    """PSNR in dB of unrounded luma (BT.601, full range)."""
    return psnr(a @ LUMA, b @ LUMA)


@dataclass(frozen=True)
class EdgeSharpness:
    """How sharply a picture shows a slanted edge."""

    mtf50: float
    """Spatial frequency at which contrast falls to half, in cycles per pixel; 0.5 is the highest that a picture can show."""
    overshoot: float
    """How far the bright side overshoots, or the dark side undershoots, its level near the edge, as a share of the step."""


def edge_sharpness(picture: Pixels, angle_deg: float, over: int = 4) -> EdgeSharpness:
    """Measure a (height, width, 3) picture with one edge through its centre, dark on the left, `angle_deg` off the vertical.

    Projecting along the edge samples its profile `over` times finer than the pixels (ISO 12233, slanted edge).
    """
    grey = picture.astype(np.float64).mean(2)
    height, width = grey.shape
    y, x = np.mgrid[:height, :width]
    slope = np.tan(np.deg2rad(angle_deg))
    distance = ((x + 0.5 - width / 2) - (y + 0.5 - height / 2) * slope) * np.cos(np.deg2rad(angle_deg))
    reach = int(min(width, height) * 0.35)
    bins = np.floor(distance * over).astype(int) + reach * over
    near = (bins >= 0) & (bins < 2 * reach * over)
    count = np.bincount(bins[near], minlength=2 * reach * over)
    profile = np.bincount(bins[near], grey[near], 2 * reach * over) / np.maximum(count, 1)
    tail = reach * over // 3
    low, high = float(profile[:tail].mean()), float(profile[-tail:].mean())
    spread = np.diff(profile) * np.hanning(len(profile) - 1)
    response = np.abs(np.fft.rfft(spread, 16 * len(spread)))
    response /= response[0]
    below = np.flatnonzero(response < 0.5)
    mtf50 = float(below[0] / (16 * len(spread)) * over) if len(below) else 0.5
    beyond = max(float(profile.max()) - high, low - float(profile.min()), 0.0)
    return EdgeSharpness(min(mtf50, 0.5), beyond / (high - low) if high > low else 0.0)


def flicker(frames: list[Pixels], reference: list[Pixels], where: NDArray[np.bool_]) -> float:
    """Temporal standard deviation of `frames` divided by that of `reference` at the pixels `where`; 1.0: no flicker added.

    Both show the same still scene with new noise in every frame; `where` is (height, width).
    """

    def deviation(pictures: list[Pixels]) -> float:
        return float(np.stack(pictures)[:, where].astype(np.float64).std(0).mean())

    before = deviation(reference)
    return deviation(frames) / before if before else float("inf") if deviation(frames) else 1.0
