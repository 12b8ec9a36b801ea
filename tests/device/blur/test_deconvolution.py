from dataclasses import replace

import cv2
import numpy as np
import pytest

from device.blur.deconvolution import Deconvolver, deconvolve, regularisation_for, wiener_filter
from device.blur.kernels import disk_kernel, gaussian_kernel, line_kernel, shake_kernel
from device.blur.psf import BLIND, Psf
from device.images.degrade import convolve, to_float, to_linear, to_pixels, to_srgb
from device.images.frame import luma_of
from device.images.quality import psnr
from device.images.scenes import chart, dead_leaves

KERNELS = {
    "gaussian": gaussian_kernel(1.6, 1.6, 0),
    "disk": disk_kernel(3.2),
    "line": line_kernel(11, 0.4),
    "shake": shake_kernel(14, np.random.default_rng(3)),
}


def expected_filter(kernel: np.ndarray, height: int, width: int, regularisation: float) -> np.ndarray:
    """The formula in float64, on the whole complex plane."""
    spread = np.zeros((height, width))
    side, reach = len(kernel), len(kernel) // 2
    for y in range(side):
        for x in range(side):
            spread[(y - reach) % height, (x - reach) % width] += kernel[y, x]
    h = np.fft.fft2(spread)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    differences = np.abs(1 - np.exp(2j * np.pi * down)) ** 2 + np.abs(1 - np.exp(2j * np.pi * across)) ** 2
    answer = np.conj(h) / (np.abs(h) ** 2 + regularisation * differences + 1e-4)
    return answer / answer[0, 0].real


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("size", [(96, 128), (67, 45)])
def test_a_filter_is_that_of_the_formula(name: str, size: tuple[int, int]) -> None:
    wiener = wiener_filter(KERNELS[name], *size, 0.02)
    height, width = wiener.spectrum.shape
    point = np.zeros((height, width), np.float32)
    point[3, 5] = 1
    got = cv2.idft(cv2.mulSpectrums(cv2.dft(point), wiener.spectrum, 0, conjB=True), flags=cv2.DFT_SCALE)
    expected = np.fft.ifft2(expected_filter(KERNELS[name], height, width, 0.02) * np.fft.fft2(point)).real
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_blurred_in_linear_light_is_undone(name: str) -> None:
    sharp = luma_of(chart(160, 224))
    blurred = to_pixels(to_srgb(convolve(to_linear(sharp), KERNELS[name])))
    wiener = wiener_filter(KERNELS[name], *sharp.shape, 0.03)
    restored = psnr(deconvolve(blurred, wiener, linear=True), sharp)
    assert restored > psnr(blurred, sharp) + 0.5
    assert restored > psnr(deconvolve(blurred, wiener, linear=False), sharp)


def test_a_kernel_that_is_not_symmetric_is_undone_the_right_way_round() -> None:
    kernel = np.zeros((7, 7))
    kernel[3, 3:6] = 0.5, 0.3, 0.2
    sharp = to_pixels(cv2.GaussianBlur(np.random.default_rng(0).random((80, 90)), (0, 0), 1.0).astype(np.float32))
    blurred = to_pixels(convolve(to_float(sharp), kernel))
    right, wrong = (deconvolve(blurred, wiener_filter(k, 80, 90, 1e-5), False) for k in (kernel, kernel[:, ::-1]))
    assert psnr(right, sharp) > 40 > psnr(wrong, sharp)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("level", [0, 1, 17, 128, 254, 255])
def test_a_flat_plane_stays_as_it_is(linear: bool, level: int) -> None:
    plane = np.full((64, 70), level, np.uint8)
    assert np.array_equal(deconvolve(plane, wiener_filter(disk_kernel(3), 64, 70), linear), plane)


@pytest.mark.parametrize("linear", [True, False])
def test_no_blur_leaves_every_grey_level_alone(linear: bool) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None], 64, 0)
    point = np.zeros((3, 3))
    point[1, 1] = 1
    restored = deconvolve(ramp, wiener_filter(point, *ramp.shape, 1e-7), linear)
    assert np.abs(restored.astype(int) - ramp)[:, 8:-8].max() <= 1


def test_a_small_window_takes_a_kernel_larger_than_itself() -> None:
    plane = luma_of(chart(64, 64))[:40, :33].copy()
    assert deconvolve(plane, wiener_filter(line_kernel(61, 1.0), 40, 33), True).shape == (40, 33)


def test_noise_raises_the_regularisation_and_its_absence_does_not_lower_it() -> None:
    assert regularisation_for(None) == regularisation_for(0.0) == regularisation_for(1 / 255) == 0.005
    assert regularisation_for(4 / 255) == pytest.approx(0.02)


def test_a_deconvolver_follows_the_size_and_a_blind_one_does_nothing() -> None:
    deconvolver = Deconvolver(Psf("defocus", 2.0))
    for size in ((64, 80), (48, 96), (64, 80)):
        plane = luma_of(chart(*size))
        expected = deconvolve(plane, wiener_filter(disk_kernel(2.0), *size), True)
        assert np.array_equal(deconvolver(plane), expected)
    assert Deconvolver(BLIND)(plane) is plane


@pytest.mark.parametrize(("mirrored", "name"), [(True, "line"), (False, "line"), (True, "shake"), (False, "shake")])
def test_motion_is_undone_up_to_the_borders(mirrored: bool, name: str) -> None:
    scene, kernel = luma_of(dead_leaves(180, 240, 3)), KERNELS[name]
    inside = np.s_[:, :] if mirrored else np.s_[24:-24, 24:-24]
    sharp = np.ascontiguousarray(scene[inside])
    blurred = to_pixels(np.ascontiguousarray(convolve(to_float(scene), kernel)[inside]))
    wiener = wiener_filter(kernel, *sharp.shape)
    assert wiener.border_kernel is not None
    plain = replace(wiener, border_kernel=None)
    assert psnr(deconvolve(blurred, wiener, False), sharp) > psnr(deconvolve(blurred, plain, False), sharp) + 0.2


@pytest.mark.parametrize("kernel", [gaussian_kernel(2, 2, 0), disk_kernel(2.6)], ids=["gaussian", "disk"])
def test_what_a_round_kernel_blurred_is_continued_as_it_is(kernel: np.ndarray) -> None:
    assert wiener_filter(kernel, 64, 64).border_kernel is None
