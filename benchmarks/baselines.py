"""What a person would have without a network: nothing, and an unsharp mask."""

from collections.abc import Callable

import cv2

from device.frame import Pixels

UNSHARP_SIGMA_PX, UNSHARP_AMOUNT = 2.0, 0.8  # the best of a small grid on the val photographs at sigma 1.0 to 3.0


def nothing(pixels: Pixels) -> Pixels:
    """The picture as it is."""
    return pixels


def unsharp(pixels: Pixels) -> Pixels:
    """Add back what a Gaussian of 2 pixels takes away, times 0.8."""
    soft = cv2.GaussianBlur(pixels, (0, 0), UNSHARP_SIGMA_PX)
    return cv2.addWeighted(pixels, 1 + UNSHARP_AMOUNT, soft, -UNSHARP_AMOUNT, 0)  # type: ignore[return-value]


BASELINES: dict[str, Callable[[Pixels], Pixels]] = {"nothing": nothing, "unsharp mask": unsharp}
