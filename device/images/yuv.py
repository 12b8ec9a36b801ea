"""Camera pictures in 4:2:0: a luma plane and two chroma planes of half the size.

A luma model restores the luma plane directly, so a camera picture is never converted on its way through the loop.
"""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (height, width)

# Weights of red and blue in luma (ITU-R BT.601 and BT.709).
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass(frozen=True)
class Yuv:
    """One 4:2:0 picture. Planes may be views into a camera buffer with row padding: numpy's strides skip it."""

    y: Plane
    """(height, width) uint8: luma."""
    u: Plane
    v: Plane
    """(ceil(height / 2), ceil(width / 2)) uint8: chroma (blue and red minus luma), 128 for grey."""
    matrix: str = "bt601"
    """`bt601` or `bt709`."""
    full_range: bool = True
    """True: luma from 0 to 255, as in JPEG. False: 16 to 235, as in video."""

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
        """The same picture with luma from 0 to 255."""
        if self.full_range:
            return self
        luma, chroma = _range_expansion_tables()
        return replace(self, y=cv2.LUT(self.y, luma), u=cv2.LUT(self.u, chroma), v=cv2.LUT(self.v, chroma), full_range=True)  # type: ignore[arg-type]

    def copy(self) -> "Yuv":
        """A copy without row padding."""
        return replace(self, y=self.y.copy(), u=self.u.copy(), v=self.v.copy())


def from_rgb(rgb: NDArray[np.uint8], matrix: str = "bt601", full_range: bool = True) -> Yuv:
    """(height, width, 3) uint8 R G B -> 4:2:0; each chroma value is the mean of its four pixels."""
    yuv = cv2.transform(rgb, _from_rgb(matrix, full_range))
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        yuv = cv2.copyMakeBorder(yuv, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(yuv, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    y = np.ascontiguousarray(yuv[:height, :width, 0])
    return Yuv(y, np.ascontiguousarray(half[..., 1]), np.ascontiguousarray(half[..., 2]), matrix, full_range)  # type: ignore[arg-type]


def from_i420(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """Three consecutive planes (YUV420); luma rows of `stride` bytes, chroma rows of half. Returns views, copies nothing."""
    rows, half = -(-height // 2), -(-width // 2)
    flat = buffer.reshape(-1)
    ends = [stride * height, stride * height + stride // 2 * rows, stride * height + 2 * (stride // 2) * rows]
    y = flat[: ends[0]].reshape(height, stride)[:, :width]
    u = flat[ends[0] : ends[1]].reshape(rows, stride // 2)[:, :half]
    v = flat[ends[1] : ends[2]].reshape(rows, stride // 2)[:, :half]
    return Yuv(y, u, v, matrix, full_range)


def from_nv12(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """A luma plane, then a plane of U V pairs; rows of `stride` bytes. Returns views, copies nothing."""
    rows, half = -(-height // 2), -(-width // 2)
    flat = buffer.reshape(-1)
    y = flat[: stride * height].reshape(height, stride)[:, :width]
    pairs = flat[stride * height : stride * (height + rows)].reshape(rows, stride)
    return Yuv(y, pairs[:, 0 : 2 * half : 2], pairs[:, 1 : 2 * half : 2], matrix, full_range)


def from_yuyv(buffer: NDArray[np.uint8], width: int, height: int, stride: int, matrix: str, full_range: bool) -> Yuv:
    """Y U Y V for every two pixels (4:2:2); the chroma of every two rows is averaged."""
    packed = buffer.reshape(-1)[: stride * height].reshape(height, stride)[:, : 2 * width]
    u, v = (_mean_of_row_pairs(packed[:, start::4]) for start in (1, 3))
    return Yuv(np.ascontiguousarray(packed[:, 0::2]), u, v, matrix, full_range)


def _mean_of_row_pairs(plane: Plane) -> Plane:
    upper, lower = plane[0::2], plane[1::2]
    if len(lower) < len(upper):  # odd height: use the last row twice
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
def _range_expansion_tables() -> tuple[Plane, Plane]:
    """Look-up tables from limited to full range, for luma and for chroma."""
    levels = np.arange(256)
    luma = (levels - 16) * 255 / 219
    chroma = (levels - 128) * 255 / 224 + 128
    return np.clip(np.rint(luma), 0, 255).astype(np.uint8), np.clip(np.rint(chroma), 0, 255).astype(np.uint8)
