"""A network that Keras can call, whatever file it comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import layers

from export.foreign.interface import Shape


@dataclass(frozen=True)
class Network:
    """A network that Keras can call."""

    call: Callable[[Any], Any]
    input_shape: Shape
    parameters: int
    """See `counted`."""


_FOLDED = ("gamma", "beta", "moving_mean", "moving_variance")


def counted(weights: Sequence[tuple[str, int]]) -> int:
    """Parameters that a file must hold, from (name, size); not batch normalisation's: converters fold them into convolutions."""
    normalised = {name.removesuffix("moving_mean") for name, _ in weights if name.endswith("moving_mean")}
    folded = {layer + part for layer in normalised for part in _FOLDED}
    return sum(size for name, size in weights if name not in folded)


class AnySize(layers.UpSampling2D):
    """Also resizes tensors of unknown size: Keras 3.15 compares the size with zero, which fails while a graph is traced."""

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest" or self.data_format != "channels_last":
            return super().call(inputs)
        shape = tf.shape(inputs)
        return tf.image.resize(inputs, (shape[1] * self.size[0], shape[2] * self.size[1]), self.interpolation)
