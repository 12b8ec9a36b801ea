"""Networks of other people, built here in other styles than the house's, through the loaders that wrap them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from device.degrade import to_float  # noqa: E402
from device.errors import BundleError, ExportError  # noqa: E402
from device.frame import PixelCodec, TensorSpec  # noqa: E402
from device.quality import psnr  # noqa: E402
from device.runtimes import open_runtime  # noqa: E402
from device.scene import chart, dead_leaves  # noqa: E402
from export import to_onnx, to_tflite  # noqa: E402
from export.foreign import Declared, open_foreign  # noqa: E402
from export.subject import Pictures, Subject  # noqa: E402

HW = (64, 80)
SEVEN = [("tflite", v) for v in ("fp32", "fp16", "dynamic", "int8")] + [("onnx", v) for v in ("fp32", "fp16", "int8")]
NEAR_DB = {"fp32": 80.0, "fp16": 50.0, "dynamic": 35.0, "int8": 25.0}


def pictures(channels: int = 3, hw: tuple[int, int] = HW) -> Pictures:
    made = np.stack([to_float(dead_leaves(*hw, i)) for i in range(5)] + [to_float(chart(*hw, seed=6))])
    ramp = np.linspace(0, 1, hw[1], dtype=np.float32)[None, None, :, None] * np.ones((1, hw[0], 1, channels), np.float32)
    return Pictures([ramp, *(p[None, ..., :channels] for p in made)], made[:2], made[:2], "generated pictures")


RGB = Declared("rgb", (0, 1), 2, "MIT")


def hourglass(interpolation: str = "bilinear", hw: tuple[int | None, int | None] = (None, None)) -> keras.Model:
    """Half a dozen layers of a kind that the house does not use."""
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


def saved(network: keras.Model, path: Path) -> Path:
    network.save(path)
    return path


def outputs(subject: Subject, format_: str, variant: str, tensors: np.ndarray, folder: Path) -> np.ndarray:
    """What the converted file makes of them, through the runtime that a board uses."""
    calibration = subject.calibrations(format_)[0] if variant == "int8" else None
    data = subject.convert(format_, variant, calibration)
    path = folder / f"{variant}.{format_}"
    path.write_bytes(data)
    given, made = to_tflite.tflite_specs(data) if format_ == "tflite" else to_onnx.onnx_specs(data)
    colour = "rgb" if tensors.shape[3] == 3 else "luma"
    codec, runtime = PixelCodec(given, made, colour), open_runtime({"tflite": "litert", "onnx": "onnxruntime"}[format_], path, 1)
    if given.dtype != "float32":
        tensors = [codec.to_tensor(np.rint(t * 255).astype(np.uint8))[0] for t in tensors]
    made_of = np.concatenate([codec.to_values(runtime.run(np.ascontiguousarray(t[None]))) for t in tensors])
    runtime.close()
    return made_of


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return hourglass()


@pytest.fixture(scope="module")
def of_keras(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Subject]:
    path = saved(network, tmp_path_factory.mktemp("foreign") / "hourglass.keras")
    return path, open_foreign(path, RGB, pictures(), HW)


@pytest.fixture(scope="module")
def of_saved_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Subject]:
    """Keras 3.15 does not export a bilinear UpSampling2D of unknown size, so this one repeats pixels."""
    network, path = hourglass("nearest"), tmp_path_factory.mktemp("foreign") / "hourglass"
    network.export(path, verbose=False)
    return network, open_foreign(path, RGB, pictures(), HW)


# .keras and SavedModel


@pytest.mark.parametrize(("format_", "variant"), SEVEN)
def test_every_file_of_a_keras_model_is_near_it(
    of_keras: tuple[Path, Subject], network: keras.Model, tmp_path: Path, format_: str, variant: str
) -> None:
    blurred = pictures().blurred
    expected = np.asarray(network(blurred))
    assert np.abs(expected - blurred).max() > 0.1
    assert psnr(outputs(of_keras[1], format_, variant, blurred, tmp_path), expected, 1.0) > NEAR_DB[variant]


@pytest.mark.parametrize(("format_", "variant"), SEVEN)
def test_every_file_of_a_saved_model_is_near_it(
    of_saved_model: tuple[keras.Model, Subject], tmp_path: Path, format_: str, variant: str
) -> None:
    network, subject = of_saved_model
    blurred = pictures().blurred
    assert psnr(outputs(subject, format_, variant, blurred, tmp_path), np.asarray(network(blurred)), 1.0) > NEAR_DB[variant]


def test_a_keras_model_of_any_size_stays_one(of_keras: tuple[Path, Subject], network: keras.Model, tmp_path: Path) -> None:
    subject, large = of_keras[1], to_float(dead_leaves(96, 130, 9))[None]
    assert subject.manifest.fixed_hw is None
    np.testing.assert_allclose(subject.reference(large), np.asarray(network(large)), atol=1e-5)
    np.testing.assert_allclose(outputs(subject, "onnx", "fp32", large, tmp_path), np.asarray(network(large)), atol=1e-4)


def test_a_saved_model_of_any_size_stays_one(of_saved_model: tuple[keras.Model, Subject], tmp_path: Path) -> None:
    network, subject = of_saved_model
    large = to_float(dead_leaves(96, 130, 9))[None]
    assert subject.manifest.fixed_hw is None
    np.testing.assert_allclose(outputs(subject, "onnx", "fp32", large, tmp_path), np.asarray(network(large)), atol=1e-4)


def test_the_manifest_says_what_is_known_and_no_more(of_keras: tuple[Path, Subject], network: keras.Model) -> None:
    path, subject = of_keras
    manifest = subject.manifest
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.architecture == {"kind": "foreign", "source": "hourglass.keras", "sha256": digest}
    assert (manifest.preset, manifest.colour, manifest.pad_multiple, manifest.halo) == ("foreign", "rgb", 2, 0)
    assert (manifest.trained.command, manifest.trained.data, manifest.trained.licence) == ("", "unknown", "MIT")
    assert manifest.parameters == network.count_params()
    # 3x3 kernels: 3 to 8 and (8 + 16) to 3 at each pixel, 8 to 16 at a quarter of them, 24 channels by themselves
    assert manifest.macs_per_pixel == 9 * (3 * 8 + 24 * 3 + 8 * 16 / 4 + 24)
    assert (subject.weights, manifest.weights, manifest.artifacts) == (None, None, ())


def test_int8_files_are_calibrated_in_every_way_that_the_converter_has(of_keras: tuple[Path, Subject]) -> None:
    subject = of_keras[1]
    assert [c.method for c in subject.calibrations("tflite")] == ["minmax"]
    assert [c.method for c in subject.calibrations("onnx")] == ["minmax", "percentile", "entropy"]
    before = onnx.load_from_string(subject.before_int8(subject.calibrations("onnx")[0]))
    assert [v.name for v in (*before.graph.input, *before.graph.output)] == ["blurred", "restored"]


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("as_saved_model", [False, True])
def test_another_range_is_put_into_the_files(tmp_path: Path, value_range: tuple[float, float], as_saved_model: bool) -> None:
    low, high = value_range
    inner = hourglass("nearest")
    given = keras.Input((None, None, 3))
    x = inner(layers.Rescaling(1 / (high - low), -low / (high - low))(given))
    network = keras.Model(given, layers.Rescaling(high - low, low)(x))
    path = tmp_path / ("ranged" if as_saved_model else "ranged.keras")
    _ = network.export(path, verbose=False) if as_saved_model else saved(network, path)
    subject = open_foreign(path, Declared("rgb", value_range, 2), pictures(), HW)
    blurred = pictures().blurred
    expected = np.asarray(inner(blurred))
    np.testing.assert_allclose(subject.reference(blurred), expected, atol=1e-5)
    for format_, variant in SEVEN:
        assert psnr(outputs(subject, format_, variant, blurred, tmp_path), expected, 1.0) > NEAR_DB[variant], (format_, variant)


def test_a_model_of_one_size_keeps_it(tmp_path: Path) -> None:
    path = saved(hourglass(hw=(48, 32)), tmp_path / "fixed.keras")
    subject = open_foreign(path, RGB, pictures(), HW)
    assert subject.manifest.fixed_hw == (48, 32)
    of_48_32 = to_float(dead_leaves(48, 32, 1))[None]
    subject.pictures = pictures(hw=(48, 32))
    for format_, variant in SEVEN:
        made = outputs(subject, format_, variant, of_48_32, tmp_path)
        assert psnr(made, subject.reference(of_48_32), 1.0) > NEAR_DB[variant], (format_, variant)


def test_a_luma_model_that_was_trained_in_half_precision_takes_and_gives_float32(tmp_path: Path) -> None:
    given = keras.Input((None, None, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", dtype="mixed_float16")(given)
    path = saved(keras.Model(given, layers.Conv2D(1, 3, padding="same", dtype="mixed_float16")(x)), tmp_path / "half.keras")
    subject = open_foreign(path, Declared("luma", (0, 1), 1), pictures(1), HW)
    luma = pictures().blurred[..., :1]
    assert subject.reference(luma).dtype == np.float32
    assert psnr(outputs(subject, "tflite", "fp32", luma, tmp_path), subject.reference(luma), 1.0) > 50


def test_a_nested_model_with_a_compiled_inside_is_taken(tmp_path: Path) -> None:
    inner = keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.UpSampling2D(2, interpolation="bilinear")])
    given = keras.Input((None, None, 3))
    network = keras.Model(given, layers.AveragePooling2D(2)(inner(given)))
    network.compile("adam", "mse")
    subject = open_foreign(saved(network, tmp_path / "nested.keras"), Declared("rgb", (0, 1), 1), pictures(), HW)
    blurred = pictures().blurred
    assert psnr(outputs(subject, "onnx", "fp32", blurred, tmp_path), np.asarray(network(blurred)), 1.0) > 80


# ONNX


def onnx_file(
    path: Path, shape: list, out_shape: list | None = None, *, channels_first: bool = True, scale: float = 1.0, element: int = 1
) -> Path:
    """A blur of 3x3 pixels and a skip, as PyTorch writes them: of NCHW, unless told otherwise."""
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
    ends = [
        helper.make_tensor_value_info("x", element, shape),
        helper.make_tensor_value_info("restored", element, out_shape or shape),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.save(model, path)
    return path


def sharpened(blurred: np.ndarray) -> np.ndarray:
    """What `onnx_file` computes, with zeros around the picture."""
    padded = np.pad(blurred, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = blurred.shape[1:3]
    return 2 * blurred - sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (0.0, 255.0)])
def test_an_onnx_model_of_either_layout_becomes_three_files_of_the_contract(
    tmp_path: Path, channels_first: bool, value_range: tuple[float, float]
) -> None:
    shape = ["batch", 3, "h", "w"] if channels_first else [1, "h", "w", 3]
    path = onnx_file(tmp_path / "sharpen.onnx", shape, channels_first=channels_first)
    subject = open_foreign(path, Declared("rgb", value_range, 1), pictures(), HW)
    blurred = pictures().blurred
    assert subject.offers == (("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"))
    np.testing.assert_allclose(subject.reference(blurred), sharpened(blurred), atol=1e-4)
    for format_, variant in subject.offers:
        made = outputs(subject, format_, variant, blurred, tmp_path)
        assert psnr(made, sharpened(blurred), 1.0) > NEAR_DB[variant], variant
    graph = onnx.load(tmp_path / "fp32.onnx").graph
    assert [v.name for v in (*graph.input, *graph.output)] == ["blurred", "restored"]
    assert (subject.manifest.parameters, subject.manifest.macs_per_pixel) == (82, 81)
    assert subject.manifest.fixed_hw is None


def test_a_minus_one_to_one_onnx_model_is_scaled_at_both_ends(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "sharpen.onnx", [1, 3, "h", "w"])
    subject = open_foreign(path, Declared("rgb", (-1, 1), 1), pictures(), HW)
    blurred = pictures().blurred
    expected = (sharpened(2 * blurred - 1) + 1) / 2
    np.testing.assert_allclose(subject.reference(blurred), expected, atol=1e-5)
    np.testing.assert_allclose(outputs(subject, "onnx", "fp32", blurred, tmp_path), expected, atol=1e-5)


def test_an_onnx_model_of_one_size_keeps_it(tmp_path: Path) -> None:
    subject = open_foreign(onnx_file(tmp_path / "s.onnx", [1, 3, 48, 32]), Declared("rgb", (0, 1), 1), pictures(), HW)
    assert subject.manifest.fixed_hw == (48, 32)
    dims = onnx.load_from_string(subject.convert("onnx", "fp32", None)).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 48, 32, 3]


def test_weights_in_a_file_beside_it_are_taken_into_the_bundle(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"])
    inside = open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="s.onnx.data", size_threshold=0)
    assert (tmp_path / "s.onnx.data").stat().st_size >= 324
    subject = open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)
    for opened in (inside, subject):
        blurred = pictures().blurred
        np.testing.assert_allclose(outputs(opened, "onnx", "fp32", blurred, tmp_path), sharpened(blurred), atol=1e-5)
    (tmp_path / "s.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"its weights lie in 's\.onnx\.data', which is not there"):
        open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)


def test_an_onnx_model_of_half_precision_becomes_one_fp16_file(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"], element=TensorProto.FLOAT16)
    subject = open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)
    assert subject.offers == (("onnx", "fp16"),)
    blurred = pictures().blurred
    assert psnr(outputs(subject, "onnx", "fp16", blurred, tmp_path), sharpened(blurred), 1.0) > 50
    with pytest.raises(ExportError, match="no fp32 onnx file can be made"):
        subject.convert("onnx", "fp32", None)


def test_a_quantised_onnx_model_becomes_one_int8_file(tmp_path: Path) -> None:
    whole = open_foreign(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]), Declared("rgb", (0, 1), 1), pictures(), HW)
    quantised = tmp_path / "quantised.onnx"
    quantised.write_bytes(whole.convert("onnx", "int8", whole.calibrations("onnx")[0]))
    subject = open_foreign(quantised, Declared("rgb", (0, 1), 1), pictures(), HW)
    assert subject.offers == (("onnx", "int8"),)
    blurred = pictures().blurred
    np.testing.assert_array_equal(outputs(subject, "onnx", "int8", blurred, tmp_path), subject.reference(blurred))


def test_an_old_opset_is_raised_to_one_that_can_be_quantised(tmp_path: Path) -> None:
    model = onnx.load(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]))
    model.opset_import[0].version = 11
    onnx.save(model, tmp_path / "old.onnx")
    subject = open_foreign(tmp_path / "old.onnx", Declared("rgb", (0, 1), 1), pictures(), HW)
    assert onnx.load_from_string(subject.convert("onnx", "fp32", None)).opset_import[0].version >= 13
    assert psnr(outputs(subject, "onnx", "int8", pictures().blurred, tmp_path), sharpened(pictures().blurred), 1.0) > 25


@pytest.mark.parametrize(
    ("shape", "colour", "message"),
    [
        ([1, 3, "h", 3], "rgb", "channels may come first or last"),
        ([1, 4, "h", "w"], "rgb", r"takes \(1, 4, any, any\)"),
        ([1, 3, "h", "w"], "luma", r"expected \(1, 1, height, width\)"),
        ([2, 3, 32, 32], "rgb", "takes 2 pictures at once, expected 1"),
    ],
)
def test_an_onnx_model_whose_layout_does_not_fit_is_refused(tmp_path: Path, shape: list, colour: str, message: str) -> None:
    path = onnx_file(tmp_path / "s.onnx", shape)
    with pytest.raises(BundleError, match=message):
        open_foreign(path, Declared(colour, (0, 1), 1), pictures(), HW)


# TFLite


@pytest.mark.parametrize("variant", ["fp32", "fp16", "dynamic", "int8"])
def test_a_tflite_file_is_taken_as_it_is(of_keras: tuple[Path, Subject], tmp_path: Path, variant: str) -> None:
    made = of_keras[1]
    path = tmp_path / "theirs.tflite"
    path.write_bytes(made.convert("tflite", variant, made.calibrations("tflite")[0] if variant == "int8" else None))
    subject = open_foreign(path, RGB, pictures(), HW)
    assert subject.offers == (("tflite", variant),)
    assert subject.convert("tflite", variant, None) == path.read_bytes()
    assert (subject.manifest.fixed_hw, subject.manifest.macs_per_pixel) == (HW, made.manifest.macs_per_pixel)
    weights = sum(w.size for w in hourglass().get_weights())
    assert 0.9 * weights < subject.manifest.parameters < 1.1 * weights
    blurred = pictures().blurred
    assert psnr(outputs(subject, "tflite", variant, blurred, tmp_path), subject.reference(blurred), 1.0) > 60


def test_a_tflite_file_with_8_bit_pixels_is_its_own_reference(of_keras: tuple[Path, Subject], tmp_path: Path) -> None:
    made, path = of_keras[1], tmp_path / "theirs.tflite"
    path.write_bytes(to_tflite.with_pixels(made.convert("tflite", "int8", made.calibrations("tflite")[0]), "uint8"))
    subject = open_foreign(path, RGB, pictures(), HW)
    assert [spec.dtype for spec in to_tflite.tflite_specs(path.read_bytes())] == ["uint8", "uint8"]
    assert subject.offers == (("tflite", "int8"),)
    blurred = pictures().blurred
    np.testing.assert_allclose(outputs(subject, "tflite", "int8", blurred, tmp_path), subject.reference(blurred), atol=1e-6)


def test_the_range_of_a_tflite_file_cannot_be_changed(of_keras: tuple[Path, Subject], tmp_path: Path) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(of_keras[1].convert("tflite", "fp32", None))
    with pytest.raises(
        BundleError, match=r"--range -1\.\.1, but a TFLite file is taken as it is.*put the scaling into the model"
    ):
        open_foreign(path, Declared("rgb", (-1, 1), 2), pictures(), HW)


# what makes no picture of a picture


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
def test_what_makes_no_picture_of_one_of_its_size_is_refused(tmp_path: Path, what: str, as_saved_model: bool) -> None:
    make, message = WRONG[what]
    network, path = make(), tmp_path / ("wrong" if as_saved_model else "wrong.keras")
    _ = network.export(path, verbose=False) if as_saved_model else saved(network, path)
    with pytest.raises(BundleError, match=message):
        open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)


def test_a_keras_model_of_four_pictures_at_once_is_refused(tmp_path: Path) -> None:
    given = keras.Input(batch_shape=(4, 32, 32, 3))
    path = saved(keras.Model(given, layers.ReLU()(given)), tmp_path / "four.keras")
    with pytest.raises(BundleError, match="takes 4 pictures at once, expected 1"):
        open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)


def test_a_pad_multiple_that_is_too_small_is_refused_with_the_one_that_does(tmp_path: Path) -> None:
    given = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=4, padding="same")(given)
    x = layers.Conv2DTranspose(3, 4, strides=4, padding="same")(x)
    path = saved(keras.Model(given, x), tmp_path / "quarter.keras")
    with pytest.raises(BundleError, match=r"expected any multiple of 2; multiples of 4 do: give --pad-multiple 4"):
        open_foreign(path, Declared("rgb", (0, 1), 2), pictures(), HW)
    assert open_foreign(path, Declared("rgb", (0, 1), 4), pictures(), HW).manifest.pad_multiple == 4


def test_an_onnx_model_that_makes_two_pictures_is_refused(tmp_path: Path) -> None:
    model = onnx.load(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]))
    model.graph.output.append(helper.make_tensor_value_info("soft", 1, [1, 3, "h", "w"]))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(BundleError, match="1 inputs and 2 outputs, expected one of each"):
        open_foreign(tmp_path / "two.onnx", Declared("rgb", (0, 1), 1), pictures(), HW)


def test_a_tflite_file_that_changes_the_size_is_refused(tmp_path: Path) -> None:
    network = keras.Model(given := keras.Input(batch_shape=(1, 32, 32, 3)), layers.Conv2DTranspose(3, 2, strides=2)(given))
    (tmp_path / "up.tflite").write_bytes(to_tflite.to_tflite(network, "fp32"))
    with pytest.raises(BundleError, match=r"makes \(64, 64, 3\) of \(32, 32, 3\)"):
        open_foreign(tmp_path / "up.tflite", Declared("rgb", (0, 1), 1), pictures(), HW)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    network = of(layers.Conv2D(3, 1))
    network.layers[1].kernel.assign(np.full((1, 1, 3, 3), value))
    with pytest.raises(BundleError, match="holds NaN or infinite weights"):
        open_foreign(saved(network, tmp_path / "n.keras"), Declared("rgb", (0, 1), 1), pictures(), HW)
    network.export(tmp_path / "n", verbose=False)
    with pytest.raises(BundleError, match="holds NaN or infinite weights"):
        open_foreign(tmp_path / "n", Declared("rgb", (0, 1), 1), pictures(), HW)
    path = onnx_file(tmp_path / "n.onnx", [1, 3, "h", "w"], scale=value)
    with pytest.raises(BundleError, match="makes NaN or infinite values"):
        open_foreign(path, Declared("rgb", (0, 1), 1), pictures(), HW)


def test_a_plain_tensorflow_module_with_its_own_names_is_taken(tmp_path: Path) -> None:
    class Halved(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.half = tf.Variable(0.5)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="img")])
        def __call__(self, img: tf.Tensor) -> dict:
            return {"sharp": tf.nn.relu(img) * self.half}

    module = Halved()
    tf.saved_model.save(module, str(tmp_path / "halved"), signatures={"serving_default": module.__call__})
    subject = open_foreign(tmp_path / "halved", Declared("rgb", (0, 1), 1), pictures(), HW)
    blurred = pictures().blurred
    for format_ in ("tflite", "onnx"):
        np.testing.assert_allclose(outputs(subject, format_, "fp32", blurred, tmp_path), blurred / 2, atol=1e-6)
    assert subject.manifest.parameters == 1


def test_the_weights_of_a_frozen_saved_model_are_counted(tmp_path: Path) -> None:
    kernel = np.full((3, 3, 3, 3), 0.01, np.float32)

    class Frozen(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict:
            return {"y": tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")}

    module = Frozen()
    tf.saved_model.save(module, str(tmp_path / "frozen"), signatures={"serving_default": module.__call__})
    manifest = open_foreign(tmp_path / "frozen", Declared("rgb", (0, 1), 1), pictures(), HW).manifest
    assert (manifest.parameters, manifest.macs_per_pixel) == (81, 81)


def test_the_contract_of_a_file_is_float32_from_black_to_white(of_keras: tuple[Path, Subject]) -> None:
    for format_, specs in (("tflite", to_tflite.tflite_specs), ("onnx", to_onnx.onnx_specs)):
        data = of_keras[1].convert(format_, "fp32", None)
        assert [(s.dtype, s.scale) for s in specs(data)] == [("float32", TensorSpec("", "").scale)] * 2
