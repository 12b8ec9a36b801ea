"""The picture of README.md, from scikit-image's photographs: blurred, classical, restored, truth, cropped to see the difference.

python scripts/readme_pictures.py docs/pictures bundles/dense nano small
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.figure import Figure

from benchmarks.baselines import BLIND_METHODS, NON_BLIND_METHODS
from device.blur.kernels import Kernel, disk_kernel, gaussian_kernel, shake_kernel
from device.bundle.open import open_bundle
from device.images.degrade import add_noise, convolve, jpeg, to_float, to_linear, to_pixels, to_srgb
from device.images.frame import Pixels
from device.images.picture import read_picture
from device.images.quality import psnr
from device.restore.restorer import Restorer

# photograph, blur, top left corner of the crop (y, x)
ROWS = (
    ("astronaut.png", "Gaussian, sigma 2.0", gaussian_kernel(2.0, 2.0, 0), (30, 150)),
    ("coffee.png", "defocus, radius 3", disk_kernel(3), (90, 210)),
    ("chelsea.png", "hand-shake of 9 pixels", shake_kernel(9, np.random.default_rng(4)), (60, 130)),
    ("rocket.jpg", "Gaussian, sigma 1.6", gaussian_kernel(1.6, 1.6, 0), (240, 270)),
)
SIDE = 160


def main(out: Path, bundles: list[str]) -> None:
    """Write grid.jpg into `out`: a row for each photograph."""
    restorers = {name.rstrip("/").split("/")[-1]: Restorer(open_bundle(name), runtime="litert") for name in bundles}
    rows = []
    for name, blur, kernel, corner in ROWS:
        sharp = read_picture(Path(skimage.data.__file__).parent / name)
        blurred = _blurred(sharp, blur, kernel, np.random.default_rng(len(rows)))
        row = {blur: blurred} | _best_classical(blurred, sharp, kernel)
        row |= {label: restorer.restore(blurred) for label, restorer in restorers.items()}
        rows.append((corner, row | {"ground truth": sharp}, sharp))
    columns = len(rows[0][1])
    figure = Figure(figsize=(2.3 * columns, 2.55 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, ((y, x), pictures, sharp) in zip(grid, rows, strict=True):
        for axes, (label, picture) in zip(axes_row, pictures.items(), strict=True):
            axes.imshow(picture[y : y + SIDE, x : x + SIDE], interpolation="nearest")
            note = "" if picture is sharp else f"\n{psnr(picture, sharp):.2f} dB"
            axes.set_title(label + note, fontsize=9)
            axes.axis("off")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "grid.png", dpi=120)
    png = cv2.imread(str(out / "grid.png"))
    assert png is not None
    cv2.imwrite(str(out / "grid.jpg"), png, [cv2.IMWRITE_JPEG_QUALITY, 92])
    (out / "grid.png").unlink()
    for restorer in restorers.values():
        restorer.close()


def _blurred(sharp: Pixels, blur: str, kernel: Kernel, rng: np.random.Generator) -> Pixels:
    """As the cases of the quality suite: Gaussians on sRGB values with noise of 2/255, others in linear light with JPEG."""
    if blur.startswith("Gaussian"):
        return to_pixels(add_noise(convolve(to_float(sharp), kernel), 2 / 255, rng))
    return jpeg(to_pixels(add_noise(to_srgb(convolve(to_linear(sharp), kernel)), 1 / 255, rng)), 92)


def _best_classical(blurred: Pixels, sharp: Pixels, kernel: Kernel) -> dict[str, Pixels]:
    """The blind or non-blind method whose result is nearest to the ground truth."""
    found = {name: method(blurred) for name, method in BLIND_METHODS.items() if name != "nothing"}
    found |= {name: method(blurred, kernel) for name, method in NON_BLIND_METHODS.items()}
    best = max(found, key=lambda name: psnr(found[name], sharp))
    return {best: found[best]}


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
