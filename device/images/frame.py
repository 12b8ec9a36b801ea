"""A frame on its way through the loop, and the array types of pictures and tensors."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.yuv import Plane, Yuv

Pixels = NDArray[np.uint8]  # (height, width, 3), R G B, 0-255
Image = Pixels | Yuv  # pictures from files are R G B, those from cameras mostly 4:2:0
Tensor = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]  # (1, height, width, channels): 3, or 1 for a luma model

NO_VIDEO, NOT_RESTORED = "NO VIDEO", "NOT RESTORED"  # marks, with the text that viewers see


@dataclass(frozen=True)
class Shot:
    """Camera settings of one frame; None for what the camera does not report."""

    exposure_s: float | None = None
    gain: float | None = None
    in_focus: bool | None = None
    """Whether autofocus succeeded; None for a lens without autofocus."""
    lens_dioptres: float | None = None
    lux: float | None = None


@dataclass(frozen=True)
class Frame:
    """One picture on its way through the pipeline."""

    index: int
    """Number of the frame in capture order, from 0."""
    captured_s: float
    """`time.monotonic()` when the picture was taken, in seconds."""
    image: Image
    name: str = ""
    """File name of a picture read from a file, with its suffix; empty for live frames."""
    mark: str = ""
    """`NO VIDEO`: a placeholder that replaces the camera's picture. Empty: a picture."""
    shot: Shot | None = None

    @cached_property
    def pixels(self) -> Pixels:
        """(height, width, 3) uint8, R G B; converted from 4:2:0 on first use."""
        return pixels_of(self.image)

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Restored:
    """A frame and the model's output for it, of the same size."""

    frame: Frame
    image: Image
    mark: str = ""
    """`NOT RESTORED`: the model failed and the frame is passed through. `NO VIDEO`: the frame's own mark. Empty: restored."""

    @cached_property
    def pixels(self) -> Pixels:
        """(height, width, 3) uint8, R G B; converted on first use if `image` is 4:2:0."""
        return pixels_of(self.image)

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


def pixels_of(image: Image) -> Pixels:
    """The image as (height, width, 3) uint8, R G B."""
    return image.rgb() if isinstance(image, Yuv) else image


def luma_of(pixels: Pixels) -> Plane:
    """(h, w, 3) R G B -> (h, w): BT.601 luma in full range."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def plane_of(image: Image) -> Plane:
    """The image's brightness in full range, (height, width) uint8."""
    return image.in_full_range().y if isinstance(image, Yuv) else luma_of(image)
