"""The cost of a network and the table of its layers."""

import keras
from keras import layers, ops

from train.architectures import Architecture, Dense
from train.networks import build_network
from train.networks.dense import build_decoder, build_encoder


def macs_per_pixel(architecture: Architecture) -> float:
    """Multiply-accumulate operations (MACs) per input pixel, counted over the layers of a network of fixed size."""
    height, width = architecture.fixed_hw or (8 * architecture.pad_multiple,) * 2
    return sum(_layer_macs(layer) for layer in _leaves(build_network(architecture, height, width, batch=1))) / (height * width)


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    return [leaf for layer in model.layers for leaf in (_leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def _layer_macs(layer: keras.layers.Layer) -> int:
    if isinstance(layer, layers.Conv2DTranspose):  # every input value is multiplied with the whole kernel
        _, height, width, _ = layer.input.shape
    elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        _, height, width, _ = layer.output.shape
    elif isinstance(layer, layers.Dense):
        height = width = 1
    else:
        return 0
    return int(height * width * ops.size(layer.kernel))


def summary(architecture: Architecture) -> str:
    """The layer table of the network as Keras prints it; for `dense` those of encoder, decoder and autoencoder."""
    models = [build_encoder(architecture), build_decoder(architecture)] if isinstance(architecture, Dense) else []
    lines: list[str] = []
    for model in [*models, build_network(architecture)]:
        model.summary(print_fn=lambda line: lines.append(str(line)), line_length=110)
    return "\n".join(lines) + "\n"
