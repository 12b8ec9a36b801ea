"""The picture of README.md, from scikit-image's photographs: blurred, its blur, restored, best classical method, truth.

python scripts/readme_pictures.py docs/pictures small
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.baselines import BLIND_METHODS, NON_BLIND_METHODS
from device.blur.estimate import estimate_picture
from device.blur.kernels import Kernel, disk_kernel, gaussian_kernel, line_kernel, shake_kernel
from device.blur.psf import Psf
from device.bundle.open import open_bundle
from device.images.degrade import add_noise, convolve, jpeg, to_float, to_linear, to_pixels, to_srgb
from device.images.frame import Pixels, luma_of
from device.images.picture import read_picture
from device.images.quality import psnr
from device.restore.restorer import Restorer


@dataclass(frozen=True)
class Example:
    """One row: a photograph, its blur, and the top left corner (y, x) of what is shown."""

    photograph: str
    blur: str
    kernel: Kernel
    corner: tuple[int, int]
    told: bool = False
    """Whether the restorer is told the kernel; else it estimates the blur from the blurred picture."""


EXAMPLES = (
    Example("coffee.png", "defocus, radius 4", disk_kernel(4), (90, 210)),
    Example("rocket.jpg", "motion, 13 pixels at 25 degrees", line_kernel(13, -math.radians(25)), (240, 270)),
    Example("chelsea.png", "hand-shake, 17 pixels", shake_kernel(17, np.random.default_rng(4)), (60, 130), told=True),
    Example("astronaut.png", "Gaussian, sigma 2.0", gaussian_kernel(2.0, 2.0, 0), (30, 150)),
)
SIDE = 160
PSF_SIDE = 25  # pixels around a PSF's centre that are shown


def main(out: Path, bundle: str) -> None:
    """Write grid.jpg into `out`: a row for each example."""
    figure = Figure(figsize=(11.5, 2.55 * len(EXAMPLES)), layout="constrained")
    grid = figure.subplots(len(EXAMPLES), 5, squeeze=False)
    with Restorer(open_bundle(bundle), runtime="litert") as restorer:
        for seed, (row, example) in enumerate(zip(grid, EXAMPLES, strict=True)):
            _draw(row, example, restorer, np.random.default_rng(seed))
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "grid.png", dpi=120)
    png = cv2.imread(str(out / "grid.png"))
    assert png is not None
    cv2.imwrite(str(out / "grid.jpg"), png, [cv2.IMWRITE_JPEG_QUALITY, 92])
    (out / "grid.png").unlink()


def _draw(row: list[Axes], example: Example, restorer: Restorer, rng: np.random.Generator) -> None:
    sharp = read_picture(Path(skimage.data.__file__).parent / example.photograph)
    blurred = _blurred(sharp, example.blur, example.kernel, rng)
    psf = Psf("measured", measured=example.kernel) if example.told else estimate_picture(luma_of(blurred))
    restorer.use_psf(psf)
    method, classical = _best_classical(blurred, sharp, example.kernel)
    name = restorer.bundle.name
    (y, x), how = example.corner, "told" if example.told else f"estimated, {psf.sureness}"
    pictures = (
        (example.blur, blurred),
        (f"its blur ({how})", None),
        (f"{name}, int8, {'told the blur' if example.told else 'auto'}", restorer.restore(blurred)),
        (f"{method}, told the blur", classical),
        ("ground truth", sharp),
    )
    for axes, (label, picture) in zip(row, pictures, strict=True):
        if picture is None:
            axes.imshow(_centre(psf.kernel()), cmap="gray", interpolation="nearest")
            note = "" if example.told else f"\n{psf.describe()}"
        else:
            axes.imshow(picture[y : y + SIDE, x : x + SIDE], interpolation="nearest")
            note = "" if picture is sharp else f"\n{psnr(picture, sharp):.2f} dB"
        axes.set_title(label + note, fontsize=9)
        axes.axis("off")


def _centre(kernel: Kernel) -> Kernel:
    """The middle of a kernel, or the kernel in the middle of zeros."""
    room = np.pad(kernel, PSF_SIDE)
    first = len(room) // 2 - PSF_SIDE // 2
    return room[first : first + PSF_SIDE, first : first + PSF_SIDE]


def _blurred(sharp: Pixels, blur: str, kernel: Kernel, rng: np.random.Generator) -> Pixels:
    """As the cases of the quality suite: Gaussians on sRGB values with noise of 2/255, others in linear light with JPEG."""
    if blur.startswith("Gaussian"):
        return to_pixels(add_noise(convolve(to_float(sharp), kernel), 2 / 255, rng))
    return jpeg(to_pixels(add_noise(to_srgb(convolve(to_linear(sharp), kernel)), 1 / 255, rng)), 92)


def _best_classical(blurred: Pixels, sharp: Pixels, kernel: Kernel) -> tuple[str, Pixels]:
    """Name and result of the classical method, blind or told the kernel, that comes nearest to the truth."""
    found = {name: method(blurred) for name, method in BLIND_METHODS.items() if name != "nothing"}
    found |= {name.removesuffix(" (non-blind)"): method(blurred, kernel) for name, method in NON_BLIND_METHODS.items()}
    best = max(found, key=lambda name: psnr(found[name], sharp))
    return best, found[best]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
