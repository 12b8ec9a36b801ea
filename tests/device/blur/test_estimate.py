"""The blur of photographs and of generated scenes is found, and what is sharp, flat, dark or only noise has none.

The photographs are scikit-image's; the estimator was tuned on other ones.
"""

import math

import cv2
import numpy as np
import pytest
from blur_parts import PHOTOGRAPHS, seen, sharp_luma

from device.blur.estimate import estimate_picture
from device.blur.kernels import disk_kernel, gaussian_kernel, line_kernel
from device.blur.psf import Psf
from device.blur.spectrum import BLOCK, Spectrum
from device.images.scenes import text_page


def spread(psf: Psf) -> float:
    """Standard deviation along one axis, pixels: what Gaussians and disks have in common."""
    return psf.size_px * {"defocus": 0.5}.get(psf.kind, 1.0)


def test_defocus_is_found_on_nine_pictures_of_ten() -> None:
    tried = [(name, radius) for name in (*PHOTOGRAPHS, "chart") for radius in (3.5, 5.0)]
    psfs = [(radius, estimate_picture(seen(sharp_luma(name), disk_kernel(radius)))) for name, radius in tried]
    found = [psf for radius, psf in psfs if psf.kind == "defocus" and psf.linear and abs(psf.size_px / radius - 1) < 0.05]
    assert len(found) >= 0.9 * len(tried)
    assert {(psf.origin, psf.sureness) for psf in found} == {("auto", "sure")}


def test_straight_motion_is_found_on_nine_pictures_of_ten() -> None:
    motions = ((9, 20), (15, 70), (21, 130))
    tried = [(name, motion) for name in (*PHOTOGRAPHS, "chart") for motion in motions]
    found = 0
    for name, (length, angle) in tried:
        psf = estimate_picture(seen(sharp_luma(name), line_kernel(length, -math.radians(angle))))
        found += psf.kind == "motion" and abs(psf.size_px / length - 1) < 0.05 and abs(psf.angle_deg - angle) < 4
    assert found >= 0.9 * len(tried)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("sigma", [1.0, 1.6, 2.5])
@pytest.mark.parametrize("linear", [True, False], ids=["linear light", "values as they are"])
def test_a_soft_picture_has_a_blur_of_that_size(name: str, sigma: float, linear: bool) -> None:
    psf = estimate_picture(seen(sharp_luma(name), gaussian_kernel(sigma, sigma, 0), linear=linear))
    assert psf.kind in ("gaussian", "lens", "defocus")
    assert spread(psf) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("name", [*PHOTOGRAPHS, "chart", "text", "page", "moon", "grass"])
@pytest.mark.parametrize(("noise", "quality"), [(0.0, 100), (1.0, 92), (3.0, 75)])
def test_a_sharp_picture_has_no_clear_blur(name: str, noise: float, quality: int) -> None:
    psf = estimate_picture(seen(sharp_luma(name), None, noise=noise, quality=quality))
    assert psf.is_blind
    assert psf.sureness == "no clear blur"


NOTHING = {
    "black": np.zeros((480, 640), np.uint8),
    "white": np.full((480, 640), 255, np.uint8),
    "flat": np.full((480, 640), 120, np.uint8),
    "flat with noise": np.clip(np.random.default_rng(1).normal(120, 2, (480, 640)), 0, 255).astype(np.uint8),
    "noise": np.clip(np.random.default_rng(2).normal(128, 25, (480, 640)), 0, 255).astype(np.uint8),
    "night": np.clip(np.random.default_rng(3).normal(4, 3, (480, 640)), 0, 255).astype(np.uint8),
    "a page of text": cv2.cvtColor(text_page(480, 640), cv2.COLOR_RGB2GRAY),
    "too small": sharp_luma("camera")[: BLOCK - 1, :200],
    "a gradient": np.tile(np.linspace(20, 230, 640).astype(np.uint8), (480, 1)),
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_tells_the_blur_there_is_none(name: str) -> None:
    assert estimate_picture(NOTHING[name]).is_blind


def test_a_small_moving_object_does_not_make_the_picture_blurred() -> None:
    picture = seen(sharp_luma("camera"), None)
    moved = seen(sharp_luma("camera"), line_kernel(17, 0.3))
    picture[180:300, 200:330] = moved[180:300, 200:330]
    assert estimate_picture(picture).is_blind


def test_saturated_and_flat_blocks_are_left_out() -> None:
    half = seen(sharp_luma("coffee"), disk_kernel(4))
    picture = np.full((half.shape[0], 2 * half.shape[1]), 255, np.uint8)
    picture[:, : half.shape[1]] = half
    psf = estimate_picture(picture)
    assert psf.kind == "defocus"
    assert psf.size_px == pytest.approx(4, rel=0.05)


def test_the_noise_is_told() -> None:
    for noise in (1.0, 3.0):
        psf = estimate_picture(seen(sharp_luma("grass"), disk_kernel(4), noise=noise, quality=100))
        assert psf.noise is not None
        assert 255 * psf.noise == pytest.approx(noise, rel=0.35)


def test_blocks_of_a_large_picture_are_few() -> None:
    spectrum = Spectrum()
    used = spectrum.add(np.tile(sharp_luma("camera"), (6, 8)))
    assert 50 <= used <= 96
