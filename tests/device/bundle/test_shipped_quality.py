"""What the shipped files do to photographs that their training never saw: those of the scikit-image package."""

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


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    folder = Path(skimage_data.__file__).parent
    return [read_picture(folder / name) for name in PHOTOGRAPHS]


@pytest.fixture(
    scope="module", params=[(name, variant) for name in shipped() for variant in ("fp32", "dynamic", "int8")], ids="-".join
)
def restorer(request: pytest.FixtureRequest) -> Restorer:
    name, variant = request.param
    return Restorer(open_bundle(name), variant, "litert", 2)


@pytest.mark.parametrize("sigma", [1.0, 1.6, 2.0, 3.0])
def test_blurred_photographs_gain_and_none_loses(restorer: Restorer, photographs: list[Pixels], sigma: float) -> None:
    rng, gains, ssim_gains = np.random.default_rng(0), [], []
    for sharp in photographs:
        blurred = to_pixels(add_noise(gaussian_blur(to_float(sharp), sigma), 2 / 255, rng))
        restored = restorer.restore(blurred)
        gains.append(psnr(restored, sharp) - psnr(blurred, sharp))
        ssim_gains.append(ssim(restored, sharp) - ssim(blurred, sharp))
    assert np.mean(gains) > 0.3
    assert min(gains) > -0.3  # the bar of the project's targets for a single picture
    assert np.mean(ssim_gains) > 0


def test_a_sharp_photograph_is_left_nearly_alone(restorer: Restorer, photographs: list[Pixels]) -> None:
    assert np.mean([psnr(restorer.restore(sharp), sharp) for sharp in photographs]) > 38
