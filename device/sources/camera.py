"""The contract of a camera inside its own process, without supervision, and the rotation of its pictures."""

from dataclasses import replace
from typing import Protocol

import cv2

from device.images.frame import Frame, Image
from device.images.yuv import Yuv

_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Camera(Protocol):
    """Delivers frames while it can. It runs in its own process, so it may hang or crash."""

    description: str
    """What it is, its actual size and rate, and what was requested if that differs. Contains no password."""
    fps: float

    def read(self) -> Frame:
        """Wait for the next frame. Raises BadFrame for one that must not be shown, CameraLost if there will be no more."""

    def close(self) -> None:
        """Release the device."""


def rotated(image: Image, degrees: int) -> Image:
    """The picture rotated clockwise by 0, 90, 180 or 270 degrees."""
    if not degrees:
        return image
    rotation = _ROTATIONS[degrees]
    if isinstance(image, Yuv):
        y, u, v = (cv2.rotate(plane, rotation) for plane in (image.y, image.u, image.v))
        return replace(image, y=y, u=u, v=v)  # type: ignore[arg-type]
    return cv2.rotate(image, rotation)  # type: ignore[return-value]
