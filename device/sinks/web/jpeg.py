"""Encodes pictures as JPEG: the planes of a YUV picture directly if simplejpeg is installed, else through RGB."""

import logging
from functools import cache
from typing import Any

import cv2
import numpy as np

from device.images.frame import Image, pixels_of
from device.images.yuv import Yuv

log = logging.getLogger(__name__)


def to_jpeg(image: Image, quality: int) -> bytes:
    """The picture as a JPEG file; `quality` is libjpeg's, 1 to 100.

    At 640x480 and quality 85, two pictures of a generated scene cost 1.5 ms from planes and 3.6 ms through RGB
    (one x86-64 core, `scripts/stream_cost.py`).
    """
    if isinstance(image, Yuv) and _takes_planes(image) and (encoder := _planes_encoder()) is not None:
        full = image.in_full_range()
        planes = (np.ascontiguousarray(plane) for plane in (full.y, full.u, full.v))
        return bytes(encoder.encode_jpeg_yuv_planes(*planes, quality=quality))
    bgr = cv2.cvtColor(pixels_of(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _takes_planes(image: Yuv) -> bool:
    """Whether simplejpeg encodes it correctly. JPEG uses BT.601; with odd sizes simplejpeg 1.9 reads memory beside the planes."""
    return image.matrix == "bt601" and image.shape[0] % 2 == image.shape[1] % 2 == 0


@cache
def _planes_encoder() -> Any:
    """The module simplejpeg, a dependency of picamera2; None if it is not installed."""
    try:
        import simplejpeg  # type: ignore[import-untyped,import-not-found]
    except ImportError:
        log.info("simplejpeg is not installed: the page's pictures are encoded more slowly, through RGB (pip install simplejpeg)")
        return None
    return simplejpeg
