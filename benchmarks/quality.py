"""The pictures that quality is measured on: the same degraded bytes for every file and runtime."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.frame import Pixels
from device.picture import pictures_in, read_picture
from device.scene import chart, dead_leaves

SIGMAS_PX = (1.0, 1.6, 2.0, 3.0)
NOISE = 2 / 255


@dataclass(frozen=True)
class Case:
    """Pictures blurred in one way, with the truth."""

    name: str
    blurred: tuple[Pixels, ...]
    sharp: tuple[Pixels, ...]


def sharp_pictures(folder: Path | None, most: int) -> tuple[str, list[Pixels]]:
    """(what they are, in words; the pictures): at most `most` of the folder, evenly chosen, or generated scenes.

    Raises DataError for a folder without pictures or with an unreadable one.
    """
    if folder is None:
        return "4 generated scenes of 384x256", [dead_leaves(256, 384, seed) for seed in (11, 12, 13)] + [chart(256, 384, 14)]
    paths = pictures_in(folder)
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)]
    return f"{len(chosen)} pictures of {folder.name}", [read_picture(path) for path in chosen]


def gaussian_cases(sharp: list[Pixels]) -> list[Case]:
    """Gaussian blur on sRGB values with noise of 2/255, as the classical literature does, and the sharp pictures untouched."""
    cases = []
    for sigma in SIGMAS_PX:
        rng = np.random.default_rng([int(10 * sigma), len(sharp)])
        blurred = tuple(to_pixels(add_noise(gaussian_blur(to_float(p), sigma), NOISE, rng)) for p in sharp)
        cases.append(Case(f"gauss-{sigma}", blurred, tuple(sharp)))
    return [*cases, Case("sharp-in", tuple(sharp), tuple(sharp))]
