"""A larger network initialised from a smaller one."""

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.images.degrade import LUMA  # noqa: E402
from train.architectures import UNet  # noqa: E402
from train.net2net import can_grow, grow  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.presets import PRESETS  # noqa: E402

SMALL = UNet(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))


@pytest.mark.parametrize(
    "larger",
    [
        replace(SMALL, colour="luma"),
        replace(SMALL, encoder_blocks=(1, 3), decoder_blocks=(2,)),
        replace(SMALL, widths=(8, 16, 24), encoder_blocks=(1, 1, 2), decoder_blocks=(1, 0), colour="luma"),
    ],
    ids=["luma", "blocks", "a level"],
)
def test_the_larger_network_initially_equals_the_smaller_on_grey_pictures(larger: UNet) -> None:
    assert can_grow(SMALL, larger)
    rng = np.random.default_rng(0)
    small, large = build_network(SMALL, clip=False), build_network(larger, clip=False)
    small.set_weights([w + rng.normal(0, 0.05, w.shape) for w in small.get_weights()])
    grow(small, large)
    grey = rng.random((1, 32, 48, 1), dtype=np.float32)
    expected = np.asarray(small(np.repeat(grey, 3, -1)))
    assert np.abs(expected - grey).max() > 0.01
    inputs = grey if larger.colour == "luma" else np.repeat(grey, 3, -1)
    assert np.abs(np.asarray(large(inputs)) - (expected @ LUMA[:, None] if larger.colour == "luma" else expected)).max() < 1e-5


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_second_plane_begins_unseen_and_is_what_the_residual_is_added_to(colour: str) -> None:
    one, two = replace(SMALL, colour=colour), replace(SMALL, colour="luma", planes=2)
    assert can_grow(one, two)
    assert not can_grow(two, replace(two, planes=1))
    rng = np.random.default_rng(0)
    small, large = build_network(one, clip=False), build_network(two, clip=False)
    small.set_weights([w + rng.normal(0, 0.05, w.shape) for w in small.get_weights()])
    grow(small, large)
    seen, deconvolved = rng.random((2, 1, 32, 48, 1), dtype=np.float32)
    grey = seen if colour == "luma" else np.repeat(seen, 3, -1)
    expected = np.asarray(small(grey)) @ (LUMA[:, None] if colour == "rgb" else np.ones((1, 1), np.float32))
    blind = np.asarray(large(np.concatenate([seen, seen], -1)))
    assert np.abs(blind - expected).max() < 1e-6
    told = np.asarray(large(np.concatenate([seen, deconvolved], -1)))
    assert np.abs(told - deconvolved - (expected - seen)).max() < 1e-5


def test_all_new_layers_learn() -> None:
    larger = UNet(widths=(8, 16, 24), encoder_blocks=(1, 2, 2), decoder_blocks=(2, 1))
    small, large = build_network(SMALL, clip=False), build_network(larger, clip=False)
    rng = np.random.default_rng(0)
    small.set_weights([w + rng.normal(0, 0.05, w.shape) for w in small.get_weights()])
    grow(small, large)
    before = {layer.name: layer.get_weights()[0] for layer in large.layers if layer.weights}
    large.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=True)
    for _ in range(4):
        blurred = rng.random((2, 32, 48, 3), dtype=np.float32)
        large.train_on_batch(blurred, 0.8 * blurred)
    assert not [name for name, kernel in before.items() if np.array_equal(large.get_layer(name).get_weights()[0], kernel)]


@pytest.mark.parametrize(
    "other",
    [
        UNet(widths=(8, 24), encoder_blocks=(1, 1), decoder_blocks=(1,)),
        replace(SMALL, encoder_blocks=(0, 1)),
        replace(SMALL, stem=4),
        replace(SMALL, block="plain"),
        replace(SMALL, skips="concat"),
        PRESETS["dense"].architecture,
    ],
    ids=["width", "fewer blocks", "stem", "block", "skips", "dense"],
)
def test_another_network_is_not_a_larger_one(other: UNet) -> None:
    assert not can_grow(SMALL, other)
    assert not can_grow(replace(SMALL, colour="luma"), SMALL)
