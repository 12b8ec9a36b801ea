"""Keras networks from their configurations. Adding one: a configuration in `train.architectures`, a file here, a case below."""

import keras

from train.architectures import Architecture, Dense, NAFNet, UNet
from train.networks.dense import build_dense
from train.networks.nafnet import build_nafnet
from train.networks.unet import build_unet


def build_network(
    architecture: Architecture,
    height: int | None = None,
    width: int | None = None,
    *,
    batch: int | None = None,
    clip: bool = True,
) -> keras.Model:
    """Build the untrained network: (batch, height, width, 3 or 1) in 0..1 -> the same.

    Without a size it takes any multiple of `pad_multiple`, or its only size (`fixed_hw`). Without `clip` the output may leave
    0..1, as training needs. Raises UsageError for a size that the architecture does not take.
    """
    match architecture:
        case UNet():
            return build_unet(architecture, height, width, batch, clip)
        case Dense():
            return build_dense(architecture, height, width, batch)
        case NAFNet():
            return build_nafnet(architecture, height, width, batch, clip)
