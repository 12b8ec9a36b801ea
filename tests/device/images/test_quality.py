import numpy as np
import pytest

from device.images.degrade import gaussian_blur, jpeg, to_float, to_pixels
from device.images.frame import Pixels
from device.images.quality import largest_channel_accuracy, mean_psnr, psnr, ssim


def spoiled(picture: Pixels) -> dict[str, Pixels]:
    noise = np.random.default_rng(0).normal(0, 9, picture.shape)
    return {
        "blurred": to_pixels(gaussian_blur(to_float(picture), 1.6)),
        "noisy": np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8),
        "jpeg": jpeg(picture, 40),
        "darker": (picture * 0.7).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", ["blurred", "noisy", "jpeg", "darker"])
def test_psnr_and_ssim_equal_those_of_scikit_image(picture: Pixels, kind: str) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    colour = pytest.importorskip("cv2")
    other = spoiled(picture)[kind]
    assert psnr(other, picture) == pytest.approx(metrics.peak_signal_noise_ratio(picture, other), abs=1e-9)
    a, b = (colour.cvtColor(p, colour.COLOR_RGB2GRAY) for p in (picture, other))
    _, everywhere = metrics.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11, data_range=255, full=True
    )
    # scikit-image's mean omits a border of 5 pixels; its map does not.
    assert ssim(picture, other) == pytest.approx(float(everywhere.mean()), abs=1e-5)


def test_psnr_of_a_known_error_is_known() -> None:
    black = np.zeros((8, 9, 3), np.uint8)
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(black, np.full_like(black, 255)) == pytest.approx(0.0)
    assert psnr(np.zeros((4, 4)), np.full((4, 4), 0.1), peak=1.0) == pytest.approx(20.0)


def test_psnr_does_not_wrap_around_in_bytes() -> None:
    a, b = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 20, np.uint8)
    assert psnr(a, b) == psnr(b, a) == pytest.approx(20 * np.log10(25.5))


def test_equal_pictures_have_the_highest_psnr_and_ssim(picture: Pixels) -> None:
    assert psnr(picture, picture) == 99.0
    assert ssim(picture, picture) == pytest.approx(1.0)


def test_ssim_of_two_flat_pictures_is_its_luminance_term() -> None:
    a, b = (np.full((20, 20, 3), level, np.uint8) for level in (100, 150))
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1), abs=1e-6)


def test_ssim_is_symmetric_and_falls_with_more_blur(picture: Pixels) -> None:
    values = [ssim(to_pixels(gaussian_blur(to_float(picture), sigma)), picture) for sigma in (0.8, 1.6, 3.2)]
    assert values == sorted(values, reverse=True)
    soft = to_pixels(gaussian_blur(to_float(picture), 1.6))
    assert ssim(soft, picture) == pytest.approx(ssim(picture, soft))


def test_largest_channel_accuracy_gives_ties_to_the_first_channel() -> None:
    sharp = np.array([[[9, 1, 1], [1, 9, 1], [1, 1, 9], [5, 5, 5]]], np.uint8)
    restored = np.array([[[8, 2, 2], [9, 1, 1], [1, 1, 7], [4, 4, 3]]], np.uint8)
    assert largest_channel_accuracy(restored, sharp) == 0.75


def test_in_a_mean_one_perfect_picture_does_not_outweigh_the_others() -> None:
    rng = np.random.default_rng(0)
    sharp = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(2)]
    soft = np.clip(sharp[1].astype(int) + rng.integers(-20, 21, sharp[1].shape), 0, 255).astype(np.uint8)
    assert mean_psnr(sharp, [sharp[0], soft]) == pytest.approx((50 + psnr(sharp[1], soft)) / 2)
