"""The pictures of README.md, from scikit-image's photographs: blurred, baselines, restored, truth, cropped to see the difference.

python scripts/readme_pictures.py docs/pictures small [bundles/dense …]
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from matplotlib.figure import Figure

from benchmarks.baselines import unsharp
from device.bundle import open_bundle
from device.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.picture import read_picture
from device.quality import psnr
from device.restorer import Restorer

# name, sigma in pixels, top left corner of the crop (y, x)
CROPS = (
    ("astronaut.png", 1.6, (30, 150)),
    ("coffee.png", 2.0, (90, 210)),
    ("chelsea.png", 1.6, (60, 130)),
    ("rocket.jpg", 2.0, (240, 270)),
)
SIDE = 160
NOISE = 2 / 255


def main(out: Path, bundles: list[str]) -> None:
    """Write grid.jpg into `out`: a row for each crop."""
    restorers = {name.rstrip("/").split("/")[-1]: Restorer(open_bundle(name), runtime="litert") for name in bundles}
    rows = []
    for name, sigma, corner in CROPS:
        sharp = read_picture(Path(skimage.data.__file__).parent / name)
        rng = np.random.default_rng(len(rows))
        blurred = to_pixels(add_noise(gaussian_blur(to_float(sharp), sigma), NOISE, rng))
        row = {f"blurred, sigma {sigma}": blurred, "unsharp mask": unsharp(blurred)}
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


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
