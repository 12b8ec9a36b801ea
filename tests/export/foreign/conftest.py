"""A foreign network in another style than the kit's own, and the harmless one that hostile files are derived from."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from device.errors import BundleError
from device.images.degrade import to_float
from device.images.scenes import chart, dead_leaves
from device.restore.pixel_codec import PixelCodec
from device.runtimes import open_runtime

if TYPE_CHECKING:
    import keras

    from export.export_source import ExportSource, Pictures

# Tests without Keras skip before they ask for these, so they import it only then.


@pytest.fixture(scope="session")
def generated() -> "Callable[..., Pictures]":
    """`generated(height, width, channels=3)`: the pictures that `open_foreign` asks for."""
    from export.export_source import Pictures

    def make(height: int, width: int, channels: int = 3) -> Pictures:
        made = np.stack([*(to_float(dead_leaves(height, width, i)) for i in range(5)), to_float(chart(height, width, seed=6))])
        ramp = np.linspace(0, 1, width, dtype=np.float32)[None, None, :, None] * np.ones((1, height, 1, channels), np.float32)
        return Pictures([ramp, *(p[None, ..., :channels] for p in made)], made[:2], made[:2], "generated pictures")

    return make


@pytest.fixture(scope="session")
def hourglass() -> "Callable[..., keras.Model]":
    """`hourglass(interpolation, hw)`: half a dozen kinds of layers that the kit itself does not use."""
    import keras
    from keras import layers

    def make(interpolation: str = "bilinear", hw: tuple[int | None, int | None] = (None, None)) -> keras.Model:
        keras.utils.set_random_seed(4)
        given = keras.Input((*hw, 3))
        x = layers.Conv2D(8, 3, padding="same", use_bias=False)(given)
        x = layers.BatchNormalization()(x)
        fine = layers.PReLU(shared_axes=[1, 2], alpha_initializer=keras.initializers.Constant(0.2))(x)
        x = layers.Conv2D(16, 3, strides=2, padding="same")(fine)
        x = layers.LeakyReLU(0.1)(layers.ReLU(6.0)(x))
        x = layers.UpSampling2D(2, interpolation=interpolation)(x)
        x = layers.Concatenate()([x, fine])
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        network = keras.Model(given, layers.Conv2D(3, 3, padding="same", activation="sigmoid")(x))
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_mean.assign(np.linspace(-0.2, 0.2, 8))
                layer.moving_variance.assign(np.linspace(0.5, 1.5, 8))
        return network

    return make


@pytest.fixture(scope="session")
def of_keras(
    hourglass: "Callable[..., keras.Model]", generated: "Callable[..., Pictures]", tmp_path_factory: pytest.TempPathFactory
) -> "tuple[Path, keras.Model, ExportSource]":
    """The hourglass in a .keras file: the file, the network, and the opened source."""
    from export.foreign.declared import Declared
    from export.foreign.open_foreign import open_foreign

    network, path = hourglass(), tmp_path_factory.mktemp("foreign") / "hourglass.keras"
    network.save(path)
    return path, network, open_foreign(path, Declared("rgb", (0, 1), 2, "MIT"), generated, (64, 80))


@pytest.fixture(scope="session")
def converted() -> "Callable[[ExportSource, str, str], bytes]":
    """`converted(source, format_, variant)`: the file, calibrated in the first way if needed; each is converted once."""

    @cache
    def convert(source: "ExportSource", format_: str, variant: str) -> bytes:
        calibration = next(iter(source.calibrations(format_)), None) if variant == "int8" else None
        return source.convert(format_, variant, calibration)

    return convert


@pytest.fixture
def outputs(converted: "Callable[[ExportSource, str, str], bytes]", tmp_path: Path) -> "Callable[..., np.ndarray]":
    """`outputs(source, format_, variant, tensors)`: that file's outputs, through the runtime that a board uses."""
    from export import to_onnx, to_tflite

    def run(source: "ExportSource", format_: str, variant: str, tensors: np.ndarray) -> np.ndarray:
        data, path = converted(source, format_, variant), tmp_path / f"outputs.{format_}"
        path.write_bytes(data)
        given, made = to_tflite.tflite_specs(data) if format_ == "tflite" else to_onnx.onnx_specs(data)
        codec = PixelCodec(given, made, "rgb" if tensors.shape[3] == 3 else "luma")
        runtime = open_runtime({"tflite": "litert", "onnx": "onnxruntime"}[format_], path, 1)
        if given.dtype != "float32":
            tensors = [codec.to_tensor(np.rint(t * 255).astype(np.uint8))[0] for t in tensors]
        made_of = np.concatenate([codec.to_values(runtime.run(np.ascontiguousarray(t[None]))) for t in tensors])
        runtime.close()
        return made_of

    return run


@pytest.fixture(scope="session")
def onnx_file() -> Callable[..., Path]:
    """`onnx_file(path, shape, …)`: a blur of 3x3 pixels and a skip, as PyTorch writes them: NCHW by default."""
    import onnx
    from onnx import helper, numpy_helper

    def write(path: Path, shape: list[Any], *, channels_first: bool = True, scale: float = 1.0, element: int = 1) -> Path:
        channels = shape[1] if channels_first else shape[3]
        kernel = np.zeros((channels, channels, 3, 3), np.float32)
        kernel[range(channels), range(channels)] = -1 / 9
        dtype = helper.tensor_dtype_to_np_dtype(element)
        weights = [
            numpy_helper.from_array((scale * kernel).astype(dtype), "kernel"),
            numpy_helper.from_array(np.array(2, dtype), "two"),
        ]
        nodes = [
            helper.make_node("Conv", ["x" if channels_first else "first", "kernel"], ["soft"], pads=[1, 1, 1, 1]),
            helper.make_node("Mul", ["x", "two"], ["twice"]),
            helper.make_node("Add", ["twice", "soft" if channels_first else "last"], ["restored"]),
        ]
        if not channels_first:
            nodes.insert(0, helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
            nodes.insert(2, helper.make_node("Transpose", ["soft"], ["last"], perm=[0, 2, 3, 1]))
        ends = [helper.make_tensor_value_info(name, element, shape) for name in ("x", "restored")]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, path)
        return path

    return write


# hostile files


@pytest.fixture(scope="session")
def opened() -> "Callable[[Path], ExportSource]":
    """`opened(path)`: the source, with nothing unusual declared."""
    from export.export_source import Pictures
    from export.foreign.declared import Declared
    from export.foreign.open_foreign import open_foreign

    def black(height: int, width: int) -> Pictures:
        picture = np.zeros((1, height, width, 3), np.float32)
        return Pictures([picture], picture, picture, "black")

    return lambda path: open_foreign(path, Declared("rgb", (0, 1), 1), black, (32, 32))


@pytest.fixture(scope="session")
def good(opened: "Callable[[Path], ExportSource]", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one harmless network in every file format. Do not write to it."""
    import keras
    from keras import layers

    given, folder = keras.Input((None, None, 3)), tmp_path_factory.mktemp("good")
    network = keras.Model(given, layers.Conv2D(3, 3, padding="same", activation="relu", bias_initializer="ones")(given))
    network.save(folder / "plain.keras")
    network.export(folder / "plain", verbose=False)
    source = opened(folder / "plain.keras")
    for format_ in ("onnx", "tflite"):
        (folder / f"plain.{format_}").write_bytes(source.convert(format_, "fp32", None))
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """An empty folder for a hostile model, in a folder where nothing else may appear."""
    (tmp_path / "m").mkdir()
    return tmp_path / "m"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a hostile model would write; it must never appear."""
    return tmp_path / "canary"


@pytest.fixture
def refused(opened: "Callable[[Path], ExportSource]", canary: Path) -> Callable[[Path, str], None]:
    """`refused(path, message)`: it is refused, nothing of it was run, and nothing was written next to it."""

    def check(path: Path, message: str) -> None:
        before = sorted(path.parent.parent.rglob("*"))
        with pytest.raises(BundleError, match=message) as caught:
            opened(path)
        assert caught.value.exit_code == 4
        assert not canary.exists()
        assert sorted(path.parent.parent.rglob("*")) == before

    return check
