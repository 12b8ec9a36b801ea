"""Picture quality of the shipped files on photographs that were not used in training: those of the scikit-image package."""

from pathlib import Path

import numpy as np
import pytest

from device.blur.psf import BLIND, Psf
from device.bundle.open import open_bundle, shipped
from device.images.degrade import add_noise, gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels
from device.images.picture import read_picture
from device.images.quality import psnr, ssim
from device.restore.restorer import Restorer

skimage_data = pytest.importorskip("skimage.data")
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png")
SIGMAS = (1.0, 1.6, 2.0, 3.0)
LEAST_GAIN_DB = {"nano": (2.35, 2.25, 2.25, 2.3), "small": (2.45, 2.35, 2.35, 2.45)}
"""Mean gain for each of `SIGMAS`, told the blur: 0.13 dB or more below the worst of the three variants of today's bundles."""
LEAST_BLIND_GAIN_DB = {"nano": -0.3, "small": 0.3}
"""The same for every sigma, told nothing: such pictures hardly change (today's least: -0.18 and +0.41)."""
LEAST_SHARP_PSNR_DB = {"nano": 47.0, "small": 46.0}
"""PSNR of a restored sharp photograph against the original: 0.45 dB or more below today's bundles."""


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


@pytest.mark.parametrize("sigma", SIGMAS)
def test_blurred_photographs_gain_as_much_as_measured(restorer: Restorer, photographs: list[Pixels], sigma: float) -> None:
    rng = np.random.default_rng(0)
    gains: dict[Psf, list[float]] = {Psf("gaussian", sigma, linear=False): [], BLIND: []}
    ssim_gains = []
    for sharp in photographs:
        blurred = to_pixels(add_noise(gaussian_blur(to_float(sharp), sigma), 2 / 255, rng))
        for psf, gained in gains.items():
            restorer.use_psf(psf)
            restored = restorer.restore(blurred)
            gained.append(psnr(restored, sharp) - psnr(blurred, sharp))
            if not psf.is_blind:
                ssim_gains.append(ssim(restored, sharp) - ssim(blurred, sharp))
    told, blind = gains.values()
    assert np.mean(told) > LEAST_GAIN_DB[restorer.bundle.name][SIGMAS.index(sigma)]
    assert min(told) > 1.6  # today's worst photograph: 1.78 dB
    assert min(ssim_gains) > 0.015  # today's worst: 0.0185
    assert np.mean(blind) > LEAST_BLIND_GAIN_DB[restorer.bundle.name]


def test_a_sharp_photograph_hardly_changes(restorer: Restorer, photographs: list[Pixels]) -> None:
    restorer.use_psf(BLIND)
    mean_psnr = np.mean([psnr(restorer.restore(sharp), sharp) for sharp in photographs])
    assert mean_psnr > LEAST_SHARP_PSNR_DB[restorer.bundle.name]
