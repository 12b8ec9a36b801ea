"""An ONNX file: only the standard's operators, weights in it or beside it, and no traces of the machine that wrote it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from device.errors import BundleError
from device.system.console import quiet_stdio
from export import to_onnx
from export.foreign.declared import LIMIT
from export.foreign.interface import check_interface, first_line


def open_onnx(path: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """The checked model with all its weights, and the files that hold it. Raises BundleError."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node:
            raise ValueError("no operators")
    except Exception as error:  # protobuf's DecodeError, of one of several modules
        raise BundleError(f"{path}: damaged or no ONNX file ({first_line(error)}); export or copy it again") from error
    strange = sorted(_used_domains(model.graph) - {"", "ai.onnx"})
    if strange or model.functions:
        raise BundleError(
            f"{path}: uses {', '.join(strange) or 'functions of its own'}, expected the ONNX standard's operators, which every "
            "runtime has; export it again without an optimiser's operators, functions inlined"
        )
    del model.training_info[:], model.metadata_props[:]
    folder, files = path.parent, [path]
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            files.append(_beside(path, entries.get("location", "")))
    files = list(dict.fromkeys(files))
    size = sum(file.stat().st_size for file in files)
    if size > LIMIT:
        raise BundleError(f"{path}: {size} bytes with its weights, expected at most {LIMIT}; give a smaller network")
    try:
        with quiet_stdio():
            onnx.load_external_data_for_model(model, str(folder))
            opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
            if opset < 13:  # the quantiser needs a scale per channel
                model = onnx.version_converter.convert_version(model, to_onnx.OPSET)
            onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises exceptions of many kinds
        raise BundleError(
            f"{path}: not a valid ONNX file ({first_line(error)}); export it again with opset {to_onnx.OPSET}"
        ) from error
    for node in model.graph.node:  # an exporter may have written paths of its machine there
        node.doc_string = ""
        del node.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:], model.graph.value_info[:]
    return model, files


def _beside(path: Path, name: str) -> Path:
    """A file of weights; it must lie in the model's own folder. Raises BundleError."""
    file = path.parent / name
    if not name or Path(name).name != name or name == ".." or file.is_symlink():
        raise BundleError(
            f"{path}: its weights lie in {name!r}, expected a plain file beside it; export it with its weights inside"
        )
    if not file.is_file():
        raise BundleError(f"{path}: its weights lie in {name!r}, which is not there; copy that file beside it")
    return file


def _graphs(graph: Any) -> Iterator[Any]:
    """This graph and the graphs inside its operators."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _used_domains(graph: Any) -> set[str]:
    return {node.domain for inner in _graphs(graph) for node in inner.node}


def _tensors(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (a for node in inner.node for a in node.attribute):
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ):
                yield from (sparse.values, sparse.indices)


def interface_of(path: Path, model: onnx.ModelProto) -> tuple[Any, Any]:
    """Its only input and its only output. Raises BundleError."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    check_interface(path, len(inputs), len(model.graph.output))
    return inputs[0], model.graph.output[0]


def own_variant(model: onnx.ModelProto) -> str:
    """The variant that the file already is."""
    kinds = {node.op_type for graph in _graphs(model.graph) for node in graph.node}
    if kinds & {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}:
        return "dynamic"
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in _tensors(model.graph))
    return "fp16" if half else "fp32"


def with_plain_resizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove empty inputs of Resize: ONNX Runtime's fp16 converter puts a Cast before them, and then there are two sizes."""
    empty = {weight.name for weight in model.graph.initializer if 0 in weight.dims}
    for node in model.graph.node:
        if node.op_type == "Resize":
            node.input[:] = ["" if name in empty else name for name in node.input]
    return model


def session(path: Path, model: onnx.ModelProto) -> Any:
    """The model in an ONNX Runtime session. Raises BundleError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but Exception
        raise BundleError(f"{path}: ONNX Runtime does not load it ({first_line(error)}); export it again") from error
