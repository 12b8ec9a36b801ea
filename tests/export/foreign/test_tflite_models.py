"""Other people's TFLite networks, exported unchanged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from device.errors import BundleError  # noqa: E402
from device.images.quality import psnr  # noqa: E402
from export import to_tflite  # noqa: E402
from export.export_source import ExportSource  # noqa: E402
from export.foreign.declared import Declared  # noqa: E402
from export.foreign.open_foreign import open_foreign  # noqa: E402

Call = Callable[..., Any]
HW = (64, 80)
RGB = Declared("rgb", (0, 1), 2)
OfKeras = tuple[Path, keras.Model, ExportSource]


@pytest.mark.parametrize("variant", ["fp32", "fp16", "dynamic", "int8"])
def test_a_tflite_file_is_exported_unchanged(
    of_keras: OfKeras, tmp_path: Path, variant: str, generated: Call, converted: Call, outputs: Call
) -> None:
    _, network, made = of_keras
    path = tmp_path / "theirs.tflite"
    path.write_bytes(converted(made, "tflite", variant))
    source = open_foreign(path, RGB, generated)
    assert source.offers == (("tflite", variant),)
    assert source.calibrations("tflite") == []
    assert source.convert("tflite", variant, None) == path.read_bytes()
    assert (source.manifest.fixed_hw, source.manifest.macs_per_pixel) == (HW, made.manifest.macs_per_pixel)
    weights = sum(w.size for w in network.get_weights())
    assert 0.9 * weights < source.manifest.parameters < 1.1 * weights
    blurred = generated(*HW).blurred
    assert psnr(outputs(source, "tflite", variant, blurred), source.reference(blurred), 1.0) > 60


def test_a_tflite_file_with_8_bit_pixels_is_its_own_reference(
    of_keras: OfKeras, tmp_path: Path, generated: Call, converted: Call, outputs: Call
) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(to_tflite.with_pixels(converted(of_keras[2], "tflite", "int8"), "uint8"))
    source = open_foreign(path, RGB, generated, HW)
    assert [spec.dtype for spec in to_tflite.tflite_specs(path.read_bytes())] == ["uint8", "uint8"]
    assert source.offers == (("tflite", "int8"),)
    blurred = generated(*HW).blurred
    np.testing.assert_allclose(outputs(source, "tflite", "int8", blurred), source.reference(blurred), atol=1e-6)


def test_the_range_of_a_tflite_file_cannot_be_changed(
    of_keras: OfKeras, tmp_path: Path, generated: Call, converted: Call
) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(converted(of_keras[2], "tflite", "fp32"))
    with pytest.raises(
        BundleError, match=r"--range -1\.\.1, but a TFLite file is not converted again.*put the scaling into the model"
    ):
        open_foreign(path, Declared("rgb", (-1, 1), 2), generated, HW)
