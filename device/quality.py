"""Picture quality in NumPy: the only source of reported numbers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.frame import Pixels


def psnr(a: NDArray[np.generic], b: NDArray[np.generic], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB over all values, no border cropped; 99.0 for equal arrays."""
    mse = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if mse == 0 else float(10 * np.log10(peak**2 / mse))


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
