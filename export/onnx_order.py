"""A canonical form for the graphs of tf2onnx: the same network always gives the same graph, with one plain Transpose at each end.

tf2onnx numbers names and orders operators differently from call to call. Around a single channel it turns Transposes into
chains of Reshape, Squeeze and Unsqueeze, different ones each time, and the gate has caught a wrong one.
"""

import re

import onnx
from onnx import helper

_MOVES = {"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_COUNTER = re.compile(r"__\d+")
_SIDES = (128, 192)  # unequal, to distinguish height and width; multiples of what networks halve


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with plain ends, operators and weights in the order in which the output needs them, and no counters in names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    _with_plain_ends(graph)
    in_order(graph)
    for value in (graph.input[0], graph.output[0]):
        for dimension, name in zip(value.type.tensor_type.shape.dim[1:3], ("height", "width"), strict=True):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = name
    del graph.value_info[:]
    for node in graph.node:
        node.name = _COUNTER.sub("", node.name)
    return copy


def _with_plain_ends(graph: onnx.GraphProto) -> None:
    """Replace the chains between a picture of one channel and the operators that compute, which have channels first in ONNX.

    A chain that ends in another shape belongs to the network and stays. `in_order` removes what is cut off here.
    """
    start, end = graph.input[0], graph.output[0]
    last = (1, *_SIDES, start.type.tensor_type.shape.dim[3].dim_value)
    first = (1, last[3], *_SIDES)
    if last[3] != 1:
        return
    shapes = _shapes(graph)
    constants = {weight.name for weight in graph.initializer}
    moved, new = {start.name}, "blurred/Transpose"
    for node in graph.node:  # tf2onnx sorts them
        source = next((name for name in node.input if name not in constants), "")
        if source in moved and node.op_type in _MOVES and node.output[0] != end.name:
            moved.add(node.output[0])
            continue
        for i, name in enumerate(node.input):
            if name in moved and shapes.get(name) in (first, last):
                node.input[i] = start.name if shapes[name] == last else new
    graph.node.insert(0, helper.make_node("Transpose", [start.name], [new], name=new, perm=[0, 3, 1, 2]))
    producers = {name: node for node in graph.node for name in node.output}
    tensor = end.name
    while tensor in producers and producers[tensor].op_type in _MOVES and tensor != new:
        tensor = next(name for name in producers[tensor].input if name not in constants)
    if tensor != end.name and shapes.get(tensor) == first:
        graph.node.remove(producers[end.name])
        graph.node.append(helper.make_node("Transpose", [tensor], [end.name], name="restored/Transpose", perm=[0, 2, 3, 1]))
        # tf2onnx loses the last Squeeze in one conversion of fifty, and then declares five dimensions.
        end.type.tensor_type.shape.CopyFrom(start.type.tensor_type.shape)


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, for a picture of `_SIDES`."""
    concrete = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 18)])
    concrete.graph.CopyFrom(graph)
    del concrete.graph.value_info[:]
    for value in (concrete.graph.input[0], concrete.graph.output[0]):
        for dimension, length in zip(value.type.tensor_type.shape.dim[1:3], _SIDES, strict=True):
            dimension.dim_value = length
    concrete.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(concrete, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}


def in_order(graph: onnx.GraphProto) -> None:
    """Put operators and weights in the order in which the output needs them, and remove the rest."""
    producers = {name: node for node in graph.node for name in node.output}
    weights = {weight.name: weight for weight in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    used: list[onnx.TensorProto] = []
    done: set[str] = set()
    to_visit = [(output.name, False) for output in reversed(graph.output)]
    while to_visit:
        name, ready = to_visit.pop()
        if ready:
            nodes.append(producers[name])
        elif name not in done:
            done.add(name)
            if name in weights:
                used.append(weights[name])
            elif name in producers:
                done.update(producers[name].output)
                to_visit.append((name, True))
                to_visit += [(needed, False) for needed in reversed(producers[name].input)]
    new = {name: _COUNTER.sub("", name) for name in done}
    counts: dict[str, int] = {}
    for name in [*(weight.name for weight in used), *(out for node in nodes for out in node.output)]:
        if new[name] != name:
            counts[new[name]] = counts.get(new[name], 0) + 1
            new[name] += f"/{counts[new[name]]}" if counts[new[name]] > 1 or new[name] in done else ""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    values = [onnx.TensorProto.FromString(weight.SerializeToString()) for weight in used]
    for node in copies:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in values:
        value.name = new[value.name]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(copies)
    graph.initializer.extend(values)
