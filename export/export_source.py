"""What is exported: a network that can be converted to files, and the pictures to calibrate and judge them on."""

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
"""Pixels: side of the concrete input of TFLite files (runtimes resize it), of calibration pictures and of judged pictures."""


@dataclass(frozen=True)
class Pictures:
    """The pictures that files are calibrated and judged on."""

    calibration: Sequence[np.ndarray]
    """(1, height, width, 3 or 1) float32 in 0..1, as the network takes them."""
    blurred: np.ndarray
    """(n, height, width, 3) float32 in 0..1, exact in 8 bits."""
    sharp: np.ndarray
    described: str
    """Which pictures `blurred` and `sharp` are, in words."""

    @cached_property
    def calibration_sha256(self) -> str:
        """SHA-256 of the calibration pictures' 8-bit pixels, one picture after the other."""
        digest = hashlib.sha256()
        for picture in self.calibration:
            digest.update(np.rint(picture * 255).astype(np.uint8).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Calibration:
    """One way to choose the ranges of 8-bit tensors."""

    method: str
    """`learned` in training; `minmax`, `percentile` or `entropy` of the values that tensors hold for the pictures."""
    tensors: Sequence[np.ndarray]
    """The calibration pictures, as in `Pictures.calibration`."""
    ranges: Ranges | None = None
    """By layer; None where the converter's own quantiser chooses them by `method`."""


class ExportSource(Protocol):
    """A network that can be converted to files. Its tensors are (n, height, width, 3 or 1) float32, 1.0 for white."""

    manifest: Manifest
    """Everything but halo, weights and artifacts."""
    pictures: Pictures
    weights: Path | None
    """The .weights.h5 that goes into the bundle; None where there is none."""
    layers: tuple[str, ...]
    """The network's layer names, which name the tensors in its files."""

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """(format, variant) of every file that the network can become."""

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """The network's own output for `tensors`; the files are compared with it."""

    def calibrations(self, format_: str) -> list[Calibration]:
        """The ways to calibrate an int8 file of this format; the export keeps the best. Empty for a file that needs none."""

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """The file's bytes. `calibration` and the layers that stay `in_float` are for int8; its input and output are floats here.

        Raises ExportError.
        """

    def fp32_onnx(self, calibration: Calibration) -> bytes:
        """The fp32 ONNX file that the int8 file with this calibration is quantised from. Raises ExportError."""


def concrete_size(wanted: tuple[int, int] | None, own: tuple[int, ...] | None, multiple: int) -> tuple[int, int]:
    """(height, width) of concrete files: the wanted one, the network's `own` only one, or `SIDE` rounded up to `multiple`.

    Raises UsageError where wanted size and network do not fit.
    """
    if wanted is None:
        return (own[0], own[1]) if own else (-(-SIDE // multiple) * multiple,) * 2
    if own and tuple(own) != wanted:
        raise UsageError(f"--size {wanted[1]}x{wanted[0]}: the network takes {own[1]}x{own[0]} only; leave --size out")
    if any(length % multiple for length in wanted):
        raise UsageError(f"--size {wanted[1]}x{wanted[0]}: both sides must be multiples of {multiple}")
    return wanted


def versions() -> dict[str, str]:
    """Versions of the packages that decide the bytes of the files."""
    packages = ("deblurkit", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy")
    return {"tensorflow": tf.__version__, **{package: version(package) for package in packages}}


def keras_outputs(network: keras.Model, tensors: np.ndarray) -> np.ndarray:
    """The network's output for (n, h, w, c), one picture at a time, as files are run."""
    return np.concatenate([np.asarray(network.predict_on_batch(tensor[None])) for tensor in tensors])
