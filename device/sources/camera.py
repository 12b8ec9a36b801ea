"""Cameras as they are, without anybody who watches them: what the camera's own process opens and reads."""

from dataclasses import replace
from typing import Protocol

import cv2

from device.images.frame import Frame, Image
from device.images.yuv import Yuv

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Camera(Protocol):
    """Delivers frames for as long as it can. Lives in a process of its own, so it may hang and crash."""

    description: str
    """What it is, its size and rate as they were got, and where they are not what was asked for. No password."""
    fps: float

    def read(self) -> Frame:
        """Wait for the next frame. Raises BadFrame for one that is not to be shown, CameraLost when there will be no more."""

    def close(self) -> None:
        """Let the device go."""


def rotated(image: Image, degrees: int) -> Image:
    """The picture turned clockwise by 0, 90, 180 or 270 degrees."""
    if not degrees:
        return image
    turn = _TURNS[degrees]
    if isinstance(image, Yuv):
        y, u, v = (cv2.rotate(plane, turn) for plane in (image.y, image.u, image.v))
        return replace(image, y=y, u=u, v=v)  # type: ignore[arg-type]
    return cv2.rotate(image, turn)  # type: ignore[return-value]
