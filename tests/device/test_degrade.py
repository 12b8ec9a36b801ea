from typing import Any

import numpy as np
import pytest

from device import degrade
from device.degrade import GaussianCamera, add_noise, gaussian_blur, gaussian_taps, jpeg, to_float, to_pixels
from device.frame import Pixels
from device.scene import chart

QUIET = GaussianCamera(sharp_share=0.0, noise=(0.0, 0.0), jpeg_share=0.0)


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 1.6, 4.0])
def test_a_kernel_sums_to_one_and_is_symmetric(sigma: float) -> None:
    taps = gaussian_taps(sigma)
    assert taps.sum() == pytest.approx(1, abs=1e-12)
    assert np.array_equal(taps, taps[::-1])
    assert taps.argmax() == len(taps) // 2


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.6, 2.4, 4.0])
def test_a_point_of_light_is_spread_by_the_sigma_asked_for(sigma: float) -> None:
    point = np.zeros((65, 65, 3), np.float32)
    point[32, 32] = 1
    spread = gaussian_blur(point, sigma)[..., 1].astype(np.float64)
    y, x = np.mgrid[-32:33, -32:33]
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((spread * x**2).sum()) == pytest.approx(sigma, rel=0.005)
    assert np.sqrt((spread * y**2).sum()) == pytest.approx(sigma, rel=0.005)


def test_a_blur_keeps_a_flat_picture_and_its_borders() -> None:
    assert np.allclose(gaussian_blur(np.full((9, 30, 3), 0.25, np.float32), 4.0), 0.25, atol=1e-6)


def test_no_sigma_is_no_blur(picture: Pixels) -> None:
    assert np.array_equal(gaussian_blur(to_float(picture), 0.0), to_float(picture))


def test_pixels_and_floats_convert_without_loss_and_saturate(picture: Pixels) -> None:
    assert np.array_equal(to_pixels(to_float(picture)), picture)
    assert to_pixels(np.array([[[-0.5, 0.5, 1.5]]], np.float32)).ravel().tolist() == [0, 128, 255]


def test_noise_has_the_deviation_asked_for_and_no_mean() -> None:
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
        return [GaussianCamera().degrade(sharp, rng) for _ in range(5)]

    assert all(np.array_equal(a, b) for a, b in zip(draw(7), draw(7), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(draw(7), draw(8), strict=True))


def test_the_sharp_picture_is_not_written_to(picture: Pixels) -> None:
    before = picture.copy()
    GaussianCamera().degrade(picture, np.random.default_rng(0), trim=4)
    assert np.array_equal(picture, before)


def test_a_crop_with_its_margin_is_blurred_as_in_the_whole_picture() -> None:
    whole, margin, sigma = chart(160, 200), QUIET.margin_px, 4.0
    camera = GaussianCamera((sigma, sigma), 0.0, (0.0, 0.0), 0.0)
    crop = whole[40 - margin : 104 + margin, 50 - margin : 130 + margin]
    got = camera.degrade(crop, np.random.default_rng(0), trim=margin)
    assert got.shape == (64, 80, 3)
    expected = to_pixels(gaussian_blur(to_float(whole), sigma))[40:104, 50:130]
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_only_sharp_pictures_pass_unharmed(picture: Pixels) -> None:
    always = GaussianCamera(sharp_share=1.0, noise=(0.0, 0.0), jpeg_share=0.0)
    assert np.array_equal(always.degrade(picture, np.random.default_rng(0)), picture)
    assert not np.array_equal(QUIET.degrade(picture, np.random.default_rng(0)), picture)


@pytest.fixture(scope="module")
def draws() -> dict[str, np.ndarray]:
    """What 6000 draws of the default camera asked for. Only listens: the real functions do the work."""
    heard: list[dict[str, Any]] = []
    real = {name: getattr(degrade, name) for name in ("gaussian_blur", "add_noise", "jpeg")}
    asked = {"gaussian_blur": "blur", "add_noise": "noise", "jpeg": "quality"}

    def listen(name: str) -> Any:
        def call(picture: np.ndarray, amount: float, *rest: Any) -> np.ndarray:
            heard[-1][asked[name]] = amount
            return real[name](picture, amount, *rest)

        return call

    sharp, rng, camera = chart(16, 16)[:8, :8], np.random.default_rng(0), GaussianCamera()
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
    assert np.abs(correlation[:2, 2:]).max() < limit  # blur with all the rest
    assert np.abs(correlation[2:4, 4]).max() < limit  # noise with JPEG
    through = draws["quality"] > 0
    assert abs(np.corrcoef(draws["blur"][through], draws["quality"][through])[0, 1]) < 4 / np.sqrt(through.sum())


def test_shares_and_ranges_are_those_of_the_camera(draws: dict[str, np.ndarray]) -> None:
    camera = GaussianCamera()
    blurred, noisy, through = draws["blur"][draws["blur"] > 0], draws["noise"][draws["noise"] > 0], draws["quality"] > 0
    assert np.mean(draws["blur"] == 0) == pytest.approx(camera.sharp_share, abs=0.02)
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


def test_a_blur_is_seen_by_its_sigma_in_the_degraded_picture() -> None:
    edge = np.repeat((np.arange(64) >= 32)[None, :, None] * np.uint8(200) + np.uint8(20), 3, 2).repeat(16, 0)
    for sigma in (1.0, 2.0, 4.0):
        camera = GaussianCamera((sigma, sigma), 0.0, (0.0, 0.0), 0.0)
        row = camera.degrade(edge, np.random.default_rng(0))[8, :, 0].astype(float)
        slope = np.diff(row)
        x = np.arange(63) - 31
        assert np.sqrt((slope * x**2).sum() / slope.sum()) == pytest.approx(sigma, rel=0.03)
