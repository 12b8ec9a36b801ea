"""What is exported: a network that can become files, what they are compared with, and the pictures for both."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from device.bundle.manifest import Manifest
from device.errors import UsageError
from train.quantise import Ranges

SIDE = 256
"""Pixels: concrete size of TFLite files (runtimes resize them), of calibration pictures and of the judged ones."""


@dataclass(frozen=True)
class Pictures:
    """What files are calibrated and judged on."""

    calibration: Sequence[np.ndarray]
    """(1, height, width, 3 or 1) float32 in 0..1, as the network gets them."""
    blurred: np.ndarray
    """(n, height, width, 3) float32 in 0..1, exact in 8 bits."""
    sharp: np.ndarray
    described: str
    """What `blurred` and `sharp` are, in words."""

    @cached_property
    def calibration_sha256(self) -> str:
        """Of the calibration pictures' 8-bit pixels, one after the other."""
        digest = hashlib.sha256()
        for picture in self.calibration:
            digest.update(np.rint(picture * 255).astype(np.uint8).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Calibration:
    """One way to choose what 8-bit tensors can hold."""

    method: str
    """`learned` by the run; `minmax`, `percentile` or `entropy` of what tensors hold on the pictures."""
    tensors: Sequence[np.ndarray]
    ranges: Ranges | None = None
    """By layer; None where the converter's own quantiser finds them by `method`."""


class ExportSource(Protocol):
    """A network that can become files. Its tensors are (n, height, width, 3 or 1) float32, 1.0 for white."""

    manifest: Manifest
    """All but halo, weights and artifacts."""
    pictures: Pictures
    weights: Path | None
    """The .weights.h5 that travels with the files."""
    layers: tuple[str, ...]
    """Names that tensors in the files may be called by."""

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """(format, variant) of every file that can be made."""

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """What the network itself makes of `tensors`; the files are compared with it."""

    def calibrations(self, format_: str) -> list[Calibration]:
        """The ways to calibrate an int8 file of this format; the best one is kept."""

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """The file. `calibration` is for int8, as are the layers that stay `in_float`; int8 files take and give floats here.

        Raises ExportError.
        """

    def before_int8(self, calibration: Calibration) -> bytes:
        """The fp32 ONNX file that the int8 one is quantised from."""


def concrete_size(wanted: tuple[int, int] | None, own: tuple[int, ...] | None, multiple: int) -> tuple[int, int]:
    """(height, width) of concrete files: what is wanted, or the network's only size. Raises UsageError where they do not fit."""
    if wanted is None:
        return (own[0], own[1]) if own else (-(-SIDE // multiple) * multiple,) * 2
    if own and tuple(own) != wanted:
        raise UsageError(f"--size {wanted[1]}x{wanted[0]}: the network takes {own[1]}x{own[0]} only; leave --size out")
    if any(length % multiple for length in wanted):
        raise UsageError(f"--size {wanted[1]}x{wanted[0]}: both sides must be multiples of {multiple}")
    return wanted


def versions() -> dict[str, str]:
    """Of the packages that decide what bytes come out."""
    packages = ("deblurkit", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy")
    return {"tensorflow": tf.__version__, **{package: version(package) for package in packages}}


def keras_outputs(network: keras.Model, tensors: np.ndarray) -> np.ndarray:
    """What Keras makes of (n, h, w, c), one picture at a time, as the files will be asked."""
    return np.concatenate([np.asarray(network.predict_on_batch(tensor[None])) for tensor in tensors])
