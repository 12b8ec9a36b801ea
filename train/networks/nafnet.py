"""Builds NAFNet, `train.architectures.NAFNet`."""

from typing import Any

import keras
from keras import layers, ops

from train.architectures import NAFNet


def build_nafnet(nafnet: NAFNet, height: int | None, width: int | None, batch: int | None, clip: bool) -> keras.Model:
    """See `train.networks.build_network`."""
    channels_in = 1 if nafnet.colour == "luma" else 3
    picture = keras.Input((height, width, channels_in), batch_size=batch, name="blurred", dtype="float32")
    x = layers.Conv2D(nafnet.width, 3, padding="same", name="intro")(picture)
    skips = []
    for level, blocks in enumerate(nafnet.encoder_blocks):
        channels = nafnet.width * 2**level
        for block in range(blocks):
            x = _block(x, channels, f"down{level}_block{block}")
        skips.append(x)
        x = layers.Conv2D(2 * channels, 2, strides=2, name=f"down{level}")(x)
    for block in range(nafnet.middle_blocks):
        x = _block(x, nafnet.width * 2 ** len(nafnet.encoder_blocks), f"middle_block{block}")
    for level in reversed(range(len(nafnet.encoder_blocks))):
        channels = nafnet.width * 2**level
        x = layers.Conv2D(4 * channels, 1, use_bias=False, name=f"up{level}")(x)
        x = layers.Add(name=f"up{level}_skip")([ops.depth_to_space(x, 2), skips[level]])
        for block in range(nafnet.decoder_blocks[level]):
            x = _block(x, channels, f"up{level}_block{block}")
    # The head is initialised with zeros: an untrained network passes the picture through.
    x = layers.Conv2D(channels_in, 3, padding="same", kernel_initializer="zeros", name="head")(x)
    restored = layers.Add(name="picture_residual", dtype="float32")([picture, x])
    if clip:
        restored = ops.clip(restored, 0.0, 1.0)
    return keras.Model(picture, restored, name="nafnet")


class Scale(layers.Layer):
    """x times one learned factor per channel, initially zero, so that a new block changes nothing."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), initializer="zeros", name="factor")

    def call(self, x: Any) -> Any:
        return x * self.factor


def _block(x: Any, channels: int, name: str) -> Any:
    """Mixes over space and channels, then over channels only; each adds to its input."""
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    y = layers.Conv2D(2 * channels, 1, name=f"{name}_conv1")(y)
    y = _gate(layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(y))
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(y)
    y = layers.Multiply(name=f"{name}_attention")([y, layers.Conv2D(channels, 1, name=f"{name}_attention_conv")(mean)])
    y = layers.Conv2D(channels, 1, name=f"{name}_conv2")(y)
    x = layers.Add(name=f"{name}_add1")([x, Scale(name=f"{name}_beta")(y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    y = _gate(layers.Conv2D(2 * channels, 1, name=f"{name}_conv3")(y))
    y = layers.Conv2D(channels, 1, name=f"{name}_conv4")(y)
    return layers.Add(name=f"{name}_add2")([x, Scale(name=f"{name}_gamma")(y)])


def _gate(x: Any) -> Any:
    """SimpleGate: one half of the channels times the other."""
    one, other = ops.split(x, 2, axis=-1)
    return one * other
