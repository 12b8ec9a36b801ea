"""Model files that carry their contract inside (`device.bundle.embedded` reads it), and names that Netron shows well."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from device.bundle.embedded import KEY
from device.bundle.manifest import Artifact, Manifest
from device.errors import ExportError
from export.to_ncnn import with_entry

INPUT, OUTPUT = "blurred", "restored"
_ALIGNED = 16  # bytes: what the TFLite schema demands of buffers, and what kernels load at once


def contract_of(manifest: Manifest, artifact: Artifact) -> dict[str, Any]:
    """What a file carries inside: manifest.json with this one artifact, and nothing that the file itself would change."""
    alone = replace(manifest, weights=None, artifacts=(replace(artifact, file="", sha256="", bytes=0),))
    return json.loads(json.dumps(asdict(alone)))


def with_contract(data: bytes, format_: str, contract: dict[str, Any]) -> bytes:
    """The same model with the contract inside, in place of one that is there; the same bytes for the same arguments.

    `format_` is `tflite`, `onnx` or `ncnn`. Raises ExportError for a file whose weights lie outside it, or that cannot be
    rewritten.
    """
    text = json.dumps(contract, sort_keys=True, separators=(",", ":"))
    if format_ == "ncnn":
        return with_entry(data, text.encode())
    if format_ == "onnx":
        return _onnx_with(data, text, _description(contract))
    return _tflite_with(data, text, _description(contract))


def readable(data: bytes, format_: str, layers: Sequence[str]) -> bytes:
    """The same model with tensors called LAYER/OPERATOR, from `blurred` to `restored`; constants of no layer keep their names.

    `layers` are the network's own names. Raises ExportError as `with_contract` does.
    """
    if format_ == "onnx":
        return readable_onnx(_onnx_model(data), layers).SerializeToString(deterministic=True)
    model = _tflite_model(data)
    graph, names = model.subgraphs[0], _Names(layers)
    ends = {int(tensor): names.taken(INPUT) for tensor in graph.inputs}
    ends |= {int(tensor): names.taken(OUTPUT) for tensor in graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        held = model.buffers[tensor.buffer].data
        tensor.name = ends.get(index) or names.of((tensor.name or b"").decode(), held is not None and len(held) > 0)
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            for end in (*(signature.inputs or ()), *(signature.outputs or ())):
                end.name = ends.get(end.tensorIndex, end.name)
    return _tflite_bytes(model)


def readable_onnx(model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """A copy whose nodes and tensors are called LAYER/OPERATOR; its inputs and outputs, and what subgraphs use, keep theirs."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    graph, names = renamed.graph, _Names(layers)
    kept = ["", *(end.name for end in (*graph.input, *graph.output)), *_used_inside(graph)]
    new = {name: names.taken(name) for name in dict.fromkeys(kept)}
    for initializer in graph.initializer:
        if initializer.name not in new:
            new[initializer.name] = names.of(initializer.name, constant=True)
    for node in graph.node:
        for name in node.output:
            if name not in new:
                new[name] = names.of(name, constant=node.op_type == "Constant")
    of_nodes = _Names(layers)
    for node in graph.node:
        node.name = node.name and of_nodes.of(node.name, constant=False)
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    for named in (*graph.initializer, *graph.value_info):
        named.name = new.get(named.name, named.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = new.get(annotation.tensor_name, annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = new.get(entry.value, entry.value)
    return renamed


class _Names:
    """Gives out names, each once."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers, self._taken = frozenset(layers), set[str]()

    def of(self, name: str, constant: bool) -> str:
        """The readable form of a converter's name, such as "unet_1/up0_1/Relu;unet_1/up0_1/BiasAdd"."""
        fused = [alternative.removesuffix(":0") for alternative in name.split(";")]
        with_layer = next((found for path in fused if (found := self._from_layer(path.split("/")))), None)
        return self.taken(with_layer or (name if constant else "/".join(fused[0].split("/")[-2:])))

    def taken(self, name: str) -> str:
        """The name, with a number behind it if it was given out before."""
        unique, count = name, 1
        while unique in self._taken:
            count += 1
            unique = f"{name}/{count}"
        self._taken.add(unique)
        return unique

    def _from_layer(self, path: list[str]) -> str | None:
        """The path from the innermost layer on; an operator may be called like a layer, so the last part is asked last."""
        for index in (*reversed(range(len(path) - 1)), len(path) - 1):
            for layer in (path[index], re.sub(r"_\d+$", "", path[index])):
                if layer in self._layers:
                    return "/".join([layer, *path[index + 1 :]])
        return None


def _description(contract: dict[str, Any]) -> str:
    artifact, name = contract["artifacts"][0], contract["name"]
    return f"{name} ({artifact['variant']}): takes the blur out of pictures; made by deblurkit, its contract is inside as {KEY!r}"


def _onnx_with(data: bytes, text: str, description: str) -> bytes:
    model = _onnx_model(data)
    others = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    for key, value in (*others, (KEY, text)):
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.doc_string = KEY, description
    model.ClearField("producer_version")  # the converter's; made_with in the contract has it
    return model.SerializeToString(deterministic=True)


def _onnx_model(data: bytes) -> onnx.ModelProto:
    model = onnx.load_from_string(data)
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ExportError(f"ONNX: {outside[0]!r} lies in a file of its own; expected one file, save it without external data")
    return model


def _used_inside(graph: onnx.GraphProto) -> set[str]:
    """Names that occur in the subgraphs of control flow."""
    inner = [g for node in graph.node for a in node.attribute for g in (*a.graphs, *([a.g] if a.HasField("g") else []))]
    here = {name for g in inner for node in g.node for name in (*node.input, *node.output)}
    here |= {end.name for g in inner for end in (*g.input, *g.output, *g.initializer)}
    return here.union(*map(_used_inside, inner))


def _tflite_with(data: bytes, text: str, description: str) -> bytes:
    model = _tflite_model(data)
    model.metadata = model.metadata or []
    held = next((entry for entry in model.metadata if entry.name == KEY.encode()), None)
    if held is None:
        held = schema.MetadataT(name=KEY.encode(), buffer=len(model.buffers))
        model.metadata.append(held)
        model.buffers.append(schema.BufferT())
    model.buffers[held.buffer].data = np.frombuffer(text.encode(), np.uint8)
    model.description = description
    return _tflite_bytes(model)


def _tflite_model(data: bytes) -> Any:
    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise ExportError("TFLite: no TFL3 at the fifth byte, so this is no TFLite model; give the file that a converter wrote")
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


def _tflite_bytes(model: Any) -> bytes:
    held: Iterable[int] = (len(buffer.data) + 2 * _ALIGNED for buffer in model.buffers if buffer.data is not None)
    builder = _Builder(sum(held) + (1 << 20))  # growing copies everything
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Aligns vectors of bytes, as the schema's `force_align` demands; the Python builder knows no such attribute."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        return super().StartVector(elemSize, numElems, _ALIGNED if elemSize == 1 else alignment)
