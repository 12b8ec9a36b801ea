"""Quantisation-aware fine-tuning: the network computes like its 8-bit file, so that training compensates for the rounding.

The same values are rounded as in the files: kernels to 8 bits, symmetric, one scale per output channel; the outputs of every
convolution (after its activation), addition and concatenation to 8 bits, one range per tensor. The ranges start from a
calibration and are learned with the weights (after LSQ+, Bhalgat et al., 2020; zero points stay fixed). Rounding has no gradient;
a straight-through estimator replaces it.
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
"""Name of a layer -> the lowest and the highest value that its 8-bit output can represent."""
RESIDUAL = "picture_residual"
"""The addition whose output is the picture: its range is that of the picture, 0..1."""
_LEVELS = 255
_WITH_RANGE = (layers.Conv2D, layers.Add, layers.Concatenate)


def fake_quantised(network: keras.Model) -> keras.Model:
    """A copy of `network`, with its own weights, that rounds like an 8-bit file.

    Set its ranges with `calibrate`, or load weights.
    """
    twin = keras.models.clone_model(network, clone_function=_with_rounded_kernel, call_function=_call_and_round)
    for layer in network.layers:
        twin.get_layer(layer.name).set_weights(layer.get_weights())
    return twin


def can_quantise(network: keras.Model) -> bool:
    """Whether only ordinary convolutions have weights, so that this module knows what an 8-bit file rounds."""
    return all(type(layer) is layers.Conv2D for layer in network.layers if layer.weights)


def calibrate(network: keras.Model, pictures: np.ndarray) -> None:
    """Set the ranges of a `fake_quantised` network to its unrounded outputs on pictures (n, height, width, 3 or 1) in 0..1."""
    rounding_layers = _rounding_layers(network)
    extremes = _extremes(network, [layer.input for layer in rounding_layers], pictures)
    for layer, (low, high) in zip(rounding_layers, extremes, strict=True):
        layer.set_range(low, high)


def calibrated_ranges(network: keras.Model, pictures: list[np.ndarray]) -> Ranges:
    """The lowest and the highest output of each layer of a plain network over all pictures (1, height, width, 3 or 1)."""
    names = [layer.name for layer in network.layers if has_range(layer)]
    outputs = [network.get_layer(name).output for name in names]
    return dict(zip(names, _extremes(network, outputs, np.concatenate(pictures)), strict=True))


def _rounding_layers(network: keras.Model) -> list["Rounding"]:
    return [layer for layer in network.layers if isinstance(layer, Rounding)]


def _extremes(network: keras.Model, tensors: list[Any], pictures: np.ndarray) -> list[tuple[float, float]]:
    """Lowest and highest value of each tensor over all pictures, without rounding."""
    rounding_layers = _rounding_layers(network)
    for layer in rounding_layers:
        layer.active = False
    try:
        taps = keras.Model(network.input, tensors)
        least, most = np.zeros(len(tensors)), np.full(len(tensors), 1e-6)  # a range has some width even if the layer is dead
        for picture in pictures:
            outputs = [ops.convert_to_numpy(values) for values in taps(picture[None])]
            least = np.minimum(least, [values.min() for values in outputs])
            most = np.maximum(most, [values.max() for values in outputs])
    finally:
        for layer in rounding_layers:
            layer.active = True
    return list(zip(least.tolist(), most.tolist(), strict=True))


def write_ranges(folder: Path, network: keras.Model) -> None:
    """Write the learned ranges of a `fake_quantised` network beside its weights, for the export."""
    ranges = {layer.of: layer.range() for layer in _rounding_layers(network)}
    write_atomically(folder / RANGES, json.dumps(ranges, indent=1).encode() + b"\n")


def read_ranges(folder: Path) -> Ranges | None:
    """The ranges that a run has learned; None if it was not quantisation-aware. Raises BundleError for a damaged file."""
    path = folder / RANGES
    if not path.is_file():
        return None
    try:
        return {str(name): (float(low), float(high)) for name, (low, high) in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: not the ranges of a network ({error}); restore the file, or train again") from error


class Rounding(layers.Layer):
    """Rounds the output of layer `of` to 256 levels of a learned step size, with a straight-through gradient."""

    def __init__(self, of: str, **options: Any) -> None:
        super().__init__(name=f"{of}_rounding", **options)
        self.of, self.active = of, True

    def build(self, shape: Any) -> None:
        # The logarithm of the step size is learned, so that one learning rate suits every tensor.
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
        """Choose step size and zero point for values from `low` to `high`; zero stays exact, as the file formats require."""
        step = max(high - low, 1e-6) / _LEVELS
        self.log_step.assign(np.log(step))
        self.zero.assign(round(-low / step))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest possible output."""
        step, zero = float(np.exp(ops.convert_to_numpy(self.log_step))), float(ops.convert_to_numpy(self.zero))
        return -zero * step, (_LEVELS - zero) * step


class _RoundedConv2D(layers.Conv2D):
    """A convolution whose kernel is rounded to -127..127, with one scale per output channel."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        kernel = ops.convert_to_tensor(kernel)
        step = ops.maximum(ops.max(ops.abs(kernel), axis=(0, 1, 2)), 1e-12) / 127
        rounding = ops.stop_gradient(ops.round(kernel / step) * step - kernel)
        return super().convolution_op(inputs, kernel + rounding)


def _with_rounded_kernel(layer: layers.Layer) -> layers.Layer:
    kind = _RoundedConv2D if type(layer) is layers.Conv2D else type(layer)
    return kind.from_config(layer.get_config())  # type: ignore[no-any-return]


def has_range(layer: layers.Layer) -> bool:
    """Whether an 8-bit file has a range for the output of this layer; layers that only move pixels keep that of their input."""
    return isinstance(layer, _WITH_RANGE) and layer.name != RESIDUAL


def _call_and_round(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
    output = layer(*inputs, **options)
    return Rounding(layer.name)(output) if has_range(layer) else output
