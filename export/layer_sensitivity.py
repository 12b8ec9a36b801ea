"""Which layer of an int8 ONNX file loses the quality, and the file that keeps such layers in float.

A layer is one operator that computes (Conv, Add, ...) with what only clips or moves its values after it: they share a range.
"""

import csv
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from matplotlib.figure import Figure
from onnx import numpy_helper
from onnxruntime.quantization.quant_utils import TENSOR_NAME_QUANT_SUFFIX
from onnxruntime.quantization.shape_inference import quant_pre_process

from device.config import nearest
from device.errors import ExportError
from device.images.quality import mean_psnr, psnr
from device.runtimes.onnxruntime import session_options
from device.system.console import quiet_stdio

_THREADS = 2
_MOVES = {"DepthToSpace", "Flatten", "Identity", "MaxPool", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"}
_CLIPS = {"Clip", "Max", "Min", "Relu"}
_ROUNDS = {"DequantizeLinear", "QuantizeLinear"}


@dataclass(frozen=True)
class LayerSensitivity:
    """What 8 bits do to one layer."""

    layer: str
    operator: str
    """Conv, Add, ...; `Input` for the picture itself."""
    low: float
    high: float
    """The least and the greatest value that its 8-bit output can hold."""
    alone_db: float
    """PSNR that the restored pictures lose when only this layer's weights and output are 8-bit."""
    back_db: float
    """PSNR that the int8 file gains when only this layer is in float."""
    alone_parity_db: float
    """PSNR between the pictures of fp32 and those when only this layer is 8-bit: what the layer does, for better or worse."""


def layer_sensitivities(int8: bytes, fp32: bytes, tensors: np.ndarray, sharp: np.ndarray) -> list[LayerSensitivity]:
    """Every 8-bit layer of the QDQ file `int8`, made from the file `fp32`, worst first, by `alone_parity_db`.

    `tensors` (n, h, w, c) float32 go in, `sharp` of the output's shape is what should come out; 0..1. Raises ExportError.
    """
    file = _Quantised(int8, fp32)
    layers = file.layers

    def restored(model: bytes) -> np.ndarray:
        return np.clip(np.concatenate(list(_run(model, tensors))), 0, 1)

    exact = restored(fp32)
    float_db, int8_db = mean_psnr(exact, sharp, 1.0), mean_psnr(restored(int8), sharp, 1.0)
    losses = []
    for name, layer in layers.items():
        alone = restored(file.in_float(layers.keys() - {name}))
        back_db = mean_psnr(restored(file.in_float({name})), sharp, 1.0) - int8_db
        alone_db = float_db - mean_psnr(alone, sharp, 1.0)
        losses.append(
            LayerSensitivity(name, layer.operator, *(layer.range or (0.0, 0.0)), alone_db, back_db, psnr(alone, exact, 1.0))
        )
    return sorted(losses, key=lambda loss: loss.alone_parity_db)


def in_float(int8: bytes, fp32: bytes, layers: Sequence[str]) -> bytes:
    """The QDQ file `int8`, made from the file `fp32`, with weights and outputs of `layers` in float. Raises ExportError."""
    return _Quantised(int8, fp32).in_float(layers)


def layer_of(tensor: str) -> str:
    """The layer that puts `tensor` out: of LAYER/OPERATOR, tf2onnx's MODEL_1/LAYER_1/OPERATOR:0 or PyTorch's /PATH/OPERATOR."""
    parts = tensor.split("/")
    if parts[0] == "":
        return "/".join(parts[1:-1]) or parts[-1]
    if len(parts) > 2 and re.search(r":\d+$", tensor):
        return re.sub(r"_\d+$", "", parts[-2])  # counted by TensorFlow, which has built the layer before
    return re.sub(r":\d+$", "", parts[0])


def describe(losses: Sequence[LayerSensitivity], most: int = 5) -> list[str]:
    """A sentence about each of the first `most` layers."""
    return [
        f"{loss.layer} ({loss.operator}): alone loses {_db(loss.alone_db)}, in float brings back {_db(loss.back_db)}; "
        f"holds {_range(loss)}; alone {loss.alone_parity_db:.0f} dB from fp32"
        for loss in losses[:most]
    ]


def write_report(folder: Path, name: str, losses: Sequence[LayerSensitivity]) -> Path:
    """Write every layer's loss as a table and a picture; returns the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}_int8_layers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([column.name for column in fields(LayerSensitivity)])
        table.writerows(astuple(loss) for loss in losses)
    picture = folder / f"{name}_int8_layers.png"
    plot(losses, picture, f"{name}: what 8 bits cost, layer by layer")
    return picture


def plot(losses: Sequence[LayerSensitivity], path: Path, title: str) -> None:
    """A PNG: for each layer, in the order given, what it loses alone and what float brings back, with its range beside."""
    figure = Figure(figsize=(9, 2 + 0.27 * len(losses)), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(losses))
    axes.barh(at, [loss.alone_db for loss in losses], color="C3", height=0.7, label="lost when only this layer is 8-bit")
    back = [loss.back_db for loss in losses]
    axes.plot(back, at, "o", color="C0", markersize=5, label="gained when only this layer is in float")
    axes.set_yticks(at, [f"{loss.layer} ({loss.operator})" for loss in losses], fontsize=9)
    axes.set(xlabel="PSNR, dB", ylim=(len(losses) - 0.4, -0.6))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(at, [f"{_db(loss.alone_db):>8}  {_range(loss)}" for loss in losses], fontsize=8, family="monospace")
    beside.set_ylabel("lost, and what its 8 bits can hold", fontsize=9, labelpad=12)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    figure.savefig(path, dpi=110)


def _db(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f} dB"  # no -0.00


def _range(loss: LayerSensitivity) -> str:
    return f"{loss.low:.4g}..{loss.high:.4g}"


@dataclass
class _Layer:
    operator: str
    range: tuple[float, float] | None = None
    roundings: list[onnx.NodeProto] = field(default_factory=list)
    """DequantizeLinear of its outputs and weights."""


class _Quantised:
    """An int8 file beside the float graph that it was made from. They are matched by structure: names may be counted anew."""

    def __init__(self, int8: bytes, fp32: bytes) -> None:
        self._model, self._float_model = onnx.load_from_string(int8), _prepared(fp32)
        graph, float_graph = self._model.graph, self._float_model.graph
        kinds = {value.type.tensor_type.elem_type for value in (graph.input[0], graph.output[0])}
        if kinds != {onnx.TensorProto.FLOAT}:
            raise ExportError(
                "the int8 file takes or gives 8-bit pixels, float32 was expected; give its twin with float32 pixels"
            )
        self._makers, self._float_makers = _makers(graph), _makers(float_graph)
        self._values = {value.name: value for value in graph.initializer}
        self._float_values = {value.name: value for value in float_graph.initializer}
        self._twins = self._matched(graph.output[0].name, float_graph.output[0].name)
        self.layers: dict[str, _Layer] = {}
        takers = {name: node for node in graph.node for name in node.input}
        roundings = [node for node in graph.node if node.op_type == "DequantizeLinear"]
        for node in [node for node in roundings if node.input[0] in self._makers]:
            self._add_output(node)
        for node in [node for node in roundings if node.input[0] in self._values]:
            self._layer(self._twins[takers[node.output[0]].output[0]]).roundings.append(node)
        if not self.layers:
            raise ExportError("nothing in the int8 file is 8-bit, a QDQ file was expected; quantise with export.to_onnx")

    def _matched(self, output: str, float_output: str) -> dict[str, str]:
        """Every tensor of the int8 graph, unrounded, to the fp32 graph's, from the outputs up to inputs and weights."""
        twins: dict[str, str] = {}
        open_pairs = [(output, float_output)]
        while open_pairs:
            tensor, twin = open_pairs.pop()
            while tensor in self._makers and self._makers[tensor].op_type in _ROUNDS:
                tensor = self._makers[tensor].input[0]
            if tensor in twins:
                continue
            twins[tensor] = twin
            if tensor in self._makers:
                node, float_node = self._makers[tensor], [*self._dropped(tensor, twin)][-1]
                open_pairs += zip(node.input, float_node.input, strict=False)
        return twins

    def _dropped(self, tensor: str, twin: str) -> Iterator[onnx.NodeProto]:
        """What makes `twin`, from there back to the twin of what makes `tensor`.

        There is more than one where the quantiser has dropped a Relu or Clip, since the 8-bit range clips as well.
        """
        operator, at = self._makers[tensor].op_type, twin
        while True:
            node = self._float_makers.get(at)
            if node is None or (node.op_type != operator and node.op_type not in _CLIPS):
                seen = f"{node.op_type if node else 'nothing'} makes {at} in the fp32 file"
                raise ExportError(f"{operator} makes {tensor} in the int8 file, {seen}; give the file that it was quantised from")
            yield node
            if node.op_type == operator:
                return
            at = self._comes_from(node)

    def _comes_from(self, node: onnx.NodeProto) -> str:
        return next(name for name in node.input if name not in self._float_values)

    def _add_output(self, node: onnx.NodeProto) -> None:
        twin = self._twins[self._makers[node.input[0]].input[0]]
        layer = self._layer(twin)
        layer.roundings.append(node)
        made_by = self._float_makers.get(twin)
        if not layer.range or (made_by and made_by.op_type not in _MOVES):  # moved pixels lie in another order
            scale, zero = (numpy_helper.to_array(self._values[name]) for name in node.input[1:])
            low, high = (float((limit - int(zero)) * scale) for limit in (np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max))
            layer.range = low, high

    def _layer(self, twin: str) -> _Layer:
        """The layer that the fp32 graph's tensor belongs to."""
        while (node := self._float_makers.get(twin)) and node.op_type in _MOVES | _CLIPS:
            twin = self._comes_from(node)
        if node is None:
            return self.layers.setdefault(layer_of(twin), _Layer("Input"))
        # tf2onnx calls some operators by a count of its own, but their biases by the layer.
        names = [twin, node.name, *(name for name in reversed(node.input) if name in self._float_values)]
        name = next((name for name in names if "/" in name), twin)
        return self.layers.setdefault(layer_of(name), _Layer(node.op_type))

    def in_float(self, layers: Collection[str]) -> bytes:
        """The file with these layers in float."""
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
                name = self._makers[node.input[0]].input[0]
                unrounded.append(name)
                ends = node.output[0] == graph.output[0].name
                renamed |= {name: node.output[0]} if ends else {node.output[0]: name}
        for name in set(unrounded) & self._makers.keys():
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
        """The Relu or Clip that the quantiser has dropped before `tensor`."""
        *dropped, _ = self._dropped(tensor, self._twins[tensor])
        for node in dropped:
            at = next(i for i, made in enumerate(nodes) if tensor in made.output)
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


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def _prepared(fp32: bytes) -> onnx.ModelProto:
    """The graph that was quantised: weights folded and fused as the exporter does before."""
    with tempfile.TemporaryDirectory() as folder, quiet_stdio():
        given, prepared = Path(folder, "fp32.onnx"), Path(folder, "prepared.onnx")
        given.write_bytes(fp32)
        try:
            quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
            return onnx.load(prepared)
        except Exception as error:  # ONNX and its runtime raise exceptions of many kinds
            raise ExportError(f"the fp32 file cannot be prepared as before quantising: {error}; export it again") from error


def _write(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], values: dict[str, onnx.TensorProto]) -> None:
    """Put into `graph` what of these reaches its output."""
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    # Copies first: the nodes may be the graph's own.
    kept_bytes = [node.SerializeToString() for node in reversed(kept)]
    values_bytes = [value.SerializeToString() for name, value in values.items() if name in needed]
    for part in (graph.node, graph.initializer, graph.value_info):
        del part[:]
    for data in kept_bytes:
        graph.node.add().ParseFromString(data)
    for data in values_bytes:
        graph.initializer.add().ParseFromString(data)


def _run(model: bytes, tensors: np.ndarray) -> Iterator[np.ndarray]:
    """What the file makes, of one picture after the other."""
    session = onnxruntime.InferenceSession(model, session_options(_THREADS), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    for tensor in tensors:
        yield session.run(None, {given: tensor[None]})[0]
