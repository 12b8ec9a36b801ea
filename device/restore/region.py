"""Restore one rectangle of a picture and leave the rest unchanged; show a restoration in part."""

from dataclasses import replace

import cv2
import numpy as np

from device.errors import UsageError
from device.images.frame import Image, pixels_of
from device.images.yuv import Yuv
from device.restore.restorer import Restorer


def restore_region(image: Image, roi_xywh: tuple[int, int, int, int] | None, restorer: Restorer) -> Image:
    """Restore the region (x, y, width, height in pixels) of a picture; None restores the whole picture.

    A region that extends beyond the picture is clipped. Raises UsageError for one that lies outside it.
    """
    if roi_xywh is None:
        return restorer.restore(image)
    height, width = image.shape[:2]
    x, y, right, bottom = roi_xywh[0], roi_xywh[1], sum(roi_xywh[0::2]), sum(roi_xywh[1::2])
    if x >= width or y >= height:
        raise UsageError(
            f"roi {','.join(map(str, roi_xywh))}: lies outside the picture of {width}x{height}; choose a region inside it"
        )
    if isinstance(image, Yuv):
        image = image.in_full_range()
        restored = restorer.restore(replace(image, y=image.y[y:bottom, x:right])) if restorer.luma else None
        if isinstance(restored, Yuv):
            luma = image.y.copy()
            luma[y:bottom, x:right] = restored.y
            return replace(image, y=luma)
    pixels = pixels_of(image).copy()
    pixels[y:bottom, x:right] = restorer.restore(np.ascontiguousarray(pixels[y:bottom, x:right]))  # type: ignore[assignment]
    return pixels


def blend(image: Image, restored: Image, strength: float) -> Image:
    """`restored` to this share, from 0 to 1, and the picture as it was to the rest."""
    if strength >= 1:
        return restored
    if isinstance(image, Yuv) and isinstance(restored, Yuv):
        before = image.in_full_range().y
        return replace(restored, y=cv2.addWeighted(restored.y, strength, before, 1 - strength, 0))  # type: ignore[arg-type]
    mixed = cv2.addWeighted(pixels_of(restored), strength, pixels_of(image), 1 - strength, 0)
    return mixed  # type: ignore[return-value]
