"""What the shipped files do to photographs that their training never saw: those of the scikit-image package."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device.bundle.open import open_bundle, shipped
from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels
from device.images.picture import read_picture
from device.images.quality import psnr, ssim
from device.restore.restorer import Restorer

skimage_data = pytest.importorskip("skimage.data")
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png")
GAIN_DB = {
    "nano": {1.0: 0.5, 1.6: 1.3, 2.0: 1.6, 3.0: 1.9},
    "small": {1.0: 1.0, 1.6: 1.7, 2.0: 1.9, 3.0: 2.1},
}
"""By bundle and sigma: at least 0.05 dB below what its weakest file reached when it was added."""


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    folder = Path(skimage_data.__file__).parent
    return [read_picture(folder / name) for name in PHOTOGRAPHS]


@pytest.fixture(
    scope="module", params=[(name, variant) for name in shipped() for variant in ("fp32", "dynamic", "int8")], ids="-".join
)
def restorer(request: pytest.FixtureRequest) -> Iterator[Restorer]:
    name, variant = request.param
    with Restorer(open_bundle(name), variant, "litert", 1) as opened:
        yield opened


@pytest.mark.parametrize("sigma", [1.0, 1.6, 2.0, 3.0])
def test_blurred_photographs_gain_and_none_loses(restorer: Restorer, photographs: list[Pixels], sigma: float) -> None:
    rng, gains, ssim_gains = np.random.default_rng(0), [], []
    for sharp in photographs:
        blurred = to_pixels(add_noise(gaussian_blur(to_float(sharp), sigma), 2 / 255, rng))
        restored = restorer.restore(blurred)
        gains.append(psnr(restored, sharp) - psnr(blurred, sharp))
        ssim_gains.append(ssim(restored, sharp) - ssim(blurred, sharp))
    assert np.mean(gains) > GAIN_DB[restorer.bundle.manifest.name][sigma]
    assert min(gains) > 0.3
    assert np.mean(ssim_gains) > 0.01


def test_a_sharp_photograph_is_left_nearly_alone(restorer: Restorer, photographs: list[Pixels]) -> None:
    assert np.mean([psnr(restorer.restore(sharp), sharp) for sharp in photographs]) > 38
