"""Readable tensor names for model files: LAYER/OPERATOR instead of a converter's own names, so that Netron shows them well."""

import re
from collections.abc import Sequence

import onnx

from export.serialised_model import read_tflite, write_tflite

INPUT, OUTPUT = "blurred", "restored"


def tflite_with_readable_names(data: bytes, layers: Sequence[str]) -> bytes:
    """The same TFLite file with its tensors named LAYER/OPERATOR, from `blurred` to `restored`.

    `layers` are the network's own layer names. Constants that belong to no layer keep their names. Raises ExportError for a
    file whose weights lie outside it or that cannot be rewritten.
    """
    model = read_tflite(data)
    graph, names = model.subgraphs[0], _UniqueNames(layers)
    interface = {int(tensor): names.unique(INPUT) for tensor in graph.inputs}
    interface |= {int(tensor): names.unique(OUTPUT) for tensor in graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        content = model.buffers[tensor.buffer].data
        constant = content is not None and len(content) > 0
        tensor.name = interface.get(index) or names.readable((tensor.name or b"").decode(), constant=constant)
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
                entry.name = interface.get(entry.tensorIndex, entry.name)
    return write_tflite(model)


def onnx_with_readable_names(model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """A copy whose nodes and tensors are named LAYER/OPERATOR. Inputs, outputs and names used in subgraphs stay as they are."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    graph, names = renamed.graph, _UniqueNames(layers)
    kept = ["", *(value.name for value in (*graph.input, *graph.output)), *_used_in_subgraphs(graph)]
    new = {name: names.unique(name) for name in dict.fromkeys(kept)}
    for initializer in graph.initializer:
        if initializer.name not in new:
            new[initializer.name] = names.readable(initializer.name, constant=True)
    for node in graph.node:
        for name in node.output:
            if name not in new:
                new[name] = names.readable(name, constant=node.op_type == "Constant")
    node_names = _UniqueNames(layers)
    for node in graph.node:
        node.name = node.name and node_names.readable(node.name, constant=False)
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    for named in (*graph.initializer, *graph.value_info):
        named.name = new.get(named.name, named.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = new.get(annotation.tensor_name, annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = new.get(entry.value, entry.value)
    return renamed


class _UniqueNames:
    """Hands out each name once."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers, self._used = frozenset(layers), set[str]()

    def readable(self, name: str, *, constant: bool) -> str:
        """The readable form of a converter's name, such as "unet_1/up0_1/Relu;unet_1/up0_1/BiasAdd"."""
        fused = [alternative.removesuffix(":0") for alternative in name.split(";")]
        with_layer = next((path for part in fused if (path := self._from_layer(part.split("/")))), None)
        return self.unique(with_layer or (name if constant else "/".join(fused[0].split("/")[-2:])))

    def unique(self, name: str) -> str:
        """The name, with a number appended if it was handed out before."""
        unique, count = name, 1
        while unique in self._used:
            count += 1
            unique = f"{name}/{count}"
        self._used.add(unique)
        return unique

    def _from_layer(self, path: list[str]) -> str | None:
        """The path from its innermost layer on. The last part is tried last: an operator may be named like a layer."""
        for index in (*reversed(range(len(path) - 1)), len(path) - 1):
            for layer in (path[index], re.sub(r"_\d+$", "", path[index])):
                if layer in self._layers:
                    return "/".join([layer, *path[index + 1 :]])
        return None


def _used_in_subgraphs(graph: onnx.GraphProto) -> set[str]:
    """Names that occur in the subgraphs of control flow."""
    subgraphs = [g for node in graph.node for a in node.attribute for g in (*a.graphs, *([a.g] if a.HasField("g") else []))]
    names = {name for g in subgraphs for node in g.node for name in (*node.input, *node.output)}
    names |= {value.name for g in subgraphs for value in (*g.input, *g.output, *g.initializer)}
    return names.union(*map(_used_in_subgraphs, subgraphs))
