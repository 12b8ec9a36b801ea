"""A frame, and the pixel contract between frames and model tensors: scaling and quantisation live here and nowhere else."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3), R G B, 0-255
Tensor = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]  # (1, height, width, 3)


@dataclass(frozen=True)
class Frame:
    """One picture on its way through the pipeline."""

    index: int
    """Counts from 0 in the order of capture."""
    captured_s: float
    """`time.monotonic()` when the picture was taken, in seconds."""
    pixels: Pixels
    """(height, width, 3) uint8, R G B."""
    name: str = ""
    """File name of a picture read from a file, with its suffix; empty for live frames."""


@dataclass(frozen=True)
class Restored:
    """A frame and what the model made of it, same size."""

    frame: Frame
    pixels: Pixels


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model file. For 8 bits, real value = scale * (stored - zero_point); 1.0 is white."""

    name: str
    dtype: str
    """`float32` (0.0 black, 1.0 white), `uint8` or `int8`."""
    scale: float = 0.0
    zero_point: int = 0


class PixelCodec:
    """Turns pixels into the model's input tensor and its output tensor into pixels. Holds the look-up tables of 8-bit models."""

    def __init__(self, model_input: TensorSpec, model_output: TensorSpec, colour: str = "rgb") -> None:
        self._luma = colour == "luma"
        self._input_table = None if model_input.dtype == "float32" else _table_to_tensor(model_input)
        self._output_table = None if model_output.dtype == "float32" else _table_to_pixels(model_output)
        self._input_dtype = np.dtype(model_input.dtype)
        self._output = model_output

    def to_tensor(self, pixels: Pixels) -> Tensor:
        """(h, w, 3) uint8 -> (1, h, w, 3) of the model's input type, or (1, h, w, 1) for a model of luma."""
        if self._luma:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]  # type: ignore[assignment]
        flat = _flat(pixels)
        if self._input_table is None:
            tensor = np.multiply(flat, np.float32(1 / 255), dtype=np.float32)
        else:
            tensor = cv2.LUT(flat, self._input_table)  # type: ignore[arg-type]
            tensor = tensor.view(self._input_dtype)
        return tensor.reshape(1, *pixels.shape)  # type: ignore[return-value]

    def to_values(self, tensor: Tensor) -> NDArray[np.float32]:
        """(1, h, w, 3) of the model's output type -> the same as float32, 1.0 for white, neither rounded nor clipped."""
        if self._output_table is None:
            return tensor.astype(np.float32)
        return np.float32(self._output.scale) * (tensor.astype(np.float32) - np.float32(self._output.zero_point))

    def to_pixels(self, tensor: Tensor, before: Pixels) -> Pixels:
        """The model's output for the picture `before` -> (h, w, 3) uint8, rounded to nearest, saturated.

        Luma is put back by moving all three channels by what it changed: colour differences stay as they were.
        """
        restored = self._to_uint8(tensor)
        if not self._luma:
            return restored
        change = cv2.subtract(restored, cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), dtype=cv2.CV_16S)
        return cv2.add(before, cv2.merge([change, change, change]), dtype=cv2.CV_8U)  # type: ignore[return-value]

    def _to_uint8(self, tensor: Tensor) -> Pixels:
        shape = tensor.shape[1:] if tensor.shape[3] == 3 else tensor.shape[1:3]
        if self._output_table is None:
            pixels = cv2.convertScaleAbs(cv2.max(_flat(tensor[0]), 0.0), alpha=255)  # type: ignore[call-overload]
        else:
            pixels = cv2.LUT(_flat(tensor[0]).view(np.uint8), self._output_table)
        return pixels.reshape(shape)  # type: ignore[return-value]


def _flat(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """(h, w, 3) as one OpenCV plane of (h, 3w): its element-wise calls are fastest on one channel."""
    return np.ascontiguousarray(array).reshape(array.shape[0], -1)


def _table_to_tensor(spec: TensorSpec) -> NDArray[np.uint8]:
    limits = np.iinfo(spec.dtype)
    stored = np.rint(np.arange(256) / 255 / spec.scale) + spec.zero_point
    return np.clip(stored, limits.min, limits.max).astype(spec.dtype).view(np.uint8)


def _table_to_pixels(spec: TensorSpec) -> NDArray[np.uint8]:
    stored = np.arange(256, dtype=np.uint8).view(spec.dtype).astype(np.float64)
    return np.clip(np.rint(255 * spec.scale * (stored - spec.zero_point)), 0, 255).astype(np.uint8)
