"""The networks. A preset is a builder and its configuration; a run keeps both, so that its weights can be loaded again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
from keras import layers, ops

from device.config import build, nearest
from device.errors import DeblurkitError, UsageError
from train.nafnet import NAFNet


@dataclass(frozen=True)
class UNet:
    """Fully convolutional autoencoder: space-to-depth stem, levels of blocks, skips, a residual on the picture.

    Operators that become one native operator in TFLite and ONNX; docs/networks.md has what each choice costs and gains.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each level; level i works at 1 / (stem * 2**i) of the picture's size."""
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    """Blocks of each level on the way down; the last level's are the bottleneck."""
    decoder_blocks: tuple[int, ...] = (1, 1)
    """Blocks of each level on the way up, finest first."""
    stem: int = 2
    """Side of the square of pixels that the stem folds into channels."""
    colour: str = "rgb"
    """`rgb`, or `luma`: only brightness is restored, colour differences pass through."""
    block: str = "residual"
    """`residual` (two 3x3 convolutions and an addition), `plain` (two, each with ReLU), or `depthwise` (a depthwise 3x3, then
    1x1 to twice the channels and back, and an addition)."""
    skips: str = "add"
    """How a level on the way up takes what it had on the way down: `add`, or `concat` and a 1x1 convolution."""

    @property
    def pad_multiple(self) -> int:
        """Picture sides must be multiples of this."""
        return int(self.stem * 2 ** (len(self.widths) - 1))

    fixed_hw = None

    def network(self, height: int | None, width: int | None, batch: int | None = None, clip: bool = True) -> keras.Model:
        """(batch, height, width, 3 or 1) in 0..1 -> the same. Without `clip` the output may leave 0..1, as training wants."""
        channels_in = 1 if self.colour == "luma" else 3
        picture = keras.Input((height, width, channels_in), batch_size=batch, name="blurred", dtype="float32")
        x = SpaceToDepth(self.stem, name="stem_space_to_depth")(picture)
        skips = []
        last = len(self.widths) - 1
        for level, channels in enumerate(self.widths):
            strides = 1 if level == 0 else 2
            x = _conv(channels, 3, f"down{level}", strides=strides, activation="relu")(x)
            for block in range(self.encoder_blocks[level]):
                x = self._block(x, channels, f"down{level}_block{block}")
            if level != last:
                skips.append(x)
        for level in reversed(range(last)):
            channels = self.widths[level]
            x = _conv(4 * channels, 1, f"up{level}")(x)
            x = DepthToSpace(2, name=f"up{level}_depth_to_space")(x)
            if self.skips == "concat":
                x = layers.Concatenate(name=f"up{level}_skip")([x, skips[level]])
                x = _conv(channels, 1, f"up{level}_merge", activation="relu")(x)
            else:
                x = layers.Add(name=f"up{level}_skip")([x, skips[level]])
            for block in range(self.decoder_blocks[level]):
                x = self._block(x, channels, f"up{level}_block{block}")
        # The head begins at zero: an untrained network passes the picture through.
        x = _conv(channels_in * self.stem**2, 3, "head", kernel_initializer="zeros")(x)
        x = DepthToSpace(self.stem, name="head_depth_to_space", dtype="float32")(x)
        restored = layers.Add(name="picture_residual", dtype="float32")([picture, x])
        if clip:
            restored = Clip(name="restored", dtype="float32")(restored)
        return keras.Model(picture, restored, name="unet")

    def _block(self, x: Any, channels: int, name: str) -> Any:
        match self.block:
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


@dataclass(frozen=True)
class Dense:
    """The tutorial that the project starts from, exactly: a dense bottleneck of 256 numbers for a 128x128 picture.

    It cannot restore what does not fit into 256 numbers; it is the honest first row of every table.
    """

    side: int = 128
    filters: tuple[int, ...] = (64, 128, 256)
    latent: int = 256
    colour = "rgb"

    @property
    def pad_multiple(self) -> int:
        """Pictures are cut into squares of this side."""
        return self.side

    @property
    def fixed_hw(self) -> tuple[int, int]:
        """The only input size the network knows."""
        return self.side, self.side

    def encoder(self, batch: int | None = None) -> keras.Model:
        """(batch, 128, 128, 3) -> (batch, 256)."""
        picture = keras.Input((self.side, self.side, 3), batch_size=batch, name="encoder_input")
        x = picture
        for filters in self.filters:
            x = layers.Conv2D(filters, 3, strides=2, activation="relu", padding="same")(x)
        latent = layers.Dense(self.latent, name="latent_vector")(layers.Flatten()(x))
        return keras.Model(picture, latent, name="encoder")

    def decoder(self, batch: int | None = None) -> keras.Model:
        """(batch, 256) -> (batch, 128, 128, 3)."""
        small = self.side // 2 ** len(self.filters)
        latent = keras.Input((self.latent,), batch_size=batch, name="decoder_input")
        x = layers.Dense(small * small * self.filters[-1])(latent)
        x = layers.Reshape((small, small, self.filters[-1]))(x)
        for filters in reversed(self.filters):
            x = layers.Conv2DTranspose(filters, 3, strides=2, activation="relu", padding="same")(x)
        picture = layers.Conv2DTranspose(3, 3, activation="sigmoid", padding="same", name="decoder_output", dtype="float32")(x)
        return keras.Model(latent, picture, name="decoder")

    def network(
        self, height: int | None = None, width: int | None = None, batch: int | None = None, clip: bool = True
    ) -> keras.Model:
        """(batch, 128, 128, 3) in 0..1 -> the same: decoder(encoder(picture)). The sigmoid already keeps 0..1."""
        if (height or self.side, width or self.side) != (self.side, self.side):
            raise UsageError(f"dense works on {self.side}x{self.side} pictures only, not {width}x{height}")
        encoder, decoder = self.encoder(batch), self.decoder(batch)
        picture = keras.Input((self.side, self.side, 3), batch_size=batch, name="blurred")
        return keras.Model(picture, decoder(encoder(picture)), name="autoencoder")


Architecture = UNet | Dense | NAFNet


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained. A command-line option replaces one value of it."""

    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    """Peak rate. `cosine` warms up over the first 2 % of the steps and falls to 1e-7."""
    schedule: str = "cosine"
    """`cosine`, or `plateau`: ReduceLROnPlateau with factor sqrt(0.1), patience 5, floor 0.5e-6."""
    loss: str = "charbonnier"
    """`charbonnier`, `log_mse` or `mse`; what is hard to restore weighs most in the first."""
    last_loss: str = "log_mse"
    last_share: float = 0.4
    """Share of the epochs, the last ones, that minimise `last_loss` instead: harm to nearly sharp pictures weighs there."""
    batch: int = 8
    patch: int = 128
    """Side of a training patch, pixels; 0 takes whole pictures resized to the network's fixed size."""
    epochs: int = 75
    steps_per_epoch: int = 2000
    """Steps of an epoch; 0 makes it one pass over the pictures."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is validated and kept; 0 switches it off."""
    precision: str = "auto"
    """`float32`, `mixed_bfloat16`, `mixed_float16`; `auto` is bfloat16 where the device computes in it, else float32."""
    branches: bool = False
    """Train every 3x3 kernel as a sum of branches (`train.reparameterise`), folded when the weights are written."""
    quantise: bool = False
    """Train with 8-bit rounding in the network (`train.quantise`): a fine-tuning of finished weights."""
    grow: tuple[int, ...] = ()
    """Sides of the larger patches that follow `patch`, for an equal share of the epochs each; a step keeps its pixels."""
    fft_weight: float = 0.0
    """Weight of the error in the frequencies (`train.losses.frequency_error`) beside `loss`."""
    teacher_weight: float = 0.5
    """With a teacher: weight of the same loss against its picture, beside the loss against the sharp one."""

    @property
    def last_loss_from(self) -> int:
        """The first epoch, counted from 0, of `last_loss`."""
        return round(self.epochs * (1 - self.last_share))

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """(patch, batch) of every stage of the training: larger patches come in smaller batches."""
        return tuple((side, max(1, round(self.batch * self.patch**2 / side**2))) for side in (self.patch, *self.grow) if side)


@dataclass(frozen=True)
class Preset:
    """A named network with the recipe that trains it."""

    name: str
    purpose: str
    architecture: Architecture
    recipe: Recipe = field(default_factory=Recipe)
    blur: str = "camera"
    """The mixture of `device.images.degrade.BLURS` that it is trained on."""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "nano",
            "live video on a Raspberry Pi 4 class board",
            UNet((8, 16, 32, 32), (1, 1, 1, 1), (1, 1, 0), colour="luma"),
            Recipe(learning_rate=2e-3),
        ),
        Preset(
            "small",
            "live video on a Raspberry Pi 5 class board",
            UNet((16, 32, 64, 64), (1, 1, 2, 2), (1, 1, 0), colour="luma"),
        ),
        Preset("base", "stills, a Jetson or a workstation", UNet((32, 64, 128, 128), (1, 1, 2, 2), (1, 1, 0))),
        Preset(
            "teacher",
            "the yardstick, and what --teacher teaches from; it is not exported",
            NAFNet(),
            Recipe(patch=256),
        ),
        Preset(
            "dense",
            "the tutorial's dense 256 bottleneck, kept as the baseline",
            Dense(),
            Recipe(
                "adam",
                1e-3,
                "plateau",
                "mse",
                last_share=0.0,
                batch=32,
                patch=0,
                epochs=100,
                steps_per_epoch=0,
                ema=0.0,
                precision="float32",
            ),
            "tutorial",
        ),
    )
}
_KINDS: dict[str, type[Architecture]] = {"unet": UNet, "dense": Dense, "nafnet": NAFNet}


def find_preset(name: str) -> Preset:
    """The preset of this name. Raises UsageError that names the nearest one."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]


def architecture_config(architecture: Architecture) -> dict[str, Any]:
    """The architecture as plain data for run.json and the manifest; `architecture_from` is its inverse."""
    kind = next(k for k, cls in _KINDS.items() if isinstance(architecture, cls))
    return {"kind": kind, **asdict(architecture)}


def architecture_from(config: dict[str, Any], where: str, error: type[DeblurkitError] = UsageError) -> Architecture:
    """The architecture that `architecture_config` wrote. Raises `error` on an unknown kind or key."""
    values = dict(config)
    kind = str(values.pop("kind", ""))
    if kind not in _KINDS:
        raise error(f"{where}: unknown architecture kind {kind!r}; {nearest(kind, _KINDS)}")
    return build(_KINDS[kind], values, where, error)


def macs_per_pixel(architecture: Architecture) -> float:
    """Multiply-accumulates per input pixel, counted over the layers of a concrete network."""
    height, width = architecture.fixed_hw or (8 * architecture.pad_multiple,) * 2
    return sum(_layer_macs(layer) for layer in _leaves(architecture.network(height, width, 1))) / (height * width)


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    return [leaf for layer in model.layers for leaf in (_leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def _layer_macs(layer: keras.layers.Layer) -> int:
    if isinstance(layer, layers.Conv2DTranspose):  # every input value meets the whole kernel
        _, height, width, _ = layer.input.shape
    elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        _, height, width, _ = layer.output.shape
    elif isinstance(layer, layers.Dense):
        height = width = 1
    else:
        return 0
    return int(height * width * ops.size(layer.kernel))


class SpaceToDepth(layers.Layer):
    """(b, h, w, c) -> (b, h/n, w/n, n*n*c); one native operator in TFLite and ONNX (Keras >= 3.14)."""

    def __init__(self, block: int, **options: Any) -> None:
        super().__init__(**options)
        self.block = block

    def call(self, x: Any) -> Any:
        return ops.space_to_depth(x, self.block)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        b, h, w, c = shape
        n = self.block
        return b, h and h // n, w and w // n, None if c is None else n * n * c


class DepthToSpace(layers.Layer):
    """(b, h, w, n*n*c) -> (b, n*h, n*w, c); one native operator in TFLite and ONNX (Keras >= 3.14)."""

    def __init__(self, block: int, **options: Any) -> None:
        super().__init__(**options)
        self.block = block

    def call(self, x: Any) -> Any:
        return ops.depth_to_space(x, self.block)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        b, h, w, c = shape
        n = self.block
        return b, h and n * h, w and n * w, None if c is None else c // (n * n)


class Clip(layers.Layer):
    """Keeps the picture within 0..1, inside the graph, so that an 8-bit output spends all its codes there."""

    def call(self, x: Any) -> Any:
        return ops.minimum(ops.relu(x), 1.0)  # TFLite fuses the first into the addition before it

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


def _conv(channels: int, kernel: int, name: str, **options: Any) -> Callable[[Any], Any]:
    return layers.Conv2D(channels, kernel, padding="same", name=name, **options)


def summary(architecture: Architecture) -> str:
    """Keras' layer tables of the network; for `dense` of encoder, decoder and autoencoder."""
    models = [architecture.encoder(), architecture.decoder()] if isinstance(architecture, Dense) else []
    lines: list[str] = []
    for model in [*models, architecture.network(*(architecture.fixed_hw or (None, None)))]:
        model.summary(print_fn=lambda line: lines.append(str(line)), line_length=110)
    return "\n".join(lines) + "\n"
