import numpy as np
import pytest

from device.bundle.manifest import TensorSpec
from device.restore.pixel_codec import PixelCodec

FLOAT = TensorSpec("x", "float32")
ALL_LEVELS = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
EXACT = {
    "float32": FLOAT,
    "uint8": TensorSpec("x", "uint8", 1 / 255, 0),
    "int8": TensorSpec("x", "int8", 1 / 255, -128),
    "int8 as a converter stores the scale": TensorSpec("x", "int8", 0.003921568859368563, -128),
}


@pytest.mark.parametrize("spec", EXACT.values(), ids=EXACT)
def test_pixels_come_back_exactly(spec: TensorSpec) -> None:
    codec = PixelCodec(spec, spec)
    tensor = codec.to_tensor(ALL_LEVELS)
    assert tensor.dtype == spec.dtype
    assert tensor.shape == (1, 16, 16, 3)
    assert np.array_equal(codec.to_pixels(tensor, ALL_LEVELS), ALL_LEVELS)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3), (4, 4, 3), (97, 131, 3)])
@pytest.mark.parametrize("spec", EXACT.values(), ids=EXACT)
def test_channels_and_positions_keep_their_order_at_any_size(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    codec = PixelCodec(spec, spec)
    tensor = codec.to_tensor(pixels)
    assert tensor.shape == (1, *shape)
    assert np.allclose(codec.to_values(tensor)[0], pixels / 255, atol=1e-6)
    assert np.array_equal(codec.to_pixels(tensor, ALL_LEVELS), pixels)


def test_a_view_of_a_picture_is_accepted() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    part = picture[3:11, 5:21, ::-1]
    for spec in EXACT.values():
        codec = PixelCodec(spec, spec)
        assert np.array_equal(codec.to_pixels(codec.to_tensor(part), part), part)


def test_float_tensors_have_one_for_white() -> None:
    tensor = PixelCodec(FLOAT, FLOAT).to_tensor(ALL_LEVELS)
    assert tensor.min() == 0.0
    assert tensor.max() == 1.0
    assert np.allclose(tensor[0], ALL_LEVELS / 255, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(("scale", "zero_point"), [(0.0041, 3), (0.0123, -7), (0.0047, 11)])
def test_unusual_quantisation_costs_at_most_half_a_step(dtype: str, scale: float, zero_point: int) -> None:
    spec = TensorSpec("x", dtype, scale, zero_point)
    codec = PixelCodec(spec, spec)
    tensor = codec.to_tensor(ALL_LEVELS)
    limits = np.iinfo(dtype)
    stored = np.clip(np.rint(ALL_LEVELS / 255 / scale) + zero_point, limits.min, limits.max)
    assert np.array_equal(tensor[0], stored)
    unsaturated = (stored > limits.min) & (stored < limits.max)
    assert unsaturated.any()
    error = np.abs(codec.to_pixels(tensor, ALL_LEVELS).astype(float) - ALL_LEVELS)[unsaturated]
    assert error.max() <= 255 * scale / 2 + 0.5


def test_input_beyond_the_stored_range_saturates() -> None:
    spec = TensorSpec("x", "uint8", 1 / 510, 0)  # reaches 0.5
    tensor = PixelCodec(spec, spec).to_tensor(np.full((2, 2, 3), 255, np.uint8))
    assert (tensor == 255).all()


def test_stored_values_beyond_black_and_white_saturate() -> None:
    spec = TensorSpec("y", "int8", 0.01, 0)  # from -1.28 to 1.27
    tensor = np.array([-128, -1, 0, 50, 100, 127], np.int8).reshape(1, 1, 2, 3)
    codec = PixelCodec(FLOAT, spec)
    assert codec.to_pixels(tensor, ALL_LEVELS).ravel().tolist() == [0, 0, 0, 128, 255, 255]
    assert codec.to_values(tensor).ravel().tolist() == pytest.approx([-1.28, -0.01, 0.0, 0.5, 1.0, 1.27])


def test_negative_floats_become_black_and_large_ones_white() -> None:
    tensor = np.array([-3.0, -0.5, -1e-6, 1.0, 1.2, 900.0], np.float32).reshape(1, 1, 2, 3)
    assert PixelCodec(FLOAT, FLOAT).to_pixels(tensor, ALL_LEVELS).ravel().tolist() == [0, 0, 0, 255, 255, 255]


def test_floats_are_rounded_to_the_nearest_level() -> None:
    levels = np.array([10.4, 10.6, 99.49, 99.51, 254.4, 254.6], np.float32)
    pixels = PixelCodec(FLOAT, FLOAT).to_pixels((levels / 255).reshape(1, 2, 1, 3).astype(np.float32), ALL_LEVELS)
    assert pixels.ravel().tolist() == [10, 11, 99, 100, 254, 255]


def test_input_and_output_may_be_of_different_types() -> None:
    codec = PixelCodec(EXACT["uint8"], EXACT["int8"])
    tensor = codec.to_tensor(ALL_LEVELS)
    assert tensor.dtype == np.uint8
    assert np.array_equal(codec.to_pixels((tensor.astype(int) - 128).astype(np.int8), ALL_LEVELS), ALL_LEVELS)


@pytest.mark.parametrize("spec", [FLOAT, EXACT["uint8"], EXACT["int8"]], ids=lambda s: s.dtype)
def test_only_luma_goes_through_the_model_and_chroma_passes_through(spec: TensorSpec) -> None:
    codec = PixelCodec(spec, spec, "luma")
    picture = np.random.default_rng(0).integers(60, 190, (12, 16, 3), np.uint8)
    tensor = codec.to_tensor(picture)
    assert tensor.shape == (1, 12, 16, 1)
    assert np.array_equal(codec.to_pixels(tensor, picture), picture)
    brighter = PixelCodec(FLOAT, FLOAT, "luma").to_pixels((codec.to_values(tensor) + 20 / 255).astype(np.float32), picture)
    assert np.array_equal(brighter, picture + 20)
    white = PixelCodec(FLOAT, FLOAT, "luma").to_pixels(np.full((1, 12, 16, 1), 1.0, np.float32), picture)
    assert white.min() > 100
    assert white.dtype == np.uint8
