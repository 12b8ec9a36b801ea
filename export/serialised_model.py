"""Read and rewrite whole TFLite and ONNX files, in memory."""

from collections.abc import Iterable
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import onnx
from ai_edge_litert import schema_py_generated as schema

from device.errors import ExportError

_ALIGNMENT = 16  # bytes: the TFLite schema demands it of buffers, and kernels load that much at once


def read_onnx(data: bytes) -> onnx.ModelProto:
    """The model in an ONNX file. Raises ExportError for weights in a file of their own."""
    model = onnx.load_from_string(data)
    external = [tensor.name for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if external:
        raise ExportError(f"ONNX: {external[0]!r} lies in a file of its own; expected one file, save it without external data")
    return model


def read_tflite(data: bytes) -> Any:
    """The model in a TFLite file, as the schema's ModelT. Raises ExportError where rewriting it would lose something."""
    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise ExportError("TFLite: expected TFL3 at the fifth byte, so this is not a TFLite model; give a converter's file")
    model = schema.ModelT.InitFromPackedBuf(data)
    operators = [operator for graph in model.subgraphs for operator in graph.operators or ()]
    if (
        model.externalBuffers
        or any(buffer.offset > 1 for buffer in model.buffers)
        or any(operator.largeCustomOptionsOffset > 1 for operator in operators)
    ):
        raise ExportError("TFLite: the weights lie behind the model or outside the file; expected one model below 2 GB")
    for operator in operators:
        kinds = operator.builtinOptionsType, operator.builtinOptions2Type
        if any(kind and not read for kind, read in zip(kinds, (operator.builtinOptions, operator.builtinOptions2), strict=True)):
            raise ExportError(f"TFLite: operator options of kind {max(kinds)} cannot be read; update ai-edge-litert")
    return model


def write_tflite(model: Any) -> bytes:
    """A ModelT as a TFLite file; the same bytes for the same model."""
    sizes: Iterable[int] = (len(buffer.data) + 2 * _ALIGNMENT for buffer in model.buffers if buffer.data is not None)
    builder = _Builder(sum(sizes) + (1 << 20))  # a builder that has to grow copies everything
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Aligns vectors of bytes, as the schema's `force_align` demands; the Python builder does not know that attribute."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)
