"""Presets: named architectures, each with the recipe that trains it. Nothing here needs Keras."""

from dataclasses import dataclass, field

from device.config import nearest
from device.errors import UsageError
from train.architectures import Architecture, Dense, NAFNet, UNet


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained. Most options of the command line replace one value of it."""

    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    """Peak rate. `cosine` warms up over the first 2 % of the steps and falls to 1e-7."""
    schedule: str = "cosine"
    """`cosine`, or `plateau`: ReduceLROnPlateau with factor sqrt(0.1), patience 5, floor 0.5e-6."""
    loss: str = "charbonnier"
    """`charbonnier`, `log_mse` or `mse`; pictures that are hard to restore weigh most in the first."""
    last_loss: str = "log_mse"
    last_share: float = 0.4
    """Share of the epochs, at the end, that minimise `last_loss` instead: it penalises harm to nearly sharp pictures."""
    batch: int = 8
    patch: int = 128
    """Side of a training patch, pixels; 0 means whole pictures, resized to the fixed size of the network."""
    epochs: int = 75
    steps_per_epoch: int = 2000
    """Steps per epoch; 0 means one pass over the pictures."""
    ema: float = 0.999
    """Decay of the moving average of the weights; the average is validated and saved. 0 switches it off."""
    precision: str = "auto"
    """`float32`, `mixed_bfloat16`, `mixed_float16`; `auto` is bfloat16 if the device computes in it, otherwise float32."""
    branches: bool = False
    """Train every 3x3 kernel as a sum of branches (`train.reparameterise`), folded when the weights are saved."""
    quantise: bool = False
    """Train with 8-bit rounding in the network (`train.quantise`), to fine-tune finished weights."""
    grow: tuple[int, ...] = ()
    """Sides of the larger patches that follow `patch`, each for an equal share of the epochs; a step keeps its pixel count."""
    fft_weight: float = 0.0
    """Weight of the error in the frequencies (`train.losses.frequency_error`), added to `loss`."""
    teacher_weight: float = 0.5
    """With a teacher: weight of the same loss against its output, added to the loss against the sharp picture."""

    @property
    def last_loss_from(self) -> int:
        """The first epoch with `last_loss`, counted from 0."""
        return round(self.epochs * (1 - self.last_share))

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """(patch, batch) of every stage of the training: the larger the patches, the smaller the batches."""
        return tuple((side, max(1, round(self.batch * self.patch**2 / side**2))) for side in (self.patch, *self.grow) if side)


@dataclass(frozen=True)
class Preset:
    """A named network with the recipe that trains it."""

    name: str
    purpose: str
    architecture: Architecture
    recipe: Recipe = field(default_factory=Recipe)
    blur: str = "camera"
    """The degradation it is trained on, by its name in `device.images.degrade.BLURS`."""


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
            "the reference for quality, and the teacher for --teacher; it is not exported",
            NAFNet(),
            Recipe(patch=256),
        ),
        Preset(
            "dense",
            "the tutorial's dense bottleneck of 256 numbers, kept as the baseline",
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
    """The preset with this name. Raises UsageError that suggests the nearest name."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return PRESETS[name]
