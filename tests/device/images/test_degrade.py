from typing import Any

import numpy as np
import pytest

from device.images import degrade
from device.images.degrade import (
    BLURS,
    KINDS,
    CameraBlur,
    add_noise,
    convolve,
    disk_kernel,
    gaussian_blur,
    gaussian_kernel,
    gaussian_taps,
    jpeg,
    moving_object,
    shake_kernel,
    sharpen,
    to_float,
    to_linear,
    to_luma,
    to_pixels,
    to_srgb,
)
from device.images.frame import Pixels
from device.images.scenes import chart


def only(kind: str, **settings: Any) -> CameraBlur:
    """A camera with one kind of blur and no other degradation."""
    odds = tuple(float(k == kind) for k in KINDS)
    quiet: dict[str, Any] = {"noise": (0.0, 0.0), "sharpening": (0.0, 0.0), "jpeg_share": 0.0, "highlight_share": 0.0}
    return CameraBlur(odds=odds, **(quiet | settings))


QUIET = only("literature")


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 1.6, 4.0])
def test_a_kernel_sums_to_one_and_is_symmetric(sigma: float) -> None:
    taps = gaussian_taps(sigma)
    assert taps.sum() == pytest.approx(1, abs=1e-12)
    assert np.array_equal(taps, taps[::-1])
    assert taps.argmax() == len(taps) // 2


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.6, 2.4, 4.0])
def test_a_point_of_light_is_spread_by_the_requested_sigma(sigma: float) -> None:
    point = np.zeros((65, 65, 3), np.float32)
    point[32, 32] = 1
    spread = gaussian_blur(point, sigma)[..., 1].astype(np.float64)
    y, x = np.mgrid[-32:33, -32:33]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((spread * x**2).sum()) == pytest.approx(sigma, rel=0.005)
    assert np.sqrt((spread * y**2).sum()) == pytest.approx(sigma, rel=0.005)


def test_a_blur_keeps_a_flat_picture_and_its_borders() -> None:
    assert np.allclose(gaussian_blur(np.full((9, 30, 3), 0.25, np.float32), 4.0), 0.25, atol=1e-6)


def test_sigma_zero_does_not_blur(picture: Pixels) -> None:
    assert np.array_equal(gaussian_blur(to_float(picture), 0.0), to_float(picture))


def test_pixels_and_floats_convert_without_loss_and_clip(picture: Pixels) -> None:
    assert np.array_equal(to_pixels(to_float(picture)), picture)
    assert to_pixels(np.array([[[-0.5, 0.5, 1.5]]], np.float32)).ravel().tolist() == [0, 128, 255]


def test_noise_has_the_requested_deviation_and_zero_mean() -> None:
    noise = add_noise(np.zeros((200, 200, 3), np.float32), 2 / 255, np.random.default_rng(0))
    assert noise.std() == pytest.approx(2 / 255, rel=0.02)
    assert abs(noise.mean()) < 1e-4


def test_jpeg_keeps_colours_and_loses_more_at_lower_quality(picture: Pixels) -> None:
    losses = [np.abs(jpeg(picture, quality).astype(int) - picture).mean() for quality in (95, 75, 30)]
    assert losses == sorted(losses)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 220
    assert np.abs(jpeg(red, 95).astype(int) - red).max() <= 4


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others() -> None:
    sharp = chart(64, 64)

    def draw(seed: int) -> list[Pixels]:
        rng = np.random.default_rng(seed)
        return [CameraBlur().degrade(sharp, rng) for _ in range(5)]

    assert all(np.array_equal(a, b) for a, b in zip(draw(7), draw(7), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(draw(7), draw(8), strict=True))


def test_the_sharp_picture_is_not_written_to(picture: Pixels) -> None:
    before = picture.copy()
    CameraBlur().degrade(picture, np.random.default_rng(0), trim=4)
    assert np.array_equal(picture, before)


def test_a_crop_with_its_margin_is_blurred_as_in_the_whole_picture() -> None:
    whole, margin, sigma = chart(160, 200), QUIET.margin_px, 4.0
    camera = only("literature", sigma_px=(sigma, sigma))
    crop = whole[40 - margin : 104 + margin, 50 - margin : 130 + margin]
    got = camera.degrade(crop, np.random.default_rng(0), trim=margin)
    assert got.shape == (64, 80, 3)
    expected = to_pixels(gaussian_blur(to_float(whole), sigma))[40:104, 50:130]
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_only_sharp_pictures_pass_unharmed(picture: Pixels) -> None:
    always = only("sharp")
    assert np.array_equal(always.degrade(picture, np.random.default_rng(0)), picture)
    assert not np.array_equal(QUIET.degrade(picture, np.random.default_rng(0)), picture)


LISTENED = CameraBlur((0.15, 0.0, 0.85, 0.0, 0.0, 0.0, 0.0, 0.0), sharpening=(0.0, 0.0))


@pytest.fixture(scope="module")
def draws() -> dict[str, np.ndarray]:
    """The random parameters of 6000 draws. It only records them: the real functions still run."""
    heard: list[dict[str, Any]] = []
    real = {name: getattr(degrade, name) for name in ("gaussian_blur", "add_noise", "jpeg")}
    asked = {"gaussian_blur": "blur", "add_noise": "noise", "jpeg": "quality"}

    def listen(name: str) -> Any:
        def call(picture: np.ndarray, amount: float, *rest: Any) -> np.ndarray:
            heard[-1][asked[name]] = amount
            return real[name](picture, amount, *rest)

        return call

    sharp, rng, camera = chart(16, 16)[:8, :8], np.random.default_rng(0), LISTENED
    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(degrade, name, listen(name))
        for _ in range(6000):
            heard.append({"blur": 0.0, "noise": 0.0, "quality": 0})
            camera.degrade(sharp, rng)
    return {key: np.array([h[key] for h in heard], float) for key in ("blur", "noise", "quality")}


def test_noise_and_jpeg_are_drawn_independently_of_the_blur(draws: dict[str, np.ndarray]) -> None:
    columns = {
        "blur": draws["blur"],
        "is sharp": draws["blur"] == 0,
        "noise": draws["noise"],
        "has noise": draws["noise"] > 0,
        "jpeg": draws["quality"] > 0,
    }
    correlation = np.corrcoef([column.astype(float) for column in columns.values()])
    limit = 4 / np.sqrt(6000)  # four standard errors
    assert np.abs(correlation[:2, 2:]).max() < limit  # blur with everything else
    assert np.abs(correlation[2:4, 4]).max() < limit  # noise with JPEG
    through = draws["quality"] > 0
    assert abs(np.corrcoef(draws["blur"][through], draws["quality"][through])[0, 1]) < 4 / np.sqrt(through.sum())


def test_shares_and_ranges_are_those_of_the_camera(draws: dict[str, np.ndarray]) -> None:
    camera = LISTENED
    blurred, noisy, through = draws["blur"][draws["blur"] > 0], draws["noise"][draws["noise"] > 0], draws["quality"] > 0
    assert np.mean(draws["blur"] == 0) == pytest.approx(camera.odds[0], abs=0.02)
    assert np.mean(draws["noise"] == 0) == pytest.approx(1 / 3, abs=0.025)
    assert np.mean(through) == pytest.approx(camera.jpeg_share, abs=0.025)
    for values, (low, high) in (
        (blurred, camera.sigma_px),
        (noisy, camera.noise),
        (draws["quality"][through], camera.jpeg_quality),
    ):
        assert low <= values.min() <= low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) <= values.max() <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, rel=0.03)


def test_the_degraded_picture_has_the_requested_sigma() -> None:
    edge = np.repeat((np.arange(64) >= 32)[None, :, None] * np.uint8(200) + np.uint8(20), 3, 2).repeat(16, 0)
    for sigma in (1.0, 2.0, 4.0):
        camera = only("literature", sigma_px=(sigma, sigma))
        row = camera.degrade(edge, np.random.default_rng(0))[8, :, 0].astype(float)
        slope = np.diff(row)
        x = np.arange(63) - 31
        assert np.sqrt((slope * x**2).sum() / slope.sum()) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("radius", [2.0, 3.3, 4.0, 6.0])
def test_a_defocus_disk_has_its_radius_and_sums_to_one(radius: float) -> None:
    kernel = disk_kernel(radius)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1)
    # The second moment of a disk is radius² / 4 along each axis; a pixel's own extent adds 1/12.
    assert (kernel * x**2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)
    assert (kernel * y**2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)
    assert kernel[np.hypot(y, x) > radius + 1].sum() == 0


@pytest.mark.parametrize("length", [3, 9, 17, 35])
def test_a_shake_is_centred_sums_to_one_and_stays_within_its_length(length: int) -> None:
    for seed in range(20):
        kernel = shake_kernel(length, np.random.default_rng(seed))
        y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
        assert abs((kernel * x).sum()) < 1e-9
        assert abs((kernel * y).sum()) < 1e-9
        assert np.hypot(y, x)[kernel > 0].max() <= length + 1.5


def test_an_anisotropic_gaussian_is_long_along_its_angle() -> None:
    kernel = gaussian_kernel(3.0, 1.0, 0.0)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    assert (kernel * x**2).sum() == pytest.approx(9, rel=0.02)
    assert (kernel * y**2).sum() == pytest.approx(1, rel=0.02)
    assert np.allclose(gaussian_kernel(3.0, 1.0, np.pi / 2), kernel.T)


def test_a_convolution_is_not_a_correlation() -> None:
    point, kernel = np.zeros((9, 9, 3), np.float32), np.zeros((3, 3))
    point[4, 4], kernel[0, 2] = 1, 1
    assert convolve(point, kernel)[3, 5, 0] == 1


def test_linear_light_and_back_is_exact_for_every_level() -> None:
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    assert np.array_equal(to_pixels(to_srgb(to_linear(levels))), levels)
    assert to_linear(levels)[0, 188, 0] == pytest.approx(0.5029, abs=1e-3)


def test_luma_is_that_of_jpeg(picture: Pixels) -> None:
    import cv2

    expected = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    assert np.abs(to_luma(to_float(picture))[..., 0] * 255 - expected).max() <= 0.51


def test_a_moving_object_leaves_the_background_alone() -> None:
    picture = to_linear(chart(60, 80))
    mask = np.zeros((60, 80, 1), np.float32)
    mask[20:40, 30:50] = 1
    moved = moving_object(picture, mask, shake_kernel(9, np.random.default_rng(1)))
    assert np.allclose(moved[:, :15], picture[:, :15], atol=1e-6)
    assert np.abs(moved[22:38, 32:48] - picture[22:38, 32:48]).mean() > 0.01


def test_sharpening_enhances_edges_and_leaves_flat_parts_unchanged() -> None:
    edge = np.full((8, 40, 3), 0.3, np.float32)
    edge[:, 20:] = 0.6
    sharp = sharpen(edge, 0.5)
    assert sharp.max() > 0.62
    assert np.allclose(sharp[:, :10], 0.3, atol=1e-6)


@pytest.mark.parametrize("name", BLURS)
def test_the_odds_of_every_mixture_sum_to_one(name: str) -> None:
    camera = BLURS[name]
    assert len(camera.odds) == len(KINDS)
    assert sum(camera.odds) == pytest.approx(1)
    pixels = chart(80, 80)
    for seed in range(20):
        assert camera.degrade(pixels, np.random.default_rng(seed), trim=8).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "sharp"])
def test_every_kind_but_sharp_blurs(kind: str) -> None:
    pixels = chart(96, 96)
    steepness = [
        np.abs(np.diff(only(kind).degrade(pixels, np.random.default_rng(seed)).astype(int), axis=1)).mean() for seed in range(12)
    ]
    assert np.mean(steepness) < 0.9 * np.abs(np.diff(pixels.astype(int), axis=1)).mean()


def test_noise_sharpening_and_jpeg_do_not_depend_on_the_kind() -> None:
    """The same seed draws the same noise, sharpening and JPEG quality regardless of the kind."""
    heard: dict[str, list[tuple[str, float]]] = {}
    for kind in ("sharp", "literature", "defocus", "motion", "rolling"):
        calls: list[tuple[str, float]] = []
        with pytest.MonkeyPatch.context() as patch:
            for name in ("add_noise", "sharpen", "jpeg"):
                real = getattr(degrade, name)

                def call(pixels: Any, amount: float, *rest: Any, name: str = name, real: Any = real, calls: Any = calls) -> Any:
                    calls.append((name, amount))
                    return real(pixels, amount, *rest)

                patch.setattr(degrade, name, call)
            camera = CameraBlur(odds=tuple(float(k == kind) for k in KINDS), sensor_share=0.0)
            for seed in range(200):
                camera.degrade(chart(16, 16)[:8, :8], np.random.default_rng(seed))
        heard[kind] = calls
    assert len(heard["sharp"]) > 200
    assert all(calls == heard["sharp"] for calls in heard.values())
