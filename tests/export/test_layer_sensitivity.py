"""Layer sensitivity finds a layer that was damaged for int8 without changing the fp32 network, and float repairs it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from device.errors import ExportError  # noqa: E402
from device.images.quality import mean_psnr  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from device.runtimes.onnxruntime import session_options  # noqa: E402
from export.export_source import Calibration  # noqa: E402
from export.layer_sensitivity import LayerSensitivity, describe, layer_sensitivities  # noqa: E402
from export.quantised_onnx import QuantisedOnnx, layer_of  # noqa: E402
from export.sensitivity_report import plot  # noqa: E402
from export.to_onnx import to_onnx, to_onnx_fp32, to_onnx_int8  # noqa: E402
from train.architectures import UNet  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.quantise import calibrated_ranges  # noqa: E402

SIDE = 64
SHARP = np.stack([dead_leaves(SIDE, SIDE, seed) for seed in range(4)]).astype(np.float32) / 255
BLURRED = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.2) for picture in SHARP])


@dataclass(frozen=True)
class Files:
    fp32: bytes
    int8: bytes
    target: np.ndarray
    """The output of fp32 with a little noise, so that it reaches 40 dB."""


def network(architecture: UNet) -> "keras.Model":
    """A network with biases and with a head that changes pictures, like a trained one."""
    keras.utils.set_random_seed(3)
    made = build_network(architecture)
    random = np.random.default_rng(3)
    for layer in made.layers:
        if layer.weights:
            layer.bias.assign(random.normal(0, 0.05, layer.bias.shape))
    made.get_layer("head").kernel.assign(random.normal(0, 0.03, made.get_layer("head").kernel.shape))
    return made


def files(made: "keras.Model") -> Files:
    graph = to_onnx_fp32(made)
    fp32 = graph.SerializeToString()
    noise = np.random.default_rng(4).normal(0, 0.01, BLURRED.shape)
    target = np.clip(restored(fp32) + noise, 0, 1).astype(np.float32)
    return Files(fp32, to_onnx(graph, "int8", Calibration("minmax", list(BLURRED[:, None]))), target)


def restored(model: bytes, pictures: np.ndarray = BLURRED) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"blurred": picture[None]})[0] for picture in pictures])


def quality_db(model: bytes, of: Files) -> float:
    return mean_psnr(np.clip(restored(model), 0, 1), of.target, 1.0)


def losses_of(of: Files) -> list[LayerSensitivity]:
    return layer_sensitivities(QuantisedOnnx(of.int8, of.fp32), BLURRED, of.target)


def operators(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


SMALL = UNet((8, 16), (1, 1), (1,))


@pytest.fixture(scope="module")
def plain() -> Files:
    return files(network(SMALL))


@pytest.fixture(scope="module")
def swollen(swell: Callable[..., None]) -> Files:
    made = network(SMALL)
    swell(made, "down0_block0_a", "down0_block0_b", 2)
    return files(made)


@pytest.mark.parametrize("block", ["residual", "plain", "depthwise"])
def test_with_every_layer_in_float_the_file_is_the_fp32_one_and_with_none_the_int8_one(block: str) -> None:
    of = files(network(UNet((8, 16), (1, 1), (1,), block=block, skips="concat" if block == "plain" else "add")))
    everything = [loss.layer for loss in losses_of(of)]
    assert {"blurred", "down0_block0_a", "up0_skip", "head", "picture_residual"} <= set(everything)
    in_fp32 = QuantisedOnnx(of.int8, of.fp32).in_float(everything)
    np.testing.assert_allclose(restored(in_fp32), restored(of.fp32), atol=1e-5)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators(in_fp32))
    assert operators(in_fp32).count("Relu") == operators(of.fp32).count("Relu")  # the quantiser drops them
    assert not [layer for layer in everything if "__" in layer]  # counted anew by every conversion
    np.testing.assert_array_equal(restored(QuantisedOnnx(of.int8, of.fp32).in_float([])), restored(of.int8))


def test_a_file_with_given_ranges_fits_the_same_network_converted_again() -> None:
    """The names that tf2onnx numbers differ then, and the graph's output is the last tensor that is rounded."""
    made = network(SMALL)
    ranges = calibrated_ranges(made, list(BLURRED[:, None]))
    unclipped = build_network(SMALL, clip=False)
    unclipped.set_weights(made.get_weights())
    int8 = to_onnx_int8(to_onnx_fp32(unclipped), Calibration("minmax", list(BLURRED[:, None]), ranges))
    fp32 = to_onnx_fp32(unclipped).SerializeToString()
    losses = {loss.layer: loss for loss in layer_sensitivities(QuantisedOnnx(int8, fp32), BLURRED, SHARP)}
    assert losses.keys() == ranges.keys() | {"blurred", "picture_residual"}
    for layer, (low, high) in {**ranges, "picture_residual": (0, 1)}.items():
        step = (high - low) / 255
        assert (losses[layer].low, losses[layer].high) == (pytest.approx(low, abs=step), pytest.approx(high, abs=step))
    np.testing.assert_allclose(restored(QuantisedOnnx(int8, fp32).in_float(list(losses))), restored(fp32), atol=1e-5)


def test_a_graph_that_begins_and_ends_with_a_convolution_is_taken_apart_too() -> None:
    """With PyTorch's names and order: nothing between the picture and the first layer, a Relu before the output."""
    random = np.random.default_rng(5)
    weights = {"conv_1.weight": random.normal(0, 0.3, (8, 3, 3, 3)), "conv_2.weight": random.normal(0, 0.3, (3, 8, 3, 3))}
    given, made = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (1, 3, 64, 64)) for n in ("blurred", "restored"))
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["blurred", "conv_1.weight"], ["/conv_1/Conv_output_0"], pads=[1] * 4),
            onnx.helper.make_node("Relu", ["/conv_1/Conv_output_0"], ["/act/Relu_output_0"]),
            onnx.helper.make_node("Conv", ["/act/Relu_output_0", "conv_2.weight"], ["/conv_2/Conv_output_0"], pads=[1] * 4),
            onnx.helper.make_node("Relu", ["/conv_2/Conv_output_0"], ["restored"]),
        ],
        "torch", [given], [made], [onnx.numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    pictures = BLURRED.transpose(0, 3, 1, 2)
    int8, fp32 = to_onnx(model, "int8", Calibration("minmax", list(pictures[:, None]))), model.SerializeToString()
    losses = layer_sensitivities(QuantisedOnnx(int8, fp32), pictures, SHARP.transpose(0, 3, 1, 2))
    assert {(loss.layer, loss.operator) for loss in losses} == {("blurred", "Input"), ("conv_1", "Conv"), ("conv_2", "Conv")}
    in_fp32 = QuantisedOnnx(int8, fp32).in_float([loss.layer for loss in losses])
    np.testing.assert_allclose(restored(in_fp32, pictures), restored(fp32, pictures), atol=1e-5)


def test_a_layer_in_float_has_its_own_weights_again_and_the_others_keep_theirs(plain: Files) -> None:
    mixed = onnx.load_from_string(QuantisedOnnx(plain.int8, plain.fp32).in_float(["head"]))
    held = {value.name: onnx.numpy_helper.to_array(value) for value in mixed.graph.initializer}
    exact = {value.name: onnx.numpy_helper.to_array(value) for value in onnx.load_from_string(plain.fp32).graph.initializer}
    np.testing.assert_array_equal(held["head/convolution/ReadVariableOp"], exact["head/convolution/ReadVariableOp"])
    assert not [name for name in held if name.startswith("head") and name.endswith(("_quantized", "_scale", "_zero_point"))]
    before = onnx.load_from_string(plain.int8).graph.initializer
    others = {value.name for value in before if not value.name.startswith("head")}
    assert others == {name for name in held if not name.startswith("head")}


def test_a_channel_that_crushes_its_layer_is_named_first_and_float_restores_what_int8_should_be(
    plain: Files, swollen: Files
) -> None:
    assert quality_db(swollen.fp32, swollen) == pytest.approx(quality_db(plain.fp32, plain), abs=0.01)
    collapsed, unspoiled = quality_db(swollen.int8, swollen), quality_db(plain.int8, plain)
    assert collapsed < unspoiled - 5
    first, second, *_ = losses_of(swollen)
    assert (first.layer, first.operator) == ("down0_block0_a", "Conv")
    assert first.alone_db > 5
    assert first.alone_db > 5 * second.alone_db
    assert first.back_db > 5
    assert first.alone_parity_db < second.alone_parity_db - 5
    fixed = QuantisedOnnx(swollen.int8, swollen.fp32).in_float([first.layer])
    assert quality_db(fixed, swollen) == pytest.approx(unspoiled, abs=0.2)


def test_where_the_next_layers_small_weights_are_lost_too_both_layers_are_named(plain: Files, swell: Callable[..., None]) -> None:
    made = network(SMALL)
    swell(made, "up0_block0_a", "up0_block0_b", 0)
    of = files(made)
    named = [loss.layer for loss in losses_of(of) if loss.alone_db > 2]
    assert named == ["up0_block0_a", "up0_block0_b"]
    quantised = QuantisedOnnx(of.int8, of.fp32)
    assert quality_db(quantised.in_float(named[:1]), of) < quality_db(plain.int8, plain) - 2
    assert quality_db(quantised.in_float(named), of) == pytest.approx(quality_db(plain.int8, plain), abs=0.2)


def test_weights_a_thousand_times_as_large_are_reported_as_they_measure(plain: Files) -> None:
    """That changes the network itself: no single layer in float helps."""
    made = network(SMALL)
    spoiled = made.get_layer("up0_block0_b")
    spoiled.kernel.assign(spoiled.kernel * 1000)
    of = files(made)
    losses = losses_of(of)
    float_db, int8_db = quality_db(of.fp32, of), quality_db(of.int8, of)
    assert int8_db < float_db - 5
    assert [loss.alone_parity_db for loss in losses] == sorted(loss.alone_parity_db for loss in losses)
    for loss in losses[:3]:
        others = [other.layer for other in losses if other is not loss]
        alone_db = float_db - quality_db(QuantisedOnnx(of.int8, of.fp32).in_float(others), of)
        back_db = quality_db(QuantisedOnnx(of.int8, of.fp32).in_float([loss.layer]), of) - int8_db
        assert (loss.alone_db, loss.back_db) == (pytest.approx(alone_db, abs=0.05), pytest.approx(back_db, abs=0.05))
    held, once = ({loss.layer: loss.high - loss.low for loss in each} for each in (losses, losses_of(plain)))
    assert held["up0_block0_b"] > 500 * once["up0_block0_b"]
    assert held["down1"] == pytest.approx(once["down1"], rel=0.01)


def test_a_layer_that_is_not_there_is_refused_with_the_nearest_name(plain: Files) -> None:
    with pytest.raises(ExportError, match=r"no 8-bit layer 'haed'; .*head"):
        QuantisedOnnx(plain.int8, plain.fp32).in_float(["haed"])


def test_the_fp32_file_of_another_network_is_refused(plain: Files) -> None:
    other = to_onnx_fp32(network(UNet((8, 16), (1, 1), (1,), block="plain"))).SerializeToString()
    with pytest.raises(ExportError, match=r"in the int8 file, .* in the fp32 file; give the file that it was quantised from"):
        QuantisedOnnx(plain.int8, other).in_float(["head"])


def test_a_file_without_8_bit_layers_or_with_8_bit_pixels_is_refused(plain: Files) -> None:
    with pytest.raises(ExportError, match="nothing in the int8 file is 8-bit"):
        QuantisedOnnx(plain.fp32, plain.fp32)
    pixels = onnx.load_from_string(plain.int8)
    pixels.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    with pytest.raises(ExportError, match="8-bit pixels, expected float32"):
        QuantisedOnnx(pixels.SerializeToString(), plain.fp32)


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("down2_block1_a/Relu", "down2_block1_a"),
        ("down2_block1_a/Relu/2", "down2_block1_a"),
        ("unet_1/down2_block1_a_1/Relu:0", "down2_block1_a"),
        ("unet/conv2d_1_2/BiasAdd:0", "conv2d_1"),
        ("/encoder/conv_1/Conv_output_0", "encoder/conv_1"),
        ("blurred", "blurred"),
        ("input:0", "input"),
    ],
)
def test_a_tensors_name_says_its_layer(tensor: str, layer: str) -> None:
    assert layer_of(tensor) == layer


LOSSES = [
    LayerSensitivity("up1_block0_a", "Conv", -84.1, 34.0, 3.204, 2.5, 27.6),
    LayerSensitivity("up1_skip", "Add", 0.0, 1.0, -0.001, -0.2, 63.2),
]


def test_a_sentence_says_what_a_layer_loses_and_why() -> None:
    assert describe(LOSSES, most=1) == [
        "up1_block0_a (Conv): alone loses 3.20 dB, in float brings back 2.50 dB; holds -84.1..34; alone 28 dB from fp32"
    ]
    assert describe(LOSSES)[1].startswith("up1_skip (Add): alone loses 0.00 dB, in float brings back -0.20 dB; holds 0..1; ")
    assert describe(LOSSES)[1].endswith("alone 63 dB from fp32")


@pytest.mark.filterwarnings("error")  # Matplotlib warns where names take all the room
@pytest.mark.parametrize("repeats", [1, 20])
def test_the_picture_grows_with_the_layers_so_that_names_stay_readable(tmp_path: Path, repeats: int) -> None:
    plot(LOSSES * repeats, tmp_path / "losses.png", "what 8 bits cost")
    picture = cv2.imread(str(tmp_path / "losses.png"))
    assert picture is not None
    assert picture.shape[0] > 25 * len(LOSSES) * repeats
    assert np.ptp(picture) > 200
