"""Picture quality in NumPy: the only source of reported numbers."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.degrade import LUMA
from device.images.frame import Pixels


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all values, no border cropped; 99.0 for equal arrays."""
    mse = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if mse == 0 else float(10 * np.log10(peak**2 / mse))


def mean_psnr(a: Iterable[NDArray[np.generic]], b: Iterable[NDArray[np.generic]], peak: float = 255.0) -> float:
    """Mean of the PSNRs of a mixed set of pictures in dB, each counted as 50 dB at most.

    Above that nobody sees a difference; uncapped, one picture that was sharp already (99 dB) would outweigh all the others.
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
    """Share of pixels whose largest channel is the right one: what Keras' "acc" means on pictures. Says little.

    Arrays (..., channels); ties go to the first channel, as in Keras' categorical accuracy.
    """
    return float(np.mean(restored.argmax(-1) == sharp.argmax(-1)))


def psnr_luma(a: Pixels, b: Pixels) -> float:
    """PSNR in dB of luma (BT.601, full range), not rounded."""
    return psnr(a @ LUMA, b @ LUMA)


@dataclass(frozen=True)
class EdgeSharpness:
    """What a picture makes of a slanted edge."""

    mtf50: float
    """Spatial frequency at which contrast has fallen to half, cycles per pixel; 0.5 is the finest a picture can hold."""
    overshoot: float
    """How far the brighter side rises above, or the darker side falls below its level near the edge, share of the step."""


def edge_sharpness(picture: Pixels, angle_deg: float, over: int = 4) -> EdgeSharpness:
    """Measure (height, width, 3) with one edge through its middle, dark on the left, `angle_deg` off the vertical.

    The edge profile is sampled `over` times finer than the pixels by projecting along the edge (ISO 12233, slanted edge).
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
    """Temporal standard deviation of `frames` over that of `reference` at the pixels `where`: 1.0 adds none.

    Both are the same still scene with fresh noise in each frame; `where` is (height, width).
    """

    def deviation(pictures: list[Pixels]) -> float:
        return float(np.stack(pictures)[:, where].astype(np.float64).std(0).mean())

    before = deviation(reference)
    return deviation(frames) / before if before else float("inf") if deviation(frames) else 1.0
