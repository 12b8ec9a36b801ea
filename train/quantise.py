"""Quantisation-aware fine-tuning: the network computes as its 8-bit file will, so that training makes up for the rounding.

What is rounded, and where, follows the files: kernels to 8 bits, symmetric, one scale an output channel; what every
convolution (after its activation), addition and concatenation puts out to 8 bits, one range a tensor. The ranges begin as
calibrated and are learned with the weights (after LSQ+, Bhalgat et al., 2020; zero points stay). Rounding has no gradient;
it is passed straight through.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from device.errors import BundleError
from device.system.files import write_atomically

RANGES = "ranges.json"
Ranges = dict[str, tuple[float, float]]
"""Name of a layer -> the least and the greatest value that its 8-bit output can hold."""
RESIDUAL = "picture_residual"
"""The addition that makes the picture: its range is the picture's own, 0..1."""
_LEVELS = 255
_ROUNDED = (layers.Conv2D, layers.Add, layers.Concatenate)


def rounded(network: keras.Model) -> keras.Model:
    """A network that begins with the weights of `network`, shares none, and rounds as an 8-bit file does.

    Its ranges are to be set by `calibrate`, or by loading weights.
    """
    twin = keras.models.clone_model(network, clone_function=_rounding_layer, call_function=_call_and_round)
    for layer in network.layers:
        twin.get_layer(layer.name).set_weights(layer.get_weights())
    return twin


def takes_ranges(network: keras.Model) -> bool:
    """Whether every weight is an ordinary convolution's, so that this module knows what an 8-bit file rounds."""
    return all(type(layer) is layers.Conv2D for layer in network.layers if layer.weights)


def calibrate(network: keras.Model, pictures: np.ndarray) -> None:
    """Set the ranges of a `rounded` network to what it puts out, unrounded, on (n, height, width, 3 or 1) in 0..1."""
    points = [layer for layer in network.layers if isinstance(layer, Rounding)]
    found = _extremes(network, [point.input for point in points], pictures)
    for point, (low, high) in zip(points, found, strict=True):
        point.set_range(low, high)


def calibrated_ranges(network: keras.Model, pictures: list[np.ndarray]) -> Ranges:
    """The ranges of a plain network's layers on pictures of (1, height, width, 3 or 1): least and greatest value of all."""
    names = [layer.name for layer in network.layers if is_rounded(layer)]
    outputs = [network.get_layer(name).output for name in names]
    found = _extremes(network, outputs, np.concatenate(pictures))
    return dict(zip(names, found, strict=True))


def _extremes(network: keras.Model, tensors: list[Any], pictures: np.ndarray) -> list[tuple[float, float]]:
    points = [layer for layer in network.layers if isinstance(layer, Rounding)]
    for point in points:
        point.active = False
    try:
        taps = keras.Model(network.input, tensors)
        least, most = np.zeros(len(tensors)), np.full(len(tensors), 1e-6)  # a range has some width, of a dead layer too
        for picture in pictures:
            seen = [ops.convert_to_numpy(values) for values in taps(picture[None])]
            least = np.minimum(least, [values.min() for values in seen])
            most = np.maximum(most, [values.max() for values in seen])
    finally:
        for point in points:
            point.active = True
    return list(zip(least.tolist(), most.tolist(), strict=True))


def write_ranges(folder: Path, network: keras.Model) -> None:
    """Write the learned ranges of a `rounded` network beside its weights, for the exporter."""
    ranges = {point.of: point.range() for point in network.layers if isinstance(point, Rounding)}
    write_atomically(folder / RANGES, json.dumps(ranges, indent=1).encode() + b"\n")


def read_ranges(folder: Path) -> Ranges | None:
    """The ranges that a run has learned; None where it was not quantisation-aware. Raises BundleError on a damaged file."""
    path = folder / RANGES
    if not path.is_file():
        return None
    try:
        return {str(name): (float(low), float(high)) for name, (low, high) in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: not the ranges of a network ({error}); restore the file, or train again") from error


class Rounding(layers.Layer):
    """Rounds to 256 levels of a learned step, with the gradient passed straight through."""

    def __init__(self, of: str, **options: Any) -> None:
        super().__init__(name=f"{of}_rounding", **options)
        self.of, self.active = of, True

    def build(self, shape: Any) -> None:
        # Of the logarithm, so that one learning rate suits every tensor.
        self.log_step = self.add_weight(name="log_step", shape=(), initializer="zeros")
        self.zero = self.add_weight(name="zero", shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        if not self.active:
            return x
        step = ops.exp(self.log_step)
        level = ops.clip(x / step + self.zero, 0, _LEVELS)
        level = level + ops.stop_gradient(ops.round(level) - level)
        return (level - self.zero) * step

    def set_range(self, low: float, high: float) -> None:
        """Choose step and zero point for values from `low` to `high`; zero itself stays exact, as the files want it."""
        step = max(high - low, 1e-6) / _LEVELS
        self.log_step.assign(np.log(step))
        self.zero.assign(round(-low / step))

    def range(self) -> tuple[float, float]:
        """The least and the greatest value that can come out."""
        step, zero = float(np.exp(ops.convert_to_numpy(self.log_step))), float(ops.convert_to_numpy(self.zero))
        return -zero * step, (_LEVELS - zero) * step


class _RoundedConv2D(layers.Conv2D):
    """A convolution whose kernel is rounded to -127..127, one scale an output channel."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        kernel = ops.convert_to_tensor(kernel)
        step = ops.maximum(ops.max(ops.abs(kernel), axis=(0, 1, 2)), 1e-12) / 127
        rounding = ops.stop_gradient(ops.round(kernel / step) * step - kernel)
        return super().convolution_op(inputs, kernel + rounding)


def _rounding_layer(layer: layers.Layer) -> layers.Layer:
    kind = _RoundedConv2D if type(layer) is layers.Conv2D else type(layer)
    return kind.from_config(layer.get_config())  # type: ignore[no-any-return]


def is_rounded(layer: layers.Layer) -> bool:
    """Whether an 8-bit file keeps what this layer puts out in a range of its own; pixels only moved keep theirs."""
    return isinstance(layer, _ROUNDED) and layer.name != RESIDUAL


def _call_and_round(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
    output = layer(*inputs, **options)
    return Rounding(layer.name)(output) if is_rounded(layer) else output
