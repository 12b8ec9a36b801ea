"""Builds the U-Net, `train.architectures.UNet`."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from train.architectures import UNet
from train.networks.pixel_layers import Clip, DepthToSpace, SpaceToDepth


def build_unet(unet: UNet, height: int | None, width: int | None, batch: int | None, clip: bool) -> keras.Model:
    """See `train.networks.build_network`."""
    channels_in = 1 if unet.colour == "luma" else 3
    picture = keras.Input((height, width, channels_in), batch_size=batch, name="blurred", dtype="float32")
    x = SpaceToDepth(unet.stem, name="stem_space_to_depth")(picture)
    skips = []
    last = len(unet.widths) - 1
    for level, channels in enumerate(unet.widths):
        strides = 1 if level == 0 else 2
        x = _conv(channels, 3, f"down{level}", strides=strides, activation="relu")(x)
        for block in range(unet.encoder_blocks[level]):
            x = _block(unet.block, x, channels, f"down{level}_block{block}")
        if level != last:
            skips.append(x)
    for level in reversed(range(last)):
        channels = unet.widths[level]
        x = _conv(4 * channels, 1, f"up{level}")(x)
        x = DepthToSpace(2, name=f"up{level}_depth_to_space")(x)
        if unet.skips == "concat":
            x = layers.Concatenate(name=f"up{level}_skip")([x, skips[level]])
            x = _conv(channels, 1, f"up{level}_merge", activation="relu")(x)
        else:
            x = layers.Add(name=f"up{level}_skip")([x, skips[level]])
        for block in range(unet.decoder_blocks[level]):
            x = _block(unet.block, x, channels, f"up{level}_block{block}")
    # The head is initialised with zeros: an untrained network passes the picture through.
    x = _conv(channels_in * unet.stem**2, 3, "head", kernel_initializer="zeros")(x)
    x = DepthToSpace(unet.stem, name="head_depth_to_space", dtype="float32")(x)
    restored = layers.Add(name="picture_residual", dtype="float32")([picture, x])
    if clip:
        restored = Clip(name="restored", dtype="float32")(restored)
    return keras.Model(picture, restored, name="unet")


def _block(kind: str, x: Any, channels: int, name: str) -> Any:
    match kind:
        case "plain":
            x = _conv(channels, 3, f"{name}_a", activation="relu")(x)
            return _conv(channels, 3, f"{name}_b", activation="relu")(x)
        case "depthwise":
            y = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_a")(x)
            y = _conv(2 * channels, 1, f"{name}_b", activation="relu")(y)
            y = _conv(channels, 1, f"{name}_c")(y)
        case _:
            y = _conv(channels, 3, f"{name}_a", activation="relu")(x)
            y = _conv(channels, 3, f"{name}_b")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def _conv(channels: int, kernel: int, name: str, **options: Any) -> Callable[[Any], Any]:
    return layers.Conv2D(channels, kernel, padding="same", name=name, **options)
