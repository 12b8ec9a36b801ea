"""An ONNX network, wrapped to follow the contract of the kit's own files: channels last, 0..1, `blurred` to `restored`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from device.errors import BundleError, ExportError
from export import to_onnx
from export.calibration import METHODS
from export.export_source import Calibration, Pictures
from export.foreign.declared import Declared
from export.foreign.interface import NOT_A_PICTURE, Shape, check_output, chosen_size, first_line, manifest_of, shown
from export.foreign.onnx_file import interface_of, open_onnx, own_variant, session, with_plain_resizes

_WEIGHT_TYPES = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT8, onnx.TensorProto.UINT8,
}  # fmt: skip


class OnnxSource:
    """See ExportSource. Offers the three ONNX files; of a file that is already 8 bits or fp16, only that one."""

    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(
        self, path: Path, declared: Declared, pictures: Callable[[int, int], Pictures], size: tuple[int, int] | None
    ) -> None:
        """Raises as `open_foreign` does."""
        model, files = open_onnx(path)
        self._declared = declared
        start, end = interface_of(path, model)
        self._kinds = _element_type(path, start), _element_type(path, end)
        shape = tuple(dim.dim_value or None for dim in start.type.tensor_type.shape.dim)
        self._first = _channels_first(path, declared, shape)
        self.size, fixed = chosen_size(path, declared, _last(shape) if self._first else shape, size)
        own = own_variant(model)
        self.offers = tuple(("onnx", v) for v in to_onnx.VARIANTS) if own == "fp32" else (("onnx", own),)
        self._graph = _wrapped(path, declared, model, self._first, self._kinds, fixed)
        self._session = session(path, model)
        session(path, self._graph)  # the wrapped network must run too
        check_output(path, declared, fixed, self.reference)
        parameters = sum(int(np.prod(w.dims)) for w in model.graph.initializer if w.data_type in _WEIGHT_TYPES)
        self.manifest = manifest_of(path, declared, fixed, parameters, _macs(self._graph, self.size), files)
        self.pictures = pictures(*self.size)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See ExportSource.reference. Runs the original file, so that the wrapping is compared too."""
        low, high = self._declared.value_range
        name, outputs = self._session.get_inputs()[0].name, []
        for tensor in tensors:
            x = (tensor[None] * np.float32(high - low) + np.float32(low)).astype(
                onnx.helper.tensor_dtype_to_np_dtype(self._kinds[0])
            )
            (y,) = self._session.run(None, {name: x.transpose(0, 3, 1, 2) if self._first else x})
            y = (y.astype(np.float32) - np.float32(low)) / np.float32(high - low)
            outputs.append(y.transpose(0, 2, 3, 1) if self._first else y)
        return np.concatenate(outputs)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See ExportSource.calibrations. Empty for a file that is already 8 bits."""
        return [Calibration(method, self.pictures.calibration) for method in METHODS] if len(self.offers) > 1 else []

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See ExportSource.convert."""
        if (format_, variant) not in self.offers:
            raise ExportError(f"this ONNX file cannot become a {variant} {format_} file; it can become {self.offers}")
        return to_onnx.to_onnx(self._graph, variant if len(self.offers) > 1 else "fp32", calibration)

    def fp32_onnx(self, calibration: Calibration) -> bytes:
        """See ExportSource.fp32_onnx."""
        return self._graph.SerializeToString()


def _element_type(path: Path, value: Any) -> int:
    kind = int(value.type.tensor_type.elem_type)
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        name = onnx.TensorProto.DataType.Name(kind)
        raise BundleError(f"{path}: {value.name} is of {name}, expected FLOAT or FLOAT16; export it with float input and output")
    return kind


def _channels_first(path: Path, declared: Declared, shape: Shape) -> bool:
    """Whether the channels come before height and width, as in PyTorch. Raises BundleError where the shape does not say it."""
    if len(shape) != 4:
        raise BundleError(f"{path}: takes {shown(shape)}, expected four dimensions; {NOT_A_PICTURE}")
    channels = declared.channels
    first, last = shape[1] == channels, shape[3] == channels
    if first == last:
        seen = (
            "so channels may come first or last" if first or None in (shape[1], shape[3]) else f"none of them {channels} channels"
        )
        raise BundleError(
            f"{path}: takes {shown(shape)}, {seen}; expected (1, {channels}, height, width) or (1, height, width, {channels}) "
            f"for --colour {declared.colour}: export it with a fixed number of channels and open sizes, or give another --colour"
        )
    return first


def _last(shape: Shape) -> Shape:
    return shape[0], shape[2], shape[3], shape[1]


_Step = tuple[str, tuple[float, ...], dict[str, Any]]
_NOTHING: list[_Step] = [("Identity", (), {})]


def _wrapped(
    path: Path, declared: Declared, model: onnx.ModelProto, first: bool, kinds: tuple[int, int], fixed: tuple[int, int] | None
) -> onnx.ModelProto:
    """The model with batch 1, channels last, input `blurred` and output `restored`, both float32 in 0..1."""
    inner = onnx.compose.add_prefix(model, "foreign/")
    start, end = interface_of(path, inner)
    low, high = declared.value_range
    before: list[_Step] = []
    after: list[_Step] = []
    before += [("Mul", (high - low,), {})] * declared.scaled + [("Add", (low,), {})] * (low != 0)
    before += [("Transpose", (), {"perm": [0, 3, 1, 2]})] * first
    before += [("Cast", (), {"to": kinds[0]})] * (kinds[0] != onnx.TensorProto.FLOAT)
    after += [("Cast", (), {"to": onnx.TensorProto.FLOAT})] * (kinds[1] != onnx.TensorProto.FLOAT)
    after += [("Transpose", (), {"perm": [0, 2, 3, 1]})] * first
    after += [("Add", (-low,), {})] * (low != 0) + [("Mul", (1 / (high - low),), {})] * declared.scaled
    heads, head_values = _steps("before", "blurred", start.name, before)
    tails, tail_values = _steps("after", end.name, "restored", after)
    height, width = fixed or ("height", "width")
    interface = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, height, width, declared.channels))
        for name in ("blurred", "restored")
    ]
    initializers = [*inner.graph.initializer, *head_values, *tail_values]
    graph = onnx.helper.make_graph([*heads, *inner.graph.node, *tails], "restoration", interface[:1], interface[1:], initializers)
    graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    wrapped = onnx.helper.make_model(graph, opset_imports=list(inner.opset_import), ir_version=max(8, inner.ir_version))
    try:
        onnx.checker.check_model(wrapped)
    except Exception as error:  # onnx raises exceptions of many kinds
        raise BundleError(f"{path}: cannot be wrapped ({first_line(error)}); export it with opset {to_onnx.OPSET}") from error
    return with_plain_resizes(wrapped)


def _steps(prefix: str, start: str, end: str, steps: list[_Step]) -> tuple[list[Any], list[Any]]:
    """A chain of operators from the tensor `start` to `end`, and their constants."""
    nodes, constants = [], []
    for i, (operator, values, attributes) in enumerate(steps or _NOTHING):
        names = [f"{prefix}/{i}/constant"] * len(values)
        constants += [onnx.numpy_helper.from_array(np.array(v, np.float32), n) for v, n in zip(values, names, strict=True)]
        to = end if i >= len(steps) - 1 else f"{prefix}/{i}"
        nodes.append(onnx.helper.make_node(operator, [start, *names], [to], name=f"{prefix}/{operator}_{i}", **attributes))
        start = to
    return nodes, constants


def _macs(model: onnx.ModelProto, hw: tuple[int, int]) -> float:
    """Multiplications per pixel of convolutions and matrix products; 0.0 where a shape stays unknown."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for axis, length in ((1, hw[0]), (2, hw[1])):
        sized.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
        sized.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = length
    try:
        graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    except Exception:  # onnx raises exceptions of many kinds
        return 0.0
    shapes = {w.name: list(w.dims) for w in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        x, w, y = (shapes.get(name, [0]) for name in (node.input[0], node.input[1], node.output[0]))
        if not (all(x) and all(w) and all(y)):
            return 0.0
        attributes = {a.name: a.i for a in node.attribute}
        match node.op_type:
            case "Conv":
                total += int(np.prod(y)) * int(np.prod(w[1:]))
            case "ConvTranspose":
                total += int(np.prod(x)) * int(np.prod(w[1:]))
            case "MatMul":
                total += int(np.prod(y)) * x[-1]
            case "Gemm":
                total += int(np.prod(y)) * (x[0] if attributes.get("transA") else x[1])
    return total / (hw[0] * hw[1])
