"""Pictures as cameras make them: a plane of brightness and two smaller planes of colour differences (4:2:0).

A model of luma takes the plane of brightness as it is, so a camera's picture is never converted on its way through.
"""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (height, width)

# Share of red and of blue in luma (ITU-R BT.601 and BT.709).
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass(frozen=True)
class Yuv:
    """One 4:2:0 picture. Planes may be views into a camera's buffer: their strides are numpy's, padded rows are cropped."""

    y: Plane
    """(height, width) uint8: brightness."""
    u: Plane
    v: Plane
    """(ceil(height / 2), ceil(width / 2)) uint8: blue and red less brightness, 128 for grey."""
    matrix: str = "bt601"
    """`bt601` or `bt709`."""
    full_range: bool = True
    """True: brightness from 0 to 255, as in JPEG. False: 16 to 235, as in video."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y.shape[0], self.y.shape[1]

    def rgb(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8, R G B."""
        height, width = self.shape
        double = (2 * self.u.shape[1], 2 * self.u.shape[0])
        u, v = (cv2.resize(plane, double, interpolation=cv2.INTER_LINEAR)[:height, :width] for plane in (self.u, self.v))
        return cv2.transform(cv2.merge([self.y, u, v]), _to_rgb(self.matrix, self.full_range))  # type: ignore[return-value]

    def in_full_range(self) -> "Yuv":
        """The same picture with brightness from 0 to 255."""
        if self.full_range:
            return self
        luma, chroma = _expanding()
        return replace(self, y=cv2.LUT(self.y, luma), u=cv2.LUT(self.u, chroma), v=cv2.LUT(self.v, chroma), full_range=True)  # type: ignore[arg-type]

    def copy(self) -> "Yuv":
        """The same picture in memory of its own, rows without padding."""
        return replace(self, y=self.y.copy(), u=self.u.copy(), v=self.v.copy())


def from_rgb(rgb: NDArray[np.uint8], matrix: str = "bt601", full_range: bool = True) -> Yuv:
    """(height, width, 3) uint8 R G B -> 4:2:0, each colour difference the mean of its four pixels."""
    yuv = cv2.transform(rgb, _from_rgb(matrix, full_range))
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        yuv = cv2.copyMakeBorder(yuv, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(yuv, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    y = np.ascontiguousarray(yuv[:height, :width, 0])
    return Yuv(y, np.ascontiguousarray(half[..., 1]), np.ascontiguousarray(half[..., 2]), matrix, full_range)  # type: ignore[arg-type]


def from_i420(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """Three planes after each other (YUV420); rows of `stride` bytes, of half that for colour. Views, nothing is copied."""
    rows, half = -(-height // 2), -(-width // 2)
    flat = buffer.reshape(-1)
    ends = [stride * height, stride * height + stride // 2 * rows, stride * height + 2 * (stride // 2) * rows]
    y = flat[: ends[0]].reshape(height, stride)[:, :width]
    u = flat[ends[0] : ends[1]].reshape(rows, stride // 2)[:, :half]
    v = flat[ends[1] : ends[2]].reshape(rows, stride // 2)[:, :half]
    return Yuv(y, u, v, matrix, full_range)


def from_nv12(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """A plane of brightness, then one of colour pairs U V; rows of `stride` bytes. Views, nothing is copied."""
    rows, half = -(-height // 2), -(-width // 2)
    flat = buffer.reshape(-1)
    y = flat[: stride * height].reshape(height, stride)[:, :width]
    pairs = flat[stride * height : stride * (height + rows)].reshape(rows, stride)
    return Yuv(y, pairs[:, 0 : 2 * half : 2], pairs[:, 1 : 2 * half : 2], matrix, full_range)


def from_yuyv(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """Y U Y V for each two pixels (4:2:2); of each two rows the colour differences are averaged."""
    packed = buffer.reshape(-1)[: stride * height].reshape(height, stride)[:, : 2 * width]
    u, v = (_mean_of_row_pairs(packed[:, start::4]) for start in (1, 3))
    return Yuv(np.ascontiguousarray(packed[:, 0::2]), u, v, matrix, full_range)


def _mean_of_row_pairs(plane: Plane) -> Plane:
    upper, lower = plane[0::2], plane[1::2]
    if len(lower) < len(upper):  # odd height: the last row stands for two
        lower = np.concatenate([lower, upper[-1:]])
    return cv2.addWeighted(np.ascontiguousarray(upper), 0.5, np.ascontiguousarray(lower), 0.5, 0)  # type: ignore[return-value]


@cache
def _from_rgb(matrix: str, full_range: bool) -> NDArray[np.float64]:
    """(3, 4): R G B 1 -> Y U V."""
    red, blue = _WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = np.stack([luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))])
    scale = np.ones(3) if full_range else np.array([219, 224, 224]) / 255
    return np.column_stack([rows * scale[:, None], [0 if full_range else 16, 128, 128]])


@cache
def _to_rgb(matrix: str, full_range: bool) -> NDArray[np.float64]:
    """(3, 4): Y U V 1 -> R G B."""
    forward = _from_rgb(matrix, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.column_stack([inverse, -inverse @ forward[:, 3]])


@cache
def _expanding() -> tuple[Plane, Plane]:
    """Tables from limited to full range, for brightness and for colour differences."""
    levels = np.arange(256)
    luma = (levels - 16) * 255 / 219
    chroma = (levels - 128) * 255 / 224 + 128
    return np.clip(np.rint(luma), 0, 255).astype(np.uint8), np.clip(np.rint(chroma), 0, 255).astype(np.uint8)
