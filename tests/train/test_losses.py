"""The losses."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from train.losses import LOSSES, distillation_loss, frequency_error, picture_loss  # noqa: E402
from train.presets import Recipe  # noqa: E402


def pictures(seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((2, 6, 10, channels), np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_one_number_per_picture_and_lowest_for_the_sharp_one(name: str, channels: int) -> None:
    sharp, other = pictures(0, channels), pictures(1, channels)
    assert LOSSES[name](sharp, other).shape == (2,)
    assert np.all(np.asarray(LOSSES[name](sharp, sharp)) < np.asarray(LOSSES[name](sharp, other)))


def test_the_frequency_error_equals_one_computed_with_numpy() -> None:
    sharp, restored = pictures(0), pictures(1)
    transform = np.fft.fft2(restored - sharp, axes=(1, 2))
    expected = (np.abs(transform.real) + np.abs(transform.imag)).mean(axis=(1, 2, 3)) / np.sqrt(6 * 10)
    np.testing.assert_allclose(np.asarray(frequency_error(sharp, restored)), expected, rtol=1e-4)


def test_the_recipe_sets_the_weight_of_the_frequency_error() -> None:
    sharp, restored = pictures(0), pictures(1)
    plain, error = np.asarray(LOSSES["charbonnier"](sharp, restored)), np.asarray(frequency_error(sharp, restored))
    both = picture_loss(Recipe(loss="charbonnier", fft_weight=0.25))(sharp, restored)
    np.testing.assert_allclose(np.asarray(both), plain + 0.25 * error, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_distillation_loss_adds_the_weighted_loss_against_the_teacher(channels: int) -> None:
    sharp, taught, restored = (pictures(seed, channels) for seed in (0, 1, 2))
    recipe = Recipe(loss="log_mse", teacher_weight=0.25, fft_weight=0.1)
    loss = picture_loss(recipe)
    expected = np.asarray(loss(sharp, restored)) + 0.25 * np.asarray(loss(taught, restored))
    both = np.concatenate([sharp, taught], axis=-1)
    np.testing.assert_allclose(np.asarray(distillation_loss(recipe)(both, restored)), expected, rtol=1e-5)


def test_the_last_share_of_the_epochs_minimises_the_last_loss() -> None:
    sharp, restored = pictures(0), pictures(1)
    recipe = Recipe(loss="charbonnier", last_loss="log_mse", last_share=0.25, epochs=8)
    for epoch in range(8):
        expected = LOSSES["charbonnier" if epoch < 6 else "log_mse"](sharp, restored)
        np.testing.assert_array_equal(np.asarray(picture_loss(recipe, epoch)(sharp, restored)), np.asarray(expected))
    whole = Recipe(loss="charbonnier", last_share=0.0, epochs=8)
    np.testing.assert_array_equal(
        np.asarray(picture_loss(whole, 7)(sharp, restored)), np.asarray(LOSSES["charbonnier"](sharp, restored))
    )
