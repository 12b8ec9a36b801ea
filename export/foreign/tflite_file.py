"""A TFLite file of LiteRT's own operators: its variant and parameters, its outputs, its multiplications."""

from pathlib import Path
from typing import Any

import numpy as np

from device.bundle.manifest import TensorSpec
from device.errors import BundleError
from device.system.console import quiet_stdio
from export.foreign.interface import Shape, check_interface, first_line


def checked_tflite(path: Path, data: bytes) -> tuple[str, int, tuple[Shape, Shape]]:
    """Variant, parameters, and input and output shape of a file that LiteRT runs with its own operators. Raises BundleError."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 at its start")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        strange = [
            (c.customCode or b"").decode(errors="replace") or names.get(code, str(code))
            for c, code in zip(model.operatorCodes, codes, strict=True)
            if c.customCode or code not in names or names[code] in ("CUSTOM", "DELEGATE")
        ]
        tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
        outside = bool(model.externalBuffers) or any(buffer.offset or buffer.size for buffer in model.buffers)
        main = model.subgraphs[0]
        counts = len(main.inputs), len(main.outputs)
        shapes = _shape(main.tensors[main.inputs[0]]), _shape(main.tensors[main.outputs[0]])
        constants = [t for t in tensors if model.buffers[t.buffer].data is not None and len(model.buffers[t.buffer].data)]
        weights = [t for t in constants if t.type not in (schema.TensorType.INT32, schema.TensorType.INT64) or _scaled(t)]
    except Exception as error:  # the schema's readers raise exceptions of many kinds on damaged data
        raise BundleError(f"{path}: damaged or no TFLite file ({first_line(error)}); convert or copy it again") from error
    if strange:
        raise BundleError(
            f"{path}: has the operators {', '.join(strange)}, which LiteRT does not have itself; "
            "convert it with TFLite's built-in operators only"
        )
    if outside:
        raise BundleError(f"{path}: keeps weights outside its buffers, expected all inside; convert it again")
    check_interface(path, *counts)
    kinds = {t.type for t in weights}
    eight = {schema.TensorType.INT8, schema.TensorType.UINT8}
    flowing = {t.type for t in tensors if t not in constants}
    variant = (
        "int8" if flowing & eight else "dynamic" if kinds & eight else "fp16" if schema.TensorType.FLOAT16 in kinds else "fp32"
    )
    return variant, sum(int(np.prod(t.shape)) for t in weights if t.shape is not None), shapes


def _scaled(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.scale is not None


def _shape(tensor: Any) -> Shape:
    signature = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return tuple(None if size < 0 else int(size) for size in ([] if signature is None else signature))


def tflite_outputs(data: bytes, specs: tuple[TensorSpec, TensorSpec], tensors: np.ndarray) -> np.ndarray:
    """LiteRT's output for (n, h, w, c) in 0..1 with this file, resized to that size. Raises whatever LiteRT raises."""
    start, end = specs
    interpreter = _interpreter(data, tensors.shape[1:])
    indices = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for tensor in tensors:
        x = tensor[None].astype(np.float32)
        if start.dtype != "float32":
            limits = np.iinfo(start.dtype)
            x = np.clip(np.rint(x / start.scale) + start.zero_point, limits.min, limits.max).astype(start.dtype)
        interpreter.set_tensor(indices[0], x)
        interpreter.invoke()
        y = interpreter.get_tensor(indices[1]).astype(np.float32)
        outputs.append(y if end.dtype == "float32" else np.float32(end.scale) * (y - end.zero_point))
    return np.concatenate(outputs)


def _interpreter(data: bytes, shape_hwc: tuple[int, ...], delegates: bool = True) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet_stdio():
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver, num_threads=2)
        details = interpreter.get_input_details()[0]
        if tuple(details["shape"]) != (1, *shape_hwc):
            interpreter.resize_tensor_input(details["index"], (1, *shape_hwc))
        interpreter.allocate_tensors()
    return interpreter


def tflite_macs(data: bytes, hw: tuple[int, int]) -> float:
    """Multiplications per pixel of convolutions and matrix products; 0.0 where a shape stays unknown."""
    from ai_edge_litert.interpreter import Interpreter

    channels = int(Interpreter(model_content=data).get_input_details()[0]["shape"][3])
    interpreter, total = _interpreter(data, (*hw, channels), delegates=False), 0
    shapes = {details["index"]: details["shape"].tolist() for details in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        ins, out = [shapes.get(int(i), []) for i in operator["inputs"]], int(np.prod(shapes[int(operator["outputs"][0])]))
        match operator["op_name"]:
            case "CONV_2D":
                total += out * int(np.prod(ins[1][1:]))
            case "DEPTHWISE_CONV_2D":
                total += out * int(np.prod(ins[1][1:3]))
            case "TRANSPOSE_CONV":
                total += int(np.prod(ins[2])) * int(np.prod(ins[1][:3]))
            case "FULLY_CONNECTED":
                total += out * ins[1][1]
            case "BATCH_MATMUL":
                total += out * ins[0][-1]
    return total / (hw[0] * hw[1])
