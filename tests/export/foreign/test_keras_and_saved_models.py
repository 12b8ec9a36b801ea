"""Other people's Keras models and SavedModels, through the loaders that wrap them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from device.bundle.manifest import TensorSpec  # noqa: E402
from device.images.degrade import to_float  # noqa: E402
from device.images.quality import psnr  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from export import to_onnx, to_tflite  # noqa: E402
from export.export_source import ExportSource  # noqa: E402
from export.foreign.declared import Declared  # noqa: E402
from export.foreign.open_foreign import open_foreign  # noqa: E402

Call = Callable[..., Any]
HW = (64, 80)
RGB = Declared("rgb", (0, 1), 2)
OfKeras = tuple[Path, keras.Model, ExportSource]
SEVEN = [("tflite", v) for v in ("fp32", "fp16", "dynamic", "int8")] + [("onnx", v) for v in ("fp32", "fp16", "int8")]
NEAR_DB = {"fp32": 80.0, "fp16": 50.0, "dynamic": 35.0, "int8": 25.0}


def saved(network: keras.Model, path: Path) -> Path:
    network.save(path)
    return path


@pytest.fixture(scope="module")
def of_saved_model(
    hourglass: Call, generated: Call, tmp_path_factory: pytest.TempPathFactory
) -> tuple[keras.Model, ExportSource]:
    """Keras 3.15 does not export a bilinear UpSampling2D of unknown size, so this one repeats pixels."""
    network, path = hourglass("nearest"), tmp_path_factory.mktemp("foreign") / "hourglass"
    network.export(path, verbose=False)
    return network, open_foreign(path, RGB, generated, HW)


@pytest.mark.parametrize(("format_", "variant"), SEVEN)
def test_every_file_of_a_keras_model_is_near_it(
    of_keras: OfKeras, format_: str, variant: str, generated: Call, outputs: Call
) -> None:
    network, source = of_keras[1:]
    blurred = generated(*HW).blurred
    expected = np.asarray(network(blurred))
    assert np.abs(expected - blurred).max() > 0.1
    assert psnr(outputs(source, format_, variant, blurred), expected, 1.0) > NEAR_DB[variant]


@pytest.mark.parametrize(("format_", "variant"), SEVEN)
def test_every_file_of_a_saved_model_is_near_it(
    of_saved_model: tuple[keras.Model, ExportSource], format_: str, variant: str, generated: Call, outputs: Call
) -> None:
    network, source = of_saved_model
    blurred = generated(*HW).blurred
    assert psnr(outputs(source, format_, variant, blurred), np.asarray(network(blurred)), 1.0) > NEAR_DB[variant]


def test_a_keras_model_of_any_size_stays_one(of_keras: OfKeras, outputs: Call) -> None:
    network, source = of_keras[1:]
    large = to_float(dead_leaves(96, 130, 9))[None]
    assert source.manifest.fixed_hw is None
    np.testing.assert_allclose(source.reference(large), np.asarray(network(large)), atol=1e-5)
    np.testing.assert_allclose(outputs(source, "onnx", "fp32", large), np.asarray(network(large)), atol=1e-4)


def test_a_saved_model_of_any_size_stays_one(of_saved_model: tuple[keras.Model, ExportSource], outputs: Call) -> None:
    network, source = of_saved_model
    large = to_float(dead_leaves(96, 130, 9))[None]
    assert source.manifest.fixed_hw is None
    np.testing.assert_allclose(outputs(source, "onnx", "fp32", large), np.asarray(network(large)), atol=1e-4)


def test_the_manifest_says_what_is_known_and_no_more(of_keras: OfKeras) -> None:
    path, network, source = of_keras
    manifest = source.manifest
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.architecture == {"kind": "foreign", "source": "hourglass.keras", "sha256": digest}
    assert (manifest.preset, manifest.colour, manifest.pad_multiple, manifest.halo) == ("foreign", "rgb", 2, 0)
    assert (manifest.trained.command, manifest.trained.data, manifest.trained.licence) == ("", "unknown", "MIT")
    assert manifest.parameters == network.count_params() - 4 * 8  # batch normalisation's become the convolution's
    # 3x3 kernels: 3 to 8 and (8 + 16) to 3 at each pixel, 8 to 16 at a quarter of them, 24 channels by themselves
    assert manifest.macs_per_pixel == 9 * (3 * 8 + 24 * 3 + 8 * 16 / 4 + 24)
    assert (source.weights, manifest.weights, manifest.artifacts) == (None, None, ())


def test_int8_files_are_calibrated_in_every_way_that_the_converter_has(of_keras: OfKeras) -> None:
    source = of_keras[2]
    assert [c.method for c in source.calibrations("tflite")] == ["minmax"]
    assert [c.method for c in source.calibrations("onnx")] == ["minmax", "percentile", "entropy"]
    before = onnx.load_from_string(source.fp32_onnx(source.calibrations("onnx")[0]))
    assert [v.name for v in (*before.graph.input, *before.graph.output)] == ["blurred", "restored"]


@pytest.mark.parametrize(("value_range", "as_saved_model"), [((-1.0, 1.0), False), ((0.0, 255.0), True)])
def test_another_range_is_put_into_the_files(
    tmp_path: Path, value_range: tuple[float, float], as_saved_model: bool, generated: Call, hourglass: Call, outputs: Call
) -> None:
    low, high = value_range
    inner = hourglass("nearest")
    given = keras.Input((None, None, 3))
    x = inner(layers.Rescaling(1 / (high - low), -low / (high - low))(given))
    network = keras.Model(given, layers.Rescaling(high - low, low)(x))
    path = tmp_path / ("ranged" if as_saved_model else "ranged.keras")
    _ = network.export(path, verbose=False) if as_saved_model else saved(network, path)
    source = open_foreign(path, Declared("rgb", value_range, 2), generated, HW)
    blurred = generated(*HW).blurred
    expected = np.asarray(inner(blurred))
    np.testing.assert_allclose(source.reference(blurred), expected, atol=1e-5)
    for format_, variant in SEVEN:
        assert psnr(outputs(source, format_, variant, blurred), expected, 1.0) > NEAR_DB[variant], (format_, variant)


def test_a_model_of_one_size_keeps_it(tmp_path: Path, generated: Call, hourglass: Call, outputs: Call) -> None:
    path = saved(hourglass(hw=(48, 32)), tmp_path / "fixed.keras")
    source = open_foreign(path, RGB, generated)
    assert source.manifest.fixed_hw == (48, 32)
    assert source.pictures.blurred.shape[1:3] == (48, 32)
    of_48_32 = to_float(dead_leaves(48, 32, 1))[None]
    for format_, variant in (("tflite", "fp32"), ("tflite", "int8"), ("onnx", "int8")):
        made = outputs(source, format_, variant, of_48_32)
        assert psnr(made, source.reference(of_48_32), 1.0) > NEAR_DB[variant], (format_, variant)


def test_a_luma_model_that_was_trained_in_half_precision_takes_and_gives_float32(
    tmp_path: Path, generated: Call, outputs: Call
) -> None:
    given = keras.Input((None, None, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", dtype="mixed_float16")(given)
    path = saved(keras.Model(given, layers.Conv2D(1, 3, padding="same", dtype="mixed_float16")(x)), tmp_path / "half.keras")
    source = open_foreign(path, Declared("luma", (0, 1), 1), lambda height, width: generated(height, width, 1), HW)
    luma = generated(*HW).blurred[..., :1]
    assert source.reference(luma).dtype == np.float32
    assert psnr(outputs(source, "tflite", "fp32", luma), source.reference(luma), 1.0) > 50


def test_a_nested_model_with_a_compiled_inside_is_taken(tmp_path: Path, generated: Call, outputs: Call) -> None:
    inner = keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.UpSampling2D(2, interpolation="bilinear")])
    given = keras.Input((None, None, 3))
    network = keras.Model(given, layers.AveragePooling2D(2)(inner(given)))
    network.compile("adam", "mse")
    source = open_foreign(saved(network, tmp_path / "nested.keras"), Declared("rgb", (0, 1), 1), generated, HW)
    blurred = generated(*HW).blurred
    assert psnr(outputs(source, "onnx", "fp32", blurred), np.asarray(network(blurred)), 1.0) > 80


def test_a_plain_tensorflow_module_with_its_own_names_is_taken(tmp_path: Path, generated: Call, outputs: Call) -> None:
    class Halved(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.half = tf.Variable(0.5)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="img")])
        def __call__(self, img: tf.Tensor) -> dict:
            return {"sharp": tf.nn.relu(img) * self.half}

    module = Halved()
    tf.saved_model.save(module, str(tmp_path / "halved"), signatures={"serving_default": module.__call__})
    source = open_foreign(tmp_path / "halved", Declared("rgb", (0, 1), 1), generated, HW)
    blurred = generated(*HW).blurred
    for format_ in ("tflite", "onnx"):
        np.testing.assert_allclose(outputs(source, format_, "fp32", blurred), blurred / 2, atol=1e-6)
    assert source.manifest.parameters == 1


def test_the_weights_of_a_frozen_saved_model_are_counted(tmp_path: Path, generated: Call) -> None:
    kernel = np.full((3, 3, 3, 3), 0.01, np.float32)

    class Frozen(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict:
            return {"y": tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")}

    module = Frozen()
    tf.saved_model.save(module, str(tmp_path / "frozen"), signatures={"serving_default": module.__call__})
    manifest = open_foreign(tmp_path / "frozen", Declared("rgb", (0, 1), 1), generated, HW).manifest
    assert (manifest.parameters, manifest.macs_per_pixel) == (81, 81)


def test_the_contract_of_a_file_is_float32_from_black_to_white(of_keras: OfKeras, converted: Call) -> None:
    for format_, specs in (("tflite", to_tflite.tflite_specs), ("onnx", to_onnx.onnx_specs)):
        data = converted(of_keras[2], format_, "fp32")
        assert [(s.dtype, s.scale) for s in specs(data)] == [("float32", TensorSpec("", "").scale)] * 2
