"""Initialises a larger network from a smaller one (Net2Net, Chen et al., 2016), so that no training is lost."""

import re
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from device.images.degrade import LUMA
from train.architectures import Architecture, UNet

STEM = "down0"
"""The first convolution."""


def can_grow(smaller: Architecture, larger: Architecture) -> bool:
    """Whether `larger` is `smaller` with more levels, more residual blocks, luma instead of rgb, or one more plane."""
    if not (isinstance(smaller, UNet) and isinstance(larger, UNet)) or (smaller.block, smaller.skips) != ("residual", "add"):
        return False
    levels = len(smaller.widths)
    blocks = [(smaller.encoder_blocks, larger.encoder_blocks), (smaller.decoder_blocks, larger.decoder_blocks)]
    return (
        larger.widths[:levels] == smaller.widths
        and all(few <= many for of_both in blocks for few, many in zip_longest(*of_both, fillvalue=0))
        and larger.colour in (smaller.colour, "luma")
        and smaller.planes <= larger.planes
        and replace(smaller, widths=(), encoder_blocks=(), decoder_blocks=(), colour="", planes=1)
        == replace(larger, widths=(), encoder_blocks=(), decoder_blocks=(), colour="", planes=1)
    )


def grow(smaller: keras.Model, larger: keras.Model) -> None:
    """Copy the weights of `smaller` into `larger`; new layers add nothing at first. For networks that `can_grow`.

    A new plane has no influence at first, but the residual is added to it: if it equals the first plane, the restored picture
    is that of `smaller`.
    """
    known = {layer.name: layer for layer in smaller.layers}
    for layer in (each for each in larger.layers if each.weights):
        if layer.name in known:
            weights = known[layer.name].get_weights()
            if layer.name == STEM and larger.output_shape[-1] == 1:
                weights = _with_planes(weights, smaller.input_shape[-1], larger.input_shape[-1])
            layer.set_weights(_in_colour_of(layer, weights))
        elif re.fullmatch(r"up\d+|.*_b", layer.name):  # only the last new layer: zeros in more of them would stop the gradient
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])


def _with_planes(weights: list[np.ndarray], before: int, planes: int) -> list[np.ndarray]:
    """The first convolution, of a network of `before` channels (3: rgb, seen as luma), for `planes` of luma."""
    kernel, bias = weights
    height, width, _, channels_out = kernel.shape
    by_pixel = kernel.reshape(height, width, -1, before, channels_out)  # the stem puts all channels of a pixel together
    if before == 3:
        by_pixel = by_pixel.sum(3, keepdims=True)
    unseen = np.zeros((*by_pixel.shape[:3], planes - by_pixel.shape[3], channels_out), kernel.dtype)
    return [np.concatenate([by_pixel, unseen], 3).reshape(height, width, -1, channels_out), bias]


def _in_colour_of(layer: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """The last convolution of an rgb network, converted to luma: what it does to a grey picture, as luma."""
    kernel, bias = weights
    height, width, channels_in, channels_out = layer.kernel.shape
    if kernel.shape[3] != channels_out:
        kernel = kernel.reshape(height, width, channels_in, channels_out, 3) @ LUMA
        bias = bias.reshape(channels_out, 3) @ LUMA
    return [kernel, bias]
