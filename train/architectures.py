"""The configurations of the networks, as plain data; nothing here needs Keras.

To add an architecture: a frozen dataclass here with `colour`, `pad_multiple` and `fixed_hw`, entered in `_KINDS`; a file in
`train/networks/` that builds it; and a case in `train.networks.build_network`.
"""

from dataclasses import asdict, dataclass
from typing import Any

from device.config import build, nearest
from device.errors import DeblurkitError, UsageError


@dataclass(frozen=True)
class UNet:
    """Fully convolutional autoencoder: space-to-depth stem, levels of blocks, skips, a residual on the picture.

    It uses only layers that become one native operator in TFLite and ONNX; docs/networks.md lists what each choice costs and
    gains.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each level; level i works at 1 / (stem * 2**i) of the picture's size."""
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    """Blocks of each level on the way down; those of the last level are the bottleneck."""
    decoder_blocks: tuple[int, ...] = (1, 1)
    """Blocks of each level on the way up, finest first."""
    stem: int = 2
    """Side of the squares of pixels that the stem folds into channels."""
    colour: str = "rgb"
    """`rgb`, or `luma`: only luma is restored, colour differences pass through."""
    block: str = "residual"
    """`residual` (two 3x3 convolutions and an addition), `plain` (two, each with ReLU), or `depthwise` (a depthwise 3x3, then
    1x1 to twice the channels and back, and an addition)."""
    skips: str = "add"
    """How a level on the way up uses the output of the same level on the way down: `add`, or `concat` and a 1x1 convolution."""

    @property
    def pad_multiple(self) -> int:
        """The sides of a picture must be multiples of this."""
        return int(self.stem * 2 ** (len(self.widths) - 1))

    fixed_hw = None


@dataclass(frozen=True)
class Dense:
    """Exactly the network of the tutorial that the project starts from: a dense bottleneck of 256 numbers for 128x128 pixels.

    It cannot restore detail that does not fit into 256 numbers; it is the baseline in the first row of every table.
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
        """The only input size that the network takes."""
        return self.side, self.side


@dataclass(frozen=True)
class NAFNet:
    """NAFNet (Chen et al., "Simple Baselines for Image Restoration", 2022): the teacher; too expensive for a board.

    U-shaped, without activation functions: every block multiplies halves of its channels, and scales channels by their mean.
    That mean is over the whole picture, so a tile of a picture is restored differently from the whole picture.
    """

    width: int = 16
    """Channels at full size; each level has twice as many as the level above."""
    encoder_blocks: tuple[int, ...] = (1, 1, 3, 23)
    """Blocks of each level on the way down, finest first."""
    middle_blocks: int = 1
    decoder_blocks: tuple[int, ...] = (1, 1, 2, 2)
    """Blocks of each level on the way up, finest first."""
    colour: str = "rgb"
    """`rgb`, or `luma`: only luma is restored, colour differences pass through."""

    fixed_hw = None

    @property
    def pad_multiple(self) -> int:
        """The sides of a picture must be multiples of this."""
        return int(2 ** len(self.encoder_blocks))


Architecture = UNet | Dense | NAFNet
_KINDS: dict[str, type[Architecture]] = {"unet": UNet, "dense": Dense, "nafnet": NAFNet}


def architecture_config(architecture: Architecture) -> dict[str, Any]:
    """The architecture as plain data, for run.json and the manifest; `architecture_from` is the inverse."""
    kind = next(k for k, cls in _KINDS.items() if isinstance(architecture, cls))
    return {"kind": kind, **asdict(architecture)}


def architecture_from(config: dict[str, Any], where: str, error: type[DeblurkitError] = UsageError) -> Architecture:
    """The architecture that `architecture_config` wrote. Raises `error` for an unknown kind or key; `where` names the file."""
    values = dict(config)
    kind = str(values.pop("kind", ""))
    if kind not in _KINDS:
        raise error(f"{where}: unknown architecture kind {kind!r}; {nearest(kind, _KINDS)}")
    return build(_KINDS[kind], values, where, error)
