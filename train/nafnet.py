"""NAFNet (Chen et al., "Simple Baselines for Image Restoration", 2022): the teacher, and what quality costs without a board."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops


@dataclass(frozen=True)
class NAFNet:
    """U-shaped, without activation functions: every block multiplies halves of its channels, and scales them by their mean.

    That mean is taken over the whole picture, so a tile of a picture is restored otherwise than the picture.
    """

    width: int = 16
    """Channels at full size; each level has twice those of the level above."""
    encoder_blocks: tuple[int, ...] = (1, 1, 3, 23)
    """Blocks of each level on the way down, finest first."""
    middle_blocks: int = 1
    decoder_blocks: tuple[int, ...] = (1, 1, 2, 2)
    """Blocks of each level on the way up, finest first."""
    colour: str = "rgb"
    """`rgb`, or `luma`: only brightness is restored, colour differences pass through."""

    fixed_hw = None

    @property
    def pad_multiple(self) -> int:
        """Picture sides must be multiples of this."""
        return int(2 ** len(self.encoder_blocks))

    def network(self, height: int | None, width: int | None, batch: int | None = None, clip: bool = True) -> keras.Model:
        """(batch, height, width, 3 or 1) in 0..1 -> the same. Without `clip` the output may leave 0..1, as training wants."""
        channels_in = 1 if self.colour == "luma" else 3
        picture = keras.Input((height, width, channels_in), batch_size=batch, name="blurred", dtype="float32")
        x = layers.Conv2D(self.width, 3, padding="same", name="intro")(picture)
        skips = []
        for level, blocks in enumerate(self.encoder_blocks):
            channels = self.width * 2**level
            for block in range(blocks):
                x = _block(x, channels, f"down{level}_block{block}")
            skips.append(x)
            x = layers.Conv2D(2 * channels, 2, strides=2, name=f"down{level}")(x)
        for block in range(self.middle_blocks):
            x = _block(x, self.width * 2 ** len(self.encoder_blocks), f"middle_block{block}")
        for level in reversed(range(len(self.encoder_blocks))):
            channels = self.width * 2**level
            x = layers.Conv2D(4 * channels, 1, use_bias=False, name=f"up{level}")(x)
            x = layers.Add(name=f"up{level}_skip")([ops.depth_to_space(x, 2), skips[level]])
            for block in range(self.decoder_blocks[level]):
                x = _block(x, channels, f"up{level}_block{block}")
        # The head begins at zero: an untrained network passes the picture through.
        x = layers.Conv2D(channels_in, 3, padding="same", kernel_initializer="zeros", name="head")(x)
        restored = layers.Add(name="picture_residual", dtype="float32")([picture, x])
        if clip:
            restored = ops.clip(restored, 0.0, 1.0)
        return keras.Model(picture, restored, name="nafnet")


class Scale(layers.Layer):
    """x times one learned number a channel, which begins at zero, so that a new block changes nothing."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.factor = self.add_weight(shape=(shape[-1],), initializer="zeros", name="factor")

    def call(self, x: Any) -> Any:
        return x * self.factor


def _block(x: Any, channels: int, name: str) -> Any:
    """Mixing over space and channels, then over channels alone; each adds to its input."""
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
