"""The U-Net and the tutorial's network, built with Keras."""

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.errors import UsageError  # noqa: E402
from train.architectures import UNet, planes_of_architecture  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.networks.describe import macs_per_pixel, summary  # noqa: E402
from train.presets import PRESETS  # noqa: E402

COLOUR, DENSE = UNet(), PRESETS["dense"].architecture


def pictures(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(height + width).random((count, height, width, 3), np.float32)


# autoencoders with skips


def test_the_macs_of_small_equal_a_count_by_hand() -> None:
    # Level 0 has a quarter of the picture's pixels, level 1 a sixteenth, level 2 a sixty-fourth, level 3 a 256th.
    stem, head = 9 * 8 * 16 / 4, 9 * 16 * 4 / 4
    residual = [2 * 9 * 16 * 16 / 4, 2 * 9 * 32 * 32 / 16, 2 * 9 * 64 * 64 / 64, 2 * 9 * 64 * 64 / 256]
    down = 9 * 16 * 32 / 16 + 9 * 32 * 64 / 64 + 9 * 64 * 64 / 256
    up = 64 * 4 * 64 / 256 + 64 * 4 * 32 / 64 + 32 * 4 * 16 / 16
    assert macs_per_pixel(PRESETS["small"].architecture) == stem + down + 2 * sum(residual) + up + head == 8960


def test_an_untrained_network_passes_the_picture_through_exactly() -> None:
    blurred = pictures(64, 96, 2)
    for clip in (True, False):
        restored = build_network(COLOUR, clip=clip).predict_on_batch(blurred)
        np.testing.assert_array_equal(restored, blurred)


def test_it_takes_any_size_that_is_a_multiple_of_its_pad_multiple() -> None:
    network = build_network(COLOUR)
    assert COLOUR.pad_multiple == 8
    for height, width in ((8, 8), (24, 40), (8, 64), (104, 16)):
        assert network(pictures(height, width)).shape == (1, height, width, 3)


def test_an_unclipped_network_may_leave_the_range_and_a_clipped_one_may_not() -> None:
    free, kept = (build_network(COLOUR, 16, 16, clip=clip) for clip in (False, True))
    for network in (free, kept):
        network.get_layer("head").bias.assign(np.linspace(-2, 2, 12))
    blurred = pictures(16, 16)
    loose, tight = (np.asarray(network(blurred)) for network in (free, kept))
    assert loose.min() < 0
    assert loose.max() > 1
    np.testing.assert_array_equal(tight, loose.clip(0, 1))


def test_its_output_is_float32_under_a_mixed_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_network(COLOUR, 16, 16)
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.get_layer("down0").compute_dtype == "bfloat16"
    assert network.output.dtype == "float32"
    np.testing.assert_array_equal(np.asarray(network(pictures(16, 16))), pictures(16, 16))


@pytest.mark.parametrize("change", [{"block": "plain"}, {"block": "depthwise"}, {"skips": "concat"}])
def test_every_kind_of_block_and_skip_keeps_the_size_of_the_picture(change: dict) -> None:
    network = build_network(replace(COLOUR, **change))
    np.testing.assert_array_equal(
        np.asarray(network(pictures(24, 40))), pictures(24, 40)
    )  # an untrained network passes them through
    kinds = {type(layer).__name__ for layer in network.layers}
    assert ("Concatenate" in kinds, "DepthwiseConv2D" in kinds) == (
        change.get("skips") == "concat",
        change.get("block") == "depthwise",
    )


def test_the_configuration_alone_defines_a_wider_network() -> None:
    wide = UNet(widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(2,))
    assert wide.pad_multiple == 4
    assert build_network(wide)(pictures(12, 20)).shape == (1, 12, 20, 3)
    assert macs_per_pixel(wide) < macs_per_pixel(UNet(widths=(32, 64), encoder_blocks=(1, 1), decoder_blocks=(2,)))


# dense


@pytest.fixture(scope="module")
def autoencoder() -> keras.Model:
    return build_network(DENSE)


def test_dense_has_the_parameters_of_the_tutorial(autoencoder: keras.Model) -> None:
    assert autoencoder.count_params() == 34_951_683


def test_dense_is_an_autoencoder_of_an_encoder_and_a_decoder(autoencoder: keras.Model) -> None:
    assert autoencoder.name == "autoencoder"
    encoder, decoder = autoencoder.get_layer("encoder"), autoencoder.get_layer("decoder")
    assert encoder.input_shape == (None, 128, 128, 3)
    assert encoder.output_shape == decoder.input_shape == (None, 256)
    assert decoder.output_shape == autoencoder.output_shape == (None, 128, 128, 3)


def test_dense_is_the_tutorials_network_layer_by_layer(autoencoder: keras.Model) -> None:
    def described(layer: keras.layers.Layer) -> tuple:
        config = layer.get_config()
        wanted = ("filters", "units", "kernel_size", "strides", "padding", "activation")
        shape = layer.output.shape[1:]
        return (type(layer).__name__, tuple(shape), *(config[key] for key in wanted if key in config))

    encoder, decoder = autoencoder.get_layer("encoder"), autoencoder.get_layer("decoder")
    three = (3, 3)
    assert [described(layer) for layer in encoder.layers] == [
        ("InputLayer", (128, 128, 3)),
        ("Conv2D", (64, 64, 64), 64, three, (2, 2), "same", "relu"),
        ("Conv2D", (32, 32, 128), 128, three, (2, 2), "same", "relu"),
        ("Conv2D", (16, 16, 256), 256, three, (2, 2), "same", "relu"),
        ("Flatten", (65536,)),
        ("Dense", (256,), 256, "linear"),
    ]
    assert [described(layer) for layer in decoder.layers] == [
        ("InputLayer", (256,)),
        ("Dense", (65536,), 65536, "linear"),
        ("Reshape", (16, 16, 256)),
        ("Conv2DTranspose", (32, 32, 256), 256, three, (2, 2), "same", "relu"),
        ("Conv2DTranspose", (64, 64, 128), 128, three, (2, 2), "same", "relu"),
        ("Conv2DTranspose", (128, 128, 64), 64, three, (2, 2), "same", "relu"),
        ("Conv2DTranspose", (128, 128, 3), 3, three, (1, 1), "same", "sigmoid"),
    ]
    assert encoder.layers[-1].name == "latent_vector"


def test_the_macs_of_dense_equal_a_count_by_hand() -> None:
    down = 64**2 * 9 * 3 * 64 + 32**2 * 9 * 64 * 128 + 16**2 * 9 * 128 * 256
    latent = 2 * 65536 * 256
    up = 16**2 * 9 * 256 * 256 + 32**2 * 9 * 256 * 128 + 64**2 * 9 * 128 * 64 + 128**2 * 9 * 64 * 3
    assert macs_per_pixel(DENSE) == (down + latent + up) / 128**2 == 59504


def test_dense_takes_one_size_only() -> None:
    assert DENSE.fixed_hw == (128, 128)
    with pytest.raises(UsageError, match="dense works on 128x128 pictures only, not 128x256"):
        build_network(DENSE, 256, 128)


# every preset


@pytest.mark.parametrize(("name", "budget"), [("nano", 2000), ("small", 9000), ("base", 40000)])  # test_nafnet.py: teacher
def test_every_preset_keeps_its_budget_and_passes_pictures_through_untrained(name: str, budget: int) -> None:
    architecture = PRESETS[name].architecture
    assert macs_per_pixel(architecture) <= budget
    planes = planes_of_architecture(architecture)
    channels = planes if architecture.colour == "luma" else 3
    side = 3 * architecture.pad_multiple
    picture = np.random.default_rng(0).random((1, side, 2 * side, channels), np.float32)
    np.testing.assert_array_equal(np.asarray(build_network(architecture)(picture)), picture[..., planes - 1 :])


def test_the_summary_of_dense_shows_encoder_decoder_and_autoencoder() -> None:
    text = summary(DENSE)
    for word in ("encoder", "decoder", "autoencoder", "latent_vector", "34,951,683"):
        assert word in text
    assert "picture_residual" in summary(COLOUR)
