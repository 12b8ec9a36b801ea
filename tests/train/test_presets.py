"""Presets and their recipes. Needs no Keras."""

import subprocess
import sys

import pytest

from device.errors import UsageError
from device.images.degrade import BLURS, KINDS
from train.presets import PRESETS, Recipe, find_preset


def test_dense_is_trained_as_the_tutorial_trains_it() -> None:
    recipe, blur = PRESETS["dense"].recipe, BLURS[PRESETS["dense"].blur]
    assert (recipe.optimizer, recipe.learning_rate, recipe.loss, recipe.schedule) == ("adam", 1e-3, "mse", "plateau")
    assert (recipe.batch, recipe.epochs, recipe.patch, recipe.ema, recipe.precision) == (32, 100, 0, 0.0, "float32")
    assert (dict(zip(KINDS, blur.odds, strict=True))["literature"], blur.noise, blur.jpeg_share) == (1.0, (0.0, 0.0), 0.0)


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=rf"unknown preset 'smal'; did you mean 'small'\? Known: {', '.join(sorted(PRESETS))}"):
        find_preset("smal")


@pytest.mark.parametrize("name", PRESETS)
def test_find_preset_returns_the_preset_with_the_name(name: str) -> None:
    assert find_preset(name).name == name


def test_batches_of_larger_patches_have_about_as_many_pixels() -> None:
    assert Recipe(patch=96, batch=16, grow=(192, 384)).stages == ((96, 16), (192, 4), (384, 1))
    assert Recipe(patch=0).stages == ()


def test_presets_and_run_json_need_no_keras() -> None:
    code = "import sys; sys.modules.update(keras=None, tensorflow=None); import train.presets, train.run_folder"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
