"""A frame, and the pixel contract between frames and model tensors: scaling and quantisation live here and nowhere else."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.yuv import Plane, Yuv

Pixels = NDArray[np.uint8]  # (height, width, 3), R G B, 0-255
Image = Pixels | Yuv  # what passes through the loop: pictures from files are R G B, those of cameras mostly 4:2:0
Tensor = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]  # (1, height, width, 3), or 1 for a model of luma

NO_VIDEO, NOT_RESTORED = "NO VIDEO", "NOT RESTORED"  # marks, as viewers see them


@dataclass(frozen=True)
class Shot:
    """How the camera took a frame, as far as it tells; None where it does not."""

    exposure_s: float | None = None
    gain: float | None = None
    in_focus: bool | None = None
    """Whether the lens found its focus; None for a lens without autofocus."""
    lens_dioptres: float | None = None
    lux: float | None = None


@dataclass(frozen=True)
class Frame:
    """One picture on its way through the pipeline."""

    index: int
    """Counts from 0 in the order of capture."""
    captured_s: float
    """`time.monotonic()` when the picture was taken, in seconds."""
    image: Image
    name: str = ""
    """File name of a picture read from a file, with its suffix; empty for live frames."""
    mark: str = ""
    """`NO VIDEO`: no picture of the camera but a card that says so. Empty: a picture."""
    shot: Shot | None = None

    @cached_property
    def pixels(self) -> Pixels:
        """(height, width, 3) uint8, R G B; converted at the first use where the camera gave 4:2:0."""
        return pixels_of(self.image)

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Restored:
    """A frame and what the model made of it, same size."""

    frame: Frame
    image: Image
    mark: str = ""
    """`NOT RESTORED`: the model failed, the frame is passed through. `NO VIDEO`: the frame's own. Empty: restored."""

    @cached_property
    def pixels(self) -> Pixels:
        """(height, width, 3) uint8, R G B; converted at the first use where `image` is 4:2:0."""
        return pixels_of(self.image)

    @property
    def size_wh(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


def pixels_of(image: Image) -> Pixels:
    """(height, width, 3) uint8, R G B."""
    return image.rgb() if isinstance(image, Yuv) else image


def luma_of(pixels: Pixels) -> Plane:
    """(h, w, 3) R G B -> (h, w): brightness as in BT.601, full range."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
