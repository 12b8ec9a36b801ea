"""Other people's ONNX networks, through the loader that wraps them."""

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
from onnx import TensorProto  # noqa: E402

from device.errors import BundleError, ExportError  # noqa: E402
from device.images.quality import psnr  # noqa: E402
from export.foreign.declared import Declared  # noqa: E402
from export.foreign.open_foreign import open_foreign  # noqa: E402

Call = Callable[..., Any]
HW = (64, 80)
RGB = Declared("rgb", (0, 1), 1)
NEAR_DB = {"fp32": 80.0, "fp16": 50.0, "dynamic": 35.0, "int8": 25.0}


def sharpened(blurred: np.ndarray) -> np.ndarray:
    """The function of `onnx_file`, with zeros around the picture."""
    padded = np.pad(blurred, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = blurred.shape[1:3]
    return 2 * blurred - sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (0.0, 255.0)])
def test_an_onnx_model_of_either_layout_becomes_three_files_of_the_contract(
    tmp_path: Path,
    channels_first: bool,
    value_range: tuple[float, float],
    generated: Call,
    converted: Call,
    outputs: Call,
    onnx_file: Call,
) -> None:
    shape = ["batch", 3, "h", "w"] if channels_first else [1, "h", "w", 3]
    path = onnx_file(tmp_path / "sharpen.onnx", shape, channels_first=channels_first)
    source = open_foreign(path, Declared("rgb", value_range, 1), generated, HW)
    blurred = generated(*HW).blurred
    assert source.offers == (("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"))
    np.testing.assert_allclose(source.reference(blurred), sharpened(blurred), atol=1e-4)
    for format_, variant in source.offers:
        made = outputs(source, format_, variant, blurred)
        assert psnr(made, sharpened(blurred), 1.0) > NEAR_DB[variant], variant
    graph = onnx.load_from_string(converted(source, "onnx", "fp32")).graph
    assert [v.name for v in (*graph.input, *graph.output)] == ["blurred", "restored"]
    assert (source.manifest.parameters, source.manifest.macs_per_pixel) == (82, 81)
    assert source.manifest.fixed_hw is None


def test_a_minus_one_to_one_onnx_model_is_scaled_at_both_ends(
    tmp_path: Path, generated: Call, outputs: Call, onnx_file: Call
) -> None:
    path = onnx_file(tmp_path / "sharpen.onnx", [1, 3, "h", "w"])
    source = open_foreign(path, Declared("rgb", (-1, 1), 1), generated, HW)
    blurred = generated(*HW).blurred
    expected = (sharpened(2 * blurred - 1) + 1) / 2
    np.testing.assert_allclose(source.reference(blurred), expected, atol=1e-5)
    np.testing.assert_allclose(outputs(source, "onnx", "fp32", blurred), expected, atol=1e-5)


def test_an_onnx_model_of_one_size_keeps_it(tmp_path: Path, generated: Call, onnx_file: Call) -> None:
    source = open_foreign(onnx_file(tmp_path / "s.onnx", [1, 3, 48, 32]), RGB, generated)
    assert source.manifest.fixed_hw == (48, 32)
    dims = onnx.load_from_string(source.convert("onnx", "fp32", None)).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 48, 32, 3]


def test_weights_in_a_file_beside_it_are_taken_into_the_bundle(
    tmp_path: Path, generated: Call, outputs: Call, onnx_file: Call
) -> None:
    path = onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"])
    inside = open_foreign(path, RGB, generated, HW)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="s.onnx.data", size_threshold=0)
    assert (tmp_path / "s.onnx.data").stat().st_size >= 324
    source = open_foreign(path, RGB, generated, HW)
    for each in (inside, source):
        blurred = generated(*HW).blurred
        np.testing.assert_allclose(outputs(each, "onnx", "fp32", blurred), sharpened(blurred), atol=1e-5)
    (tmp_path / "s.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"its weights lie in 's\.onnx\.data', which is not there"):
        open_foreign(path, RGB, generated, HW)


def test_an_onnx_model_of_half_precision_becomes_one_fp16_file(
    tmp_path: Path, generated: Call, outputs: Call, onnx_file: Call
) -> None:
    path = onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"], element=TensorProto.FLOAT16)
    source = open_foreign(path, RGB, generated, HW)
    assert source.offers == (("onnx", "fp16"),)
    blurred = generated(*HW).blurred
    assert psnr(outputs(source, "onnx", "fp16", blurred), sharpened(blurred), 1.0) > 50
    with pytest.raises(ExportError, match="cannot become a fp32 onnx file"):
        source.convert("onnx", "fp32", None)


def test_a_quantised_onnx_model_becomes_one_int8_file(
    tmp_path: Path, generated: Call, converted: Call, outputs: Call, onnx_file: Call
) -> None:
    whole = open_foreign(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]), RGB, generated, HW)
    quantised = tmp_path / "quantised.onnx"
    quantised.write_bytes(converted(whole, "onnx", "int8"))
    source = open_foreign(quantised, RGB, generated, HW)
    assert source.offers == (("onnx", "int8"),)
    assert source.calibrations("onnx") == []
    blurred = generated(*HW).blurred
    np.testing.assert_array_equal(outputs(source, "onnx", "int8", blurred), source.reference(blurred))


def test_an_old_opset_is_raised_to_one_that_can_be_quantised(
    tmp_path: Path, generated: Call, outputs: Call, onnx_file: Call
) -> None:
    model = onnx.load(onnx_file(tmp_path / "s.onnx", [1, 3, "h", "w"]))
    model.opset_import[0].version = 11
    onnx.save(model, tmp_path / "old.onnx")
    source = open_foreign(tmp_path / "old.onnx", RGB, generated, HW)
    assert onnx.load_from_string(source.convert("onnx", "fp32", None)).opset_import[0].version >= 13
    assert psnr(outputs(source, "onnx", "int8", generated(*HW).blurred), sharpened(generated(*HW).blurred), 1.0) > 25


@pytest.mark.parametrize(
    ("shape", "colour", "message"),
    [
        ([1, 3, "h", 3], "rgb", "channels may come first or last"),
        ([1, 4, "h", "w"], "rgb", r"takes \(1, 4, any, any\)"),
        ([1, 3, "h", "w"], "luma", r"expected \(1, 1, height, width\)"),
        ([2, 3, 32, 32], "rgb", "takes 2 pictures at once, expected 1"),
    ],
)
def test_an_onnx_model_whose_layout_does_not_fit_is_refused(
    tmp_path: Path, shape: list, colour: str, message: str, generated: Call, onnx_file: Call
) -> None:
    path = onnx_file(tmp_path / "s.onnx", shape)
    with pytest.raises(BundleError, match=message):
        open_foreign(path, Declared(colour, (0, 1), 1), generated)
