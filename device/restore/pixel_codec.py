"""Convert pixels to the model's input tensor and its output back: scaling and quantisation happen only here."""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.bundle.manifest import TensorSpec
from device.images.frame import Pixels, Tensor, luma_of
from device.images.yuv import Plane


class PixelCodec:
    """Converts pictures to the input tensor of a model file and its output to pictures. 8-bit models use look-up tables."""

    def __init__(self, model_input: TensorSpec, model_output: TensorSpec, colour: str = "rgb") -> None:
        self.luma = colour == "luma"
        """Whether the model restores luma only: it then takes planes, (h, w)."""
        self._input_table = None if model_input.dtype == "float32" else _table_to_tensor(model_input)
        self._output_table = None if model_output.dtype == "float32" else _table_to_pixels(model_output)
        self._input_dtype = np.dtype(model_input.dtype)
        self._output = model_output

    def to_tensor(self, pixels: Pixels | Plane) -> Tensor:
        """(h, w, 3) or (h, w) uint8 -> (1, h, w, 3) or (1, h, w, 1) of the model's input type."""
        if self.luma and pixels.ndim == 3:
            pixels = luma_of(pixels)
        flat = _flat(pixels)
        if self._input_table is None:
            tensor = np.multiply(flat, np.float32(1 / 255), dtype=np.float32)
        else:
            tensor = cv2.LUT(flat, self._input_table)  # type: ignore[arg-type]
            tensor = tensor.view(self._input_dtype)
        return tensor.reshape(1, *pixels.shape[:2], -1)  # type: ignore[return-value]

    def to_values(self, tensor: Tensor) -> NDArray[np.float32]:
        """(1, h, w, c) of the model's output type -> the same as float32, 1.0 for white, neither rounded nor clipped."""
        if self._output_table is None:
            return tensor.astype(np.float32)
        return np.float32(self._output.scale) * (tensor.astype(np.float32) - np.float32(self._output.zero_point))

    def to_pixels(self, tensor: Tensor, before: Pixels | Plane) -> Pixels | Plane:
        """The model's output for the picture `before` -> uint8 of the same shape, rounded to nearest and clipped.

        For an R G B picture, the change of luma is added to all three channels, so that chroma does not change.
        """
        restored = self._to_uint8(tensor)
        if not self.luma or before.ndim == 2:
            return restored
        change = cv2.subtract(restored, luma_of(before), dtype=cv2.CV_16S)
        return cv2.add(before, cv2.merge([change, change, change]), dtype=cv2.CV_8U)  # type: ignore[return-value]

    def _to_uint8(self, tensor: Tensor) -> Pixels | Plane:
        shape = tensor.shape[1:] if tensor.shape[3] == 3 else tensor.shape[1:3]
        if self._output_table is None:
            pixels = cv2.convertScaleAbs(cv2.max(_flat(tensor[0]), 0.0), alpha=255)  # type: ignore[call-overload]
        else:
            pixels = cv2.LUT(_flat(tensor[0]).view(np.uint8), self._output_table)
        return pixels.reshape(shape)  # type: ignore[return-value]


def _flat(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """(h, w, c) as one OpenCV plane of (h, c * w): its element-wise functions are fastest on one channel."""
    return np.ascontiguousarray(array).reshape(array.shape[0], -1)


def _table_to_tensor(spec: TensorSpec) -> NDArray[np.uint8]:
    limits = np.iinfo(spec.dtype)
    stored = np.rint(np.arange(256) / 255 / spec.scale) + spec.zero_point
    return np.clip(stored, limits.min, limits.max).astype(spec.dtype).view(np.uint8)


def _table_to_pixels(spec: TensorSpec) -> NDArray[np.uint8]:
    stored = np.arange(256, dtype=np.uint8).view(spec.dtype).astype(np.float64)
    return np.clip(np.rint(255 * spec.scale * (stored - spec.zero_point)), 0, 255).astype(np.uint8)
