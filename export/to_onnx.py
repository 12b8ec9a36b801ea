"""Convert a Keras network to ONNX files: tf2onnx for the graph, ONNX Runtime's quantiser for 8 bits."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from device.bundle.manifest import TensorSpec
from device.errors import ExportError
from device.system.console import quiet_stdio
from export.calibration import METHODS, PERCENTILE, Reader, output_of
from export.export_source import Calibration
from export.onnx_order import canonical, in_order
from export.readable_names import onnx_with_readable_names
from train.quantise import RESIDUAL

VARIANTS = ("fp32", "fp16", "int8")
OPSET = 18
_SCALE, _ZERO = "pixels/scale", "pixels/zero"


def to_onnx_fp32(network: keras.Model) -> onnx.ModelProto:
    """Convert `network` (any batch; sizes may be None) to an ONNX graph with batch 1. Raises ExportError."""
    _, height, width, channels = network.input_shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name="blurred")]
    try:
        with quiet_stdio():
            model, _ = tf2onnx.convert.from_keras(network, input_signature=signature, opset=OPSET)
            _rename(model.graph, model.graph.output[0].name, "restored")
            model = onnx_with_readable_names(canonical(model), [layer.name for layer in network.layers])
            onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx raises plain exceptions of many kinds
        raise ExportError(f"ONNX fp32: tf2onnx failed: {error}") from error
    return model


def to_onnx(fp32: onnx.ModelProto, variant: str, calibration: Calibration | None = None) -> bytes:
    """Convert an fp32 graph to one variant; input and output stay float32.

    int8 is QDQ with unsigned activations and signed weights, one scale per output channel (U8S8), calibrated by ONNX Runtime
    with the method of `calibration`. Raises ExportError.
    """
    try:
        with quiet_stdio():
            if variant == "fp32":
                return fp32.SerializeToString()
            if variant == "fp16":
                from onnxruntime.transformers.float16 import convert_float_to_float16

                copy = onnx.ModelProto()
                copy.CopyFrom(fp32)
                half = convert_float_to_float16(copy, keep_io_types=True)
                in_order(half.graph)  # it appends its casts, but the standard wants them before their use
                return half.SerializeToString()
            if calibration is None:
                raise ValueError("calibration pictures are needed")
            return _quantised(fp32, calibration, {})
    except Exception as error:  # the converters raise plain exceptions of many kinds
        raise ExportError(f"ONNX {variant}: the converter failed: {error}") from error


def to_onnx_int8(graph: onnx.ModelProto, calibration: Calibration) -> bytes:
    """int8 (as in `to_onnx`) of the fp32 graph of an unclipped network, with the ranges of its layers.

    The range 0..1 of the last addition clips. Tensors without a range of their own are calibrated. Raises ExportError.
    """
    overrides = {}
    for layer, (low, high) in {**(calibration.ranges or {}), RESIDUAL: (0.0, 1.0)}.items():
        scale = max(high - low, 1e-6) / 255
        overrides[output_of(graph, layer)] = (scale, int(np.clip(round(-low / scale), 0, 255)))
    for node in graph.graph.node:
        if node.op_type == "DepthToSpace" and node.input[0] in overrides:  # it only moves pixels
            overrides[node.output[0]] = overrides[node.input[0]]
    try:
        with quiet_stdio():
            return _quantised(graph, replace(calibration, method="minmax"), overrides)
    except Exception as error:  # the converters raise plain exceptions of many kinds
        raise ExportError(f"ONNX int8: the converter failed: {error}") from error


def with_pixels(model: bytes, dtype: str) -> bytes:
    """The int8 file with input and output of `dtype` (`uint8`) instead of floats, at a scale of 1/255.

    A quantisation at the very start or end of the file is removed; behind another operator, ONNX Runtime moves it itself.
    """
    whole = onnx.load_from_string(model)
    graph = whole.graph
    start, end = graph.input[0], graph.output[0]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1 / 255, np.float32), _SCALE))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, dtype), _ZERO))
    values = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}

    def same(node: onnx.NodeProto) -> bool:
        scale, zero = (values[name] for name in node.input[1:3])
        return bool(np.isclose(scale, 1 / 255, rtol=1e-3) and zero.dtype == dtype and zero == 0)

    first = [node for node in graph.node if start.name in node.input]
    if [n.op_type for n in first] == ["QuantizeLinear"] and same(first[0]):
        _rename(graph, first[0].output[0], start.name)
        graph.node.remove(first[0])
    else:
        _rename(graph, start.name, f"{start.name}/values")
        graph.node.insert(0, _pixels("DequantizeLinear", start.name, f"{start.name}/values"))
    last = next(node for node in graph.node if end.name in node.output)
    if last.op_type == "DequantizeLinear" and same(last):
        inside = last.input[0]
        graph.node.remove(last)
        _rename(graph, inside, end.name)
    else:
        _rename(graph, end.name, f"{end.name}/values")
        end.name = end.name.removesuffix("/values")
        graph.node.append(_pixels("QuantizeLinear", f"{end.name}/values", end.name))
    for value in (start, end):
        value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    del graph.value_info[:]
    onnx.checker.check_model(whole)
    return whole.SerializeToString()


def with_size(model: bytes, height: int, width: int) -> bytes:
    """The same file for pictures of one size only."""
    whole = onnx.load_from_string(model)
    for value in (whole.graph.input[0], whole.graph.output[0]):
        for axis, length in ((1, height), (2, width)):
            value.type.tensor_type.shape.dim[axis].dim_value = length
    del whole.graph.value_info[:]  # it describes the old size
    onnx.checker.check_model(whole)
    return whole.SerializeToString()


def onnx_specs(model: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of an ONNX file, as the file describes them; 8-bit ones with the scale of the operator next to them."""
    graph = onnx.load_from_string(model).graph
    values = {weight.name: weight for weight in graph.initializer}

    def spec(value: Any, neighbours: list[onnx.NodeProto]) -> TensorSpec:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        if dtype == "float32" or not neighbours:
            return TensorSpec(value.name, dtype)
        scale, zero_point = (onnx.numpy_helper.to_array(values[name]).item() for name in neighbours[0].input[1:3])
        return TensorSpec(value.name, dtype, float(scale), int(zero_point))

    start, end = graph.input[0], graph.output[0]
    return (
        spec(start, [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == start.name]),
        spec(end, [n for n in graph.node if n.op_type == "QuantizeLinear" and n.output[0] == end.name]),
    )


def _quantised(fp32: onnx.ModelProto, calibration: Calibration, ranges: dict[str, tuple[float, int]]) -> bytes:
    """A QDQ file. `ranges`: scale and zero point of the tensors that are not calibrated."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    overrides = {
        tensor: [{"quant_type": QuantType.QUInt8, "scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for tensor, (scale, zero) in ranges.items()
    }
    options: dict[str, Any] = {"TensorQuantOverrides": overrides}
    if calibration.method == "percentile":
        options["CalibPercentile"] = PERCENTILE
    with tempfile.TemporaryDirectory() as folder:
        original, prepared, done = (str(Path(folder, f)) for f in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(fp32, original)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, done, Reader(fp32.graph.input[0].name, calibration.tensors), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[METHODS[calibration.method]], extra_options=options,
        )  # fmt: skip
        return Path(done).read_bytes()


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor wherever it is produced, used, or an output of the graph."""
    for output in graph.output:
        output.name = new if output.name == old else output.name
    for node in graph.node:
        node.output[:] = [new if o == old else o for o in node.output]
        node.input[:] = [new if i == old else i for i in node.input]


def _pixels(operator: str, source: str, target: str) -> onnx.NodeProto:
    """The node between bytes and values of 0..1."""
    return onnx.helper.make_node(operator, [source, _SCALE, _ZERO], [target], name=f"{target}/{operator}")
