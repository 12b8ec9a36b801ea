"""Check that a model file restores as well on this machine as it did at export. Needs no photographs."""

from functools import cache

import numpy as np

from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels
from device.images.quality import psnr
from device.images.scenes import dead_leaves, siemens_star, slanted_edge
from device.restore.restorer import Restorer

TOLERANCE_DB = 0.05
_SIGMAS = (1.0, 1.6, 2.4)  # pixels


@cache
def scene_pairs() -> tuple[tuple[Pixels, Pixels], ...]:
    """(blurred, sharp) pairs of generated scenes. They contain no text: OpenCV 4 and 5 draw letters differently."""
    scenes = (dead_leaves(192, 256, 1), siemens_star(192), slanted_edge(192, 192))
    rng = np.random.default_rng(2)
    return tuple(
        (to_pixels(add_noise(gaussian_blur(to_float(sharp), sigma), 2 / 255, rng)), sharp)
        for sharp in scenes
        for sigma in _SIGMAS
    )


def scenes_psnr(restorer: Restorer) -> float:
    """Mean PSNR in dB of the restorer on `scene_pairs`."""
    return float(np.mean([psnr(restorer.restore(blurred), sharp) for blurred, sharp in scene_pairs()]))
