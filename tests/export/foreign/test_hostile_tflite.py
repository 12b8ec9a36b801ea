"""Hostile TFLite files, built for real: each is refused, and nothing of what it would do has happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import tensorflow as tf  # noqa: E402
from ai_edge_litert import schema_py_generated as schema  # noqa: E402

Call = Callable[..., Any]


@pytest.mark.parametrize("name", [b"FlexWriteFile", b"TheirOwn"])
def test_a_custom_operator_is_refused_by_name(good: Path, name: bytes, theirs: Path, refused: Call) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((good / "plain.tflite").read_bytes()))
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = name
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = theirs / "model.tflite"
    path.write_bytes(bytes(builder.Output()))
    refused(path, f"has the operators {name.decode()}, which LiteRT does not have itself")


def test_a_flex_operator_of_tensorflow_is_refused(theirs: Path, refused: Call) -> None:
    signature = [tf.TensorSpec((1, 32, 32, 3), tf.float32)]
    function = tf.function(lambda x: tf.image.adjust_hue(x, 0.1), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = theirs / "model.tflite"
    path.write_bytes(converter.convert())
    refused(path, "has the operators FlexAdjustHue")


def test_a_tflite_file_without_its_mark_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = theirs / "model.tflite"
    data = (good / "plain.tflite").read_bytes()
    path.write_bytes(data[:4] + b"TFL9" + data[8:])
    refused(path, "damaged or no TFLite file")
