"""A Keras network into ONNX files: tf2onnx for the graph, ONNX Runtime's quantiser for 8 bits."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from device.console import quiet_stdio
from device.errors import ExportError
from device.frame import TensorSpec
from train.quantise import RESIDUAL, Ranges

VARIANTS = ("fp32", "fp16", "int8")
OPSET = 18


def to_onnx_fp32(network: keras.Model) -> onnx.ModelProto:
    """Convert `network` (any batch; sizes may be None) to an ONNX graph with batch 1. Raises ExportError."""
    _, height, width, channels = network.input_shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name="blurred")]
    try:
        with quiet_stdio():
            model, _ = tf2onnx.convert.from_keras(network, input_signature=signature, opset=OPSET)
            _rename_output(model, "restored")
            onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx raises plain exceptions of many kinds
        raise ExportError(f"ONNX fp32: tf2onnx failed: {error}") from error
    return model


def to_onnx(fp32: onnx.ModelProto, variant: str, calibration: Callable[[], Iterator[np.ndarray]]) -> bytes:
    """One variant of an fp32 graph; inputs and outputs stay float32.

    `calibration` yields (1, height, width, 3) float32 pictures in 0..1 for int8 (QDQ, unsigned activations, signed weights
    per channel: U8S8, what ONNX Runtime's x86 kernels want). Raises ExportError.
    """
    try:
        with quiet_stdio():
            if variant == "fp32":
                return fp32.SerializeToString()
            if variant == "fp16":
                from onnxruntime.transformers.float16 import convert_float_to_float16

                copy = onnx.ModelProto()
                copy.CopyFrom(fp32)
                return convert_float_to_float16(copy, keep_io_types=True).SerializeToString()
            return _quantised(fp32, calibration, {})
    except Exception as error:  # the converters raise plain exceptions of many kinds
        raise ExportError(f"ONNX {variant}: the converter failed: {error}") from error


def to_onnx_int8(network: keras.Model, ranges: Ranges, calibration: Callable[[], Iterator[np.ndarray]]) -> bytes:
    """int8 (as `to_onnx` has it) of an unclipped network with the `ranges` of its layers; 0..1 of the last addition clips.

    Tensors without a range of their own are calibrated. Raises ExportError.
    """
    graph = to_onnx_fp32(network)
    overrides = {}
    for layer, (low, high) in {**ranges, RESIDUAL: (0.0, 1.0)}.items():
        made_by = [node for node in graph.graph.node if re.search(rf"/{layer}(_\d+)?/", node.name)]
        if not made_by:
            raise ExportError(f"ONNX int8: tf2onnx left no operator of the layer {layer!r}, so its range has no place")
        scale = max(high - low, 1e-6) / 255
        overrides[made_by[-1].output[0]] = (scale, int(np.clip(round(-low / scale), 0, 255)))
    for node in graph.graph.node:
        if node.op_type == "DepthToSpace" and node.input[0] in overrides:  # pixels only moved
            overrides[node.output[0]] = overrides[node.input[0]]
    try:
        with quiet_stdio():
            return _quantised(graph, calibration, overrides)
    except Exception as error:  # the converters raise plain exceptions of many kinds
        raise ExportError(f"ONNX int8: the converter failed: {error}") from error


def onnx_specs(model: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of an ONNX file as the file itself says."""
    graph = onnx.load_from_string(model).graph

    def spec(value: Any) -> TensorSpec:
        return TensorSpec(value.name, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name)

    return spec(graph.input[0]), spec(graph.output[0])


def _quantised(
    fp32: onnx.ModelProto, calibration: Callable[[], Iterator[np.ndarray]], ranges: dict[str, tuple[float, int]]
) -> bytes:
    """`ranges`: scale and zero point of tensors that are not to be calibrated."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = fp32.graph.input[0].name
    overrides = {
        tensor: [{"quant_type": QuantType.QUInt8, "scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for tensor, (scale, zero) in ranges.items()
    }

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self._pictures = calibration()

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self._pictures, None)
            return None if picture is None else {name: picture}

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, done = (str(Path(folder, f)) for f in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(fp32, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, done, Pictures(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )  # fmt: skip
        return Path(done).read_bytes()


def _rename_output(model: onnx.ModelProto, name: str) -> None:
    old = model.graph.output[0].name
    model.graph.output[0].name = name
    for node in model.graph.node:
        node.output[:] = [name if o == old else o for o in node.output]
        node.input[:] = [name if i == old else i for i in node.input]
