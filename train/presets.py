"""Presets: a named architecture with the recipe that trains it. Nothing here needs Keras."""

from dataclasses import dataclass, field

from device.config import nearest
from device.errors import UsageError
from train.architectures import Architecture, Dense, NAFNet, UNet


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


def find_preset(name: str) -> Preset:
    """The preset of this name. Raises UsageError that names the nearest one."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]
