"""The presets with tiny networks: most of a short training is the tracing of its graph, which grows with the layers.

Run as a program it is `deblurkit` with these presets, for tests that need a process of their own.
"""

from dataclasses import replace
from typing import Any


def tiny_presets() -> dict[str, Any]:
    """Every preset by its name; a U-Net has six convolutions, and its preset's colour and recipe."""
    from train.presets import PRESETS  # tests without Keras skip before they ask for this

    shape = {"widths": (4, 8), "encoder_blocks": (0, 1), "decoder_blocks": (0,)}
    return {
        name: replace(preset, architecture=replace(preset.architecture, **shape)) if name in ("nano", "small", "base") else preset
        for name, preset in PRESETS.items()
    }


if __name__ == "__main__":
    import os
    import sys

    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import deblurkit
    from train import presets

    presets.PRESETS.update(tiny_presets())
    sys.exit(deblurkit.main(sys.argv[1:]))
