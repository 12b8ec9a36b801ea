"""An int8 ONNX file beside the fp32 file that it was quantised from, layer by layer; any layer can go back to float.

A layer is one operator that computes (Conv, Add, ...) together with operators after it that only clip or move its values:
they share a range.
"""

import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization.quant_utils import TENSOR_NAME_QUANT_SUFFIX
from onnxruntime.quantization.shape_inference import quant_pre_process

from device.config import nearest
from device.errors import ExportError
from device.system.console import quiet_stdio

_MOVES = {"DepthToSpace", "Flatten", "Identity", "MaxPool", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"}
_CLIPS = {"Clip", "Max", "Min", "Relu"}
_ROUNDS = {"DequantizeLinear", "QuantizeLinear"}


@dataclass
class QuantisedLayer:
    """One 8-bit layer."""

    operator: str
    """Conv, Add, ...; `Input` for the picture itself."""
    range: tuple[float, float] | None = None
    """The smallest and the largest value that its 8-bit output can hold."""
    roundings: list[onnx.NodeProto] = field(default_factory=list)
    """The DequantizeLinear of its outputs and weights."""


class QuantisedOnnx:
    """An int8 QDQ file beside its fp32 file. They are matched by structure, since a converter may number names differently."""

    def __init__(self, int8: bytes, fp32: bytes) -> None:
        """`int8` was quantised from `fp32` and has float inputs and outputs. Raises ExportError."""
        self.int8, self.fp32 = int8, fp32
        self._model, self._float_model = onnx.load_from_string(int8), _prepared(fp32)
        graph, float_graph = self._model.graph, self._float_model.graph
        kinds = {value.type.tensor_type.elem_type for value in (graph.input[0], graph.output[0])}
        if kinds != {onnx.TensorProto.FLOAT}:
            raise ExportError(
                "the int8 file takes or gives 8-bit pixels, expected float32; give the same file with float32 pixels"
            )
        self._producers, self._float_producers = _producers(graph), _producers(float_graph)
        self._values = {value.name: value for value in graph.initializer}
        self._float_values = {value.name: value for value in float_graph.initializer}
        self._twins = self._matched(graph.output[0].name, float_graph.output[0].name)
        self.layers: dict[str, QuantisedLayer] = {}
        consumers = {name: node for node in graph.node for name in node.input}
        roundings = [node for node in graph.node if node.op_type == "DequantizeLinear"]
        for node in [node for node in roundings if node.input[0] in self._producers]:
            self._add_output(node)
        for node in [node for node in roundings if node.input[0] in self._values]:
            self._layer(self._twins[consumers[node.output[0]].output[0]]).roundings.append(node)
        if not self.layers:
            raise ExportError("nothing in the int8 file is 8-bit, expected a QDQ file; quantise with export.to_onnx")

    def _matched(self, output: str, float_output: str) -> dict[str, str]:
        """Every tensor of the int8 graph, before rounding, to its twin in the fp32 graph; walks from outputs up to inputs."""
        twins: dict[str, str] = {}
        open_pairs = [(output, float_output)]
        while open_pairs:
            tensor, twin = open_pairs.pop()
            while tensor in self._producers and self._producers[tensor].op_type in _ROUNDS:
                tensor = self._producers[tensor].input[0]
            if tensor in twins:
                continue
            twins[tensor] = twin
            if tensor in self._producers:
                node, float_node = self._producers[tensor], [*self._dropped(tensor, twin)][-1]
                open_pairs += zip(node.input, float_node.input, strict=False)
        return twins

    def _dropped(self, tensor: str, twin: str) -> Iterator[onnx.NodeProto]:
        """The nodes that lead to `twin`, backwards to the twin of the node that produces `tensor`.

        There is more than one where the quantiser dropped a Relu or Clip, because the 8-bit range clips as well.
        """
        operator, at = self._producers[tensor].op_type, twin
        while True:
            node = self._float_producers.get(at)
            if node is None or (node.op_type != operator and node.op_type not in _CLIPS):
                seen = f"{node.op_type if node else 'nothing'} makes {at} in the fp32 file"
                raise ExportError(f"{operator} makes {tensor} in the int8 file, {seen}; give the file that it was quantised from")
            yield node
            if node.op_type == operator:
                return
            at = self._data_input(node)

    def _data_input(self, node: onnx.NodeProto) -> str:
        return next(name for name in node.input if name not in self._float_values)

    def _add_output(self, node: onnx.NodeProto) -> None:
        twin = self._twins[self._producers[node.input[0]].input[0]]
        layer = self._layer(twin)
        layer.roundings.append(node)
        producer = self._float_producers.get(twin)
        if not layer.range or (producer and producer.op_type not in _MOVES):  # moved pixels lie in another order
            scale, zero = (numpy_helper.to_array(self._values[name]) for name in node.input[1:])
            low, high = (float((limit - int(zero)) * scale) for limit in (np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max))
            layer.range = low, high

    def _layer(self, twin: str) -> QuantisedLayer:
        """The layer that a tensor of the fp32 graph belongs to."""
        while (node := self._float_producers.get(twin)) and node.op_type in _MOVES | _CLIPS:
            twin = self._data_input(node)
        if node is None:
            return self.layers.setdefault(layer_of(twin), QuantisedLayer("Input"))
        # tf2onnx names some operators by a number of its own, but their biases by the layer.
        names = [twin, node.name, *(name for name in reversed(node.input) if name in self._float_values)]
        name = next((name for name in names if "/" in name), twin)
        return self.layers.setdefault(layer_of(name), QuantisedLayer(node.op_type))

    def in_float(self, layers: Collection[str]) -> bytes:
        """The file with weights and outputs of these layers in float. Raises ExportError."""
        for name in set(layers) - self.layers.keys():
            raise ExportError(f"the int8 file has no 8-bit layer {name!r}; {nearest(name, list(self.layers))}")
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        nodes, values = list(graph.node), {value.name: value for value in graph.initializer}
        renamed: dict[str, str] = {}
        unrounded: list[str] = []
        bypassed = {node.output[0] for name in layers for node in self.layers[name].roundings}
        for node in [node for node in nodes if node.output[0] in bypassed]:
            nodes.remove(node)
            if node.input[0] in self._values:
                name = node.input[0].removesuffix(TENSOR_NAME_QUANT_SUFFIX)
                values[name] = self._float_value(self._twins[node.input[0]], name)
                renamed[node.output[0]] = name
            else:
                name = self._producers[node.input[0]].input[0]
                unrounded.append(name)
                last = node.output[0] == graph.output[0].name
                renamed |= {name: node.output[0]} if last else {node.output[0]: name}
        for name in set(unrounded) & self._producers.keys():
            self._put_back(name, nodes, values)
        for node in nodes:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        _write(graph, nodes, values)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def _float_value(self, twin: str, name: str) -> onnx.TensorProto:
        value = onnx.TensorProto()
        value.CopyFrom(self._float_values[twin])
        value.name = name
        return value

    def _put_back(self, tensor: str, nodes: list[onnx.NodeProto], values: dict[str, onnx.TensorProto]) -> None:
        """Insert the Relu or Clip that the quantiser dropped before `tensor`."""
        *dropped, _ = self._dropped(tensor, self._twins[tensor])
        for node in dropped:
            at = next(i for i, other in enumerate(nodes) if tensor in other.output)
            before = f"{tensor}_before_{node.op_type}"
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name, copy.output[0] = before, tensor
            for i, name in enumerate(node.input):
                copy.input[i] = f"{before}_{i}" if name in self._float_values else before
                if name in self._float_values:
                    values[copy.input[i]] = self._float_value(name, copy.input[i])
            nodes[at].output[0] = before
            nodes.insert(at + 1, copy)
            tensor = before


def _producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def _prepared(fp32: bytes) -> onnx.ModelProto:
    """The graph that was quantised: weights folded and fused as the export does before it quantises."""
    with tempfile.TemporaryDirectory() as folder, quiet_stdio():
        original, prepared = Path(folder, "fp32.onnx"), Path(folder, "prepared.onnx")
        original.write_bytes(fp32)
        try:
            quant_pre_process(str(original), str(prepared), skip_symbolic_shape=True)
            return onnx.load(prepared)
        except Exception as error:  # ONNX and its runtime raise exceptions of many kinds
            raise ExportError(f"the fp32 file cannot be prepared for quantisation: {error}; export it again") from error


def _write(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], values: dict[str, onnx.TensorProto]) -> None:
    """Put those nodes and values into `graph` that its output needs."""
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    # Copied first, since the nodes may belong to the graph itself.
    kept_bytes = [node.SerializeToString() for node in reversed(kept)]
    values_bytes = [value.SerializeToString() for name, value in values.items() if name in needed]
    for part in (graph.node, graph.initializer, graph.value_info):
        del part[:]
    for data in kept_bytes:
        graph.node.add().ParseFromString(data)
    for data in values_bytes:
        graph.initializer.add().ParseFromString(data)


def layer_of(tensor: str) -> str:
    """The layer that produces `tensor`, from LAYER/OPERATOR, tf2onnx's MODEL_1/LAYER_1/OPERATOR:0 or PyTorch's /PATH/OPERATOR."""
    parts = tensor.split("/")
    if parts[0] == "":
        return "/".join(parts[1:-1]) or parts[-1]
    if len(parts) > 2 and re.search(r":\d+$", tensor):
        return re.sub(r"_\d+$", "", parts[-2])  # a number that TensorFlow appends when it built the layer before
    return re.sub(r":\d+$", "", parts[0])
