"""Networks that do not turn a picture into a picture, or not for the declared size: each is refused with its fault."""

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
from keras import layers  # noqa: E402
from onnx import helper  # noqa: E402

from device.errors import BundleError  # noqa: E402
from export import to_tflite  # noqa: E402
from export.foreign.declared import Declared  # noqa: E402
from export.foreign.open_foreign import open_foreign  # noqa: E402

Call = Callable[..., Any]
HW = (64, 80)
RGB = Declared("rgb", (0, 1), 1)


def saved(network: keras.Model, path: Path) -> Path:
    network.save(path)
    return path


def two_inputs() -> keras.Model:
    one, other = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    return keras.Model([one, other], layers.Add()([one, other]))


def two_outputs() -> keras.Model:
    given = keras.Input((None, None, 3))
    return keras.Model(given, [layers.ReLU()(given), layers.Conv2D(3, 1)(given)])


def of(*chain: layers.Layer, shape: tuple = (None, None, 3)) -> keras.Model:
    given = x = keras.Input(shape)
    for layer in chain:
        x = layer(x)
    return keras.Model(given, x)


WRONG = {
    "two inputs": (two_inputs, "2 inputs and 1 outputs, expected one of each"),
    "two outputs": (two_outputs, "1 inputs and 2 outputs, expected one of each"),
    "four channels in": (lambda: of(layers.Conv2D(3, 1), shape=(None, None, 4)), "expected 3 channels, last, for --colour rgb"),
    "five channels out": (lambda: of(layers.Conv2D(5, 1)), r"makes \(1, 64, 80, 5\), expected \(1, height, width, 3\)"),
    "an upscaler": (lambda: of(layers.Conv2DTranspose(3, 2, strides=2)), r"makes \(66, 70, 3\) of \(33, 35, 3\)"),
    "a classifier": (lambda: of(layers.GlobalAveragePooling2D()), r"makes \(1, 3\), expected \(1, height, width, 3\)"),
    "a video": (lambda: of(layers.ReLU(), shape=(4, 32, 32, 3)), r"takes \(any, 4, 32, 32, 3\)"),
    "valid padding": (lambda: of(layers.Conv2D(3, 3)), r"makes \(31, 33, 3\) of \(33, 35, 3\), expected the same size"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("as_saved_model", [False, True])
def test_a_network_that_does_not_return_one_picture_of_the_same_size_is_refused(
    tmp_path: Path, what: str, as_saved_model: bool, generated: Call
) -> None:
    make, message = WRONG[what]
    network, path = make(), tmp_path / ("wrong" if as_saved_model else "wrong.keras")
    _ = network.export(path, verbose=False) if as_saved_model else saved(network, path)
    with pytest.raises(BundleError, match=message):
        open_foreign(path, RGB, generated, HW)


def test_a_keras_model_of_four_pictures_at_once_is_refused(tmp_path: Path, generated: Call) -> None:
    given = keras.Input(batch_shape=(4, 32, 32, 3))
    path = saved(keras.Model(given, layers.ReLU()(given)), tmp_path / "four.keras")
    with pytest.raises(BundleError, match="takes 4 pictures at once, expected 1"):
        open_foreign(path, RGB, generated)


def test_a_pad_multiple_that_is_too_small_is_refused_with_one_that_works(tmp_path: Path, generated: Call) -> None:
    given = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=4, padding="same")(given)
    x = layers.Conv2DTranspose(3, 4, strides=4, padding="same")(x)
    path = saved(keras.Model(given, x), tmp_path / "quarter.keras")
    with pytest.raises(BundleError, match=r"expected any multiple of 2 to work; multiples of 4 work: give --pad-multiple 4"):
        open_foreign(path, Declared("rgb", (0, 1), 2), generated, HW)
    assert open_foreign(path, Declared("rgb", (0, 1), 4), generated, HW).manifest.pad_multiple == 4


def test_an_onnx_model_that_makes_two_pictures_is_refused(tmp_path: Path, generated: Call, onnx_file: Call) -> None:
    model = onnx.load(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]))
    model.graph.output.append(helper.make_tensor_value_info("soft", 1, [1, 3, "h", "w"]))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(BundleError, match="1 inputs and 2 outputs, expected one of each"):
        open_foreign(tmp_path / "two.onnx", RGB, generated, HW)


def test_a_tflite_file_that_changes_the_size_is_refused(tmp_path: Path, generated: Call) -> None:
    network = keras.Model(given := keras.Input(batch_shape=(1, 32, 32, 3)), layers.Conv2DTranspose(3, 2, strides=2)(given))
    (tmp_path / "up.tflite").write_bytes(to_tflite.to_tflite(network, "fp32"))
    with pytest.raises(BundleError, match=r"makes \(64, 64, 3\) of \(32, 32, 3\)"):
        open_foreign(tmp_path / "up.tflite", RGB, generated)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float, generated: Call, onnx_file: Call) -> None:
    network = of(layers.Conv2D(3, 1))
    network.layers[1].kernel.assign(np.full((1, 1, 3, 3), value))
    with pytest.raises(BundleError, match="holds NaN or infinite weights"):
        open_foreign(saved(network, tmp_path / "n.keras"), RGB, generated, HW)
    network.export(tmp_path / "n", verbose=False)
    with pytest.raises(BundleError, match="holds NaN or infinite weights"):
        open_foreign(tmp_path / "n", RGB, generated, HW)
    path = onnx_file(tmp_path / "n.onnx", [1, 3, "h", "w"], scale=value)
    with pytest.raises(BundleError, match="makes NaN or infinite values"):
        open_foreign(path, RGB, generated, HW)
