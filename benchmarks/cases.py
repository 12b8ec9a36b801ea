"""Test cases: degraded pictures, the same bytes each time; or the pairs of a folder that already holds them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.blur.kernels import Kernel, disk_kernel, gaussian_kernel, line_kernel, shake_kernel
from device.blur.psf import BLIND, Psf
from device.blur.psf_file import read_psf
from device.errors import DataError
from device.images.degrade import (
    add_noise,
    convolve,
    gaussian_blur,
    jpeg,
    moving_object,
    sharpen,
    to_float,
    to_linear,
    to_pixels,
    to_srgb,
)
from device.images.frame import Pixels
from device.images.picture import pictures_in, read_picture

CASES = (
    "gauss-1.0", "gauss-1.6", "gauss-2.0", "gauss-3.0", "defocus-2", "defocus-4", "motion-9", "motion-17", "object-17",
    "mixed", "sharp-in", "sharp-jpeg",
)  # fmt: skip
QUALITY_CASES = (*CASES[:8], "line-9", "line-17", *CASES[8:])
"""What the quality suite scores: straight motion too."""
SHARP, KERNELS = "sharp", "kernels"


@dataclass(frozen=True)
class Pair:
    """One picture of a case."""

    name: str
    blurred: Pixels
    sharp: Pixels


def pairs(folder: Path, case: str, most: int) -> Iterator[Pair]:
    """Yield the pairs of one case: read from `folder`/CASE and `folder`/sharp if these exist, else blurred from its pictures.

    Takes at most `most` pictures, evenly spaced. Raises DataError if a folder is missing or the sizes of a pair differ.
    """
    ready_made = (folder / SHARP).is_dir()
    paths = pictures_in(folder / SHARP if ready_made else folder)
    for path in (paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)):
        sharp = read_picture(path)
        blurred = read_picture(folder / case / path.name) if ready_made else degrade(sharp, case, path.stem)
        if blurred.shape != sharp.shape:
            sizes = [f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (blurred, sharp)]
            raise DataError(
                f"{folder / case / path.name}: {sizes[0]} pixels, but its sharp picture has {sizes[1]}; expected equal sizes"
            )
        yield Pair(path.name, blurred, sharp)


def cases_in(folder: Path, wanted: tuple[str, ...] = CASES) -> tuple[str, ...]:
    """Return the cases that a folder offers: those with ready-made pairs, or all that are wanted."""
    if not (folder / SHARP).is_dir():
        return wanted
    return tuple(case for case in wanted if (folder / case).is_dir())


def degrade(sharp: Pixels, case: str, name: str) -> Pixels:
    """Degrade one picture as the case says; the random values depend only on case and name.

    gauss-S: Gaussian of S pixels on sRGB values, noise 2/255. defocus-R, motion-L, line-L: disk of radius R, camera shake or
    straight motion of L pixels, in linear light, noise 1/255, JPEG 92. object-L: only an object in the middle moves. mixed: kind,
    severity, noise, JPEG and sharpening are random. sharp-in: unchanged. sharp-jpeg: no blur, noise 1/255, JPEG 92.
    """
    if case == "sharp-in":
        return sharp
    rng = np.random.default_rng(zlib.crc32(f"{case}/{name}".encode()))
    kind, _, text = case.partition("-")
    if kind == "gauss":
        return to_pixels(add_noise(gaussian_blur(to_float(sharp), float(text)), 2 / 255, rng))
    noise, quality, sharpening, amount = 1.0, 92, 0.0, float(text) if kind in ("defocus", "motion", "line", "object") else 0.0
    if kind == "mixed":
        kind = str(rng.choice(["gaussian", "defocus", "motion", "sharp"], p=[0.35, 0.25, 0.3, 0.1]))
        amount = {"gaussian": rng.uniform(0.5, 3.5), "defocus": rng.uniform(0.8, 5), "motion": rng.uniform(4, 25)}.get(kind, 0.0)
        noise, quality = rng.uniform(0, 3), int(rng.integers(60, 98))
        sharpening = max(0.0, rng.uniform(-0.5, 0.5))
    linear = to_linear(sharp)
    match kind:
        case "gaussian":
            linear = convolve(linear, gaussian_kernel(amount, amount, 0))
        case "defocus":
            linear = convolve(linear, disk_kernel(amount))
        case "motion":
            linear = convolve(linear, shake_kernel(amount, rng))
        case "line":
            linear = convolve(linear, line_kernel(amount, rng.uniform(0, np.pi)))
        case "object":
            linear = moving_object(linear, _middle(*sharp.shape[:2]), shake_kernel(amount, rng))
    srgb = add_noise(to_srgb(linear) if kind != "sharp" else to_float(sharp), noise / 255, rng)
    return jpeg(to_pixels(sharpen(srgb, sharpening) if sharpening else srgb), quality)


def kernel_is_known(folder: Path, case: str) -> bool:
    """Return whether `true_kernel` blurred the folder's pictures: ready-made pairs have random paths of their own."""
    return not (case.startswith(("motion-", "line-")) and (folder / SHARP).is_dir())


def true_kernel(case: str, name: str) -> Kernel | None:
    """The kernel that `degrade` blurs this picture with, which no camera knows; None if there is no single one."""
    kind, _, text = case.partition("-")
    match kind:
        case "gauss":
            return gaussian_kernel(float(text), float(text), 0)
        case "defocus":
            return disk_kernel(float(text))
        case "motion":
            return shake_kernel(float(text), np.random.default_rng(zlib.crc32(f"{case}/{name}".encode())))
        case "line":
            return line_kernel(float(text), np.random.default_rng(zlib.crc32(f"{case}/{name}".encode())).uniform(0, np.pi))
    return None


def true_psf(folder: Path, case: str, name: str) -> Psf:
    """The PSF that blurred a picture of the folder; a blind one if there is no single one, or if nobody knows it.

    Ready-made pairs may have it in `folder`/kernels/CASE/NAME.npy. Gaussians blur the values as they are, all others light.
    """
    path = folder / KERNELS / case / f"{name}.npy"
    if path.is_file():
        return replace(read_psf(path), linear=not case.startswith("gauss"))
    kernel = true_kernel(case, name) if kernel_is_known(folder, case) else None
    return BLIND if kernel is None else Psf("measured", measured=kernel, linear=not case.startswith("gauss"), origin="file")


def _middle(height: int, width: int) -> np.ndarray:
    """(height, width, 1): 1 inside an ellipse over the middle of the picture."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / (width / 5)) ** 2 + ((y - height / 2) / (height / 4)) ** 2 <= 1
    return inside.astype(np.float32)[..., None]
