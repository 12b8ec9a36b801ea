"""What a person would have without a network: nothing, an unsharp mask, and oracles that are told the true kernel."""

from collections.abc import Callable

import cv2
import numpy as np

from device.degrade import Kernel, to_float, to_pixels
from device.frame import Pixels

UNSHARP_SIGMA_PX, UNSHARP_AMOUNT = 2.0, 0.8  # the best of a small grid on the val photographs at sigma 1.0 to 3.0
_WIENER_BALANCE = 0.02  # a plausible value for noise of 2/255, not tuned
_RICHARDSON_LUCY_ROUNDS = 12  # a plausible value, not tuned; more rounds amplify the noise


def nothing(pixels: Pixels) -> Pixels:
    """The picture as it is."""
    return pixels


def unsharp(pixels: Pixels) -> Pixels:
    """Add back what a Gaussian of 2 pixels takes away, times 0.8."""
    soft = cv2.GaussianBlur(pixels, (0, 0), UNSHARP_SIGMA_PX)
    return cv2.addWeighted(pixels, 1 + UNSHARP_AMOUNT, soft, -UNSHARP_AMOUNT, 0)  # type: ignore[return-value]


def wiener(pixels: Pixels, kernel: Kernel) -> Pixels:
    """scikit-image's Wiener filter, told the true kernel."""
    from skimage.restoration import wiener as restore

    return _by_channel(pixels, kernel, lambda plane: restore(plane, kernel, _WIENER_BALANCE))


def richardson_lucy(pixels: Pixels, kernel: Kernel) -> Pixels:
    """scikit-image's Richardson-Lucy deconvolution, told the true kernel."""
    from skimage.restoration import richardson_lucy as restore

    return _by_channel(pixels, kernel, lambda plane: restore(plane, kernel, num_iter=_RICHARDSON_LUCY_ROUNDS))


def _by_channel(pixels: Pixels, kernel: Kernel, restore: Callable[[np.ndarray], np.ndarray]) -> Pixels:
    """Mirror the border by twice the kernel's reach, since the filters think the picture periodic; then restore each channel."""
    reach = 2 * kernel.shape[0]
    padded = to_float(cv2.copyMakeBorder(pixels, reach, reach, reach, reach, cv2.BORDER_REFLECT))  # type: ignore[arg-type]
    planes = [restore(padded[..., channel].astype(np.float64)) for channel in range(3)]
    restored = np.clip(np.stack(planes, -1)[reach:-reach, reach:-reach], 0, 1)
    return to_pixels(np.ascontiguousarray(restored, dtype=np.float32))


BASELINES: dict[str, Callable[[Pixels], Pixels]] = {"nothing": nothing, "unsharp mask": unsharp}
ORACLES: dict[str, Callable[[Pixels, Kernel], Pixels]] = {"Wiener, told": wiener, "Richardson-Lucy, told": richardson_lucy}
