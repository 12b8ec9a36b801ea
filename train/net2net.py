"""Initialises a larger network from a smaller one (Net2Net, Chen et al., 2016), so that no training is lost."""

import re
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from device.images.degrade import LUMA
from train.architectures import Architecture, UNet


def can_grow(smaller: Architecture, larger: Architecture) -> bool:
    """Whether `larger` is `smaller` with more levels, more residual blocks, or luma instead of rgb."""
    if not (isinstance(smaller, UNet) and isinstance(larger, UNet)) or (smaller.block, smaller.skips) != ("residual", "add"):
        return False
    levels = len(smaller.widths)
    blocks = [(smaller.encoder_blocks, larger.encoder_blocks), (smaller.decoder_blocks, larger.decoder_blocks)]
    return (
        larger.widths[:levels] == smaller.widths
        and all(few <= many for of_both in blocks for few, many in zip_longest(*of_both, fillvalue=0))
        and larger.colour in (smaller.colour, "luma")
        and replace(smaller, widths=(), encoder_blocks=(), decoder_blocks=(), colour="")
        == replace(larger, widths=(), encoder_blocks=(), decoder_blocks=(), colour="")
    )


def grow(smaller: keras.Model, larger: keras.Model) -> None:
    """Copy the weights of `smaller` into `larger`; new layers add nothing at first. For networks that `can_grow`."""
    known = {layer.name: layer for layer in smaller.layers}
    for layer in (each for each in larger.layers if each.weights):
        if layer.name in known:
            layer.set_weights(_in_colour_of(layer, known[layer.name].get_weights()))
        elif re.fullmatch(r"up\d+|.*_b", layer.name):  # only the last new layer: zeros in more of them would stop the gradient
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])


def _in_colour_of(layer: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """The first and last convolution of an rgb network, converted to luma: what it does to a grey picture, as luma."""
    kernel, bias = weights
    height, width, channels_in, channels_out = layer.kernel.shape
    if kernel.shape[2] != channels_in:
        kernel = kernel.reshape(height, width, channels_in, 3, channels_out).sum(3)
    if kernel.shape[3] != channels_out:
        kernel = kernel.reshape(height, width, channels_in, channels_out, 3) @ LUMA
        bias = bias.reshape(channels_out, 3) @ LUMA
    return [kernel, bias]
