"""The graph in a model file: operators, the partitions that a delegate cuts it into, Transposes, variables, weights."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from device.errors import BundleError
from device.runtimes.ncnn import read_parts
from device.system.console import quiet_stdio

_MULTIPLY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_VARIABLES = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


@dataclass(frozen=True)
class Graph:
    """The graph of a file as the runtime runs it on this machine."""

    operators: int
    partitions: int
    """Delegated parts of the graph, and runs of operators between them. 1: the graph is whole."""
    outside: tuple[str, ...]
    """Operators that no delegate takes (TFLite), or that compute in float (int8 ONNX), most frequent first."""
    transposes: int
    reshapes: int
    variables: int
    """Weights that are not frozen into the file."""


def graph_of(path: Path, format_: str, eight_bits: bool) -> Graph:
    """The graph of a file of any format. Raises BundleError for a file that the runtime does not load."""
    match format_:
        case "tflite":
            return tflite_graph(path)
        case "ncnn":
            return ncnn_graph(path)
        case _:
            return onnx_graph(path, eight_bits)


def tflite_graph(path: Path) -> Graph:
    """The graph of a TFLite file in LiteRT with its default delegate, XNNPACK. Raises BundleError for a file it does not load."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet_stdio():
            interpreter = Interpreter(model_path=str(path), num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: LiteRT does not load it ({error})") from error
    details = interpreter._get_ops_details()
    delegated = [op for op in details if op["op_name"] == "DELEGATE"]
    own = [op for op in details if op["op_name"] != "DELEGATE"]
    producer = {int(tensor): op["index"] for op in own for tensor in op["outputs"]}
    inputs = {op["index"]: [int(tensor) for tensor in op["inputs"] if tensor >= 0] for op in own}
    partition: dict[int, int] = {}
    for number, delegate in enumerate(delegated):
        border, to_visit = set(delegate["inputs"].tolist()), delegate["outputs"].tolist()
        while to_visit:
            tensor = to_visit.pop()
            operator = producer.get(tensor)
            if operator is None or operator in partition or tensor in border:
                continue
            partition[operator] = number
            to_visit += inputs[operator]
    # A delegate keeps half-size weights as they are and unpacks them itself.
    weights_only = {i for i, tensors in inputs.items() if not any(t in producer or t in _inputs_of(interpreter) for t in tensors)}
    outside = Counter(op["op_name"] for op in own if op["index"] not in partition and op["index"] not in weights_only)
    row = [partition.get(op["index"], -1) for op in own if op["index"] not in weights_only]
    partitions = len(set(row) - {-1}) + sum(1 for i, p in enumerate(row) if p == -1 and (i == 0 or row[i - 1] != -1))
    names = Counter(op["op_name"] for op in own)
    return Graph(
        len(own),
        partitions,
        tuple(n for n, _ in outside.most_common()),
        names["TRANSPOSE"],
        names["RESHAPE"],
        sum(names[v] for v in _VARIABLES),
    )


def _inputs_of(interpreter: object) -> set[int]:
    return {int(d["index"]) for d in interpreter.get_input_details()}  # type: ignore[attr-defined]


def onnx_graph(path: Path, eight_bits: bool) -> Graph:
    """The graph of an ONNX file as ONNX Runtime's CPU provider runs it, after its optimisation, which fuses 8-bit operators.

    Raises BundleError for a file it does not load.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    optimised = path.with_name(f".{path.name}.optimised")
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 4
    original = onnx.load(path).graph
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(optimised).graph.node
    except Exception as error:  # its exceptions share no base class but Exception
        raise BundleError(f"{path}: ONNX Runtime does not load it ({error})") from error
    finally:
        optimised.unlink(missing_ok=True)
    outside = Counter(node.op_type for node in nodes if eight_bits and node.op_type in _MULTIPLY)
    frozen = {weight.name for weight in original.initializer}
    variables = sum(1 for value in original.input if value.name not in frozen) - 1
    names = Counter(node.op_type for node in original.node)
    in_float = tuple(n for n, _ in outside.most_common())
    # ONNX Runtime's own provider runs the whole graph: one partition.
    return Graph(len(nodes), 1, in_float, names["Transpose"], names["Reshape"], max(0, variables))


def ncnn_graph(path: Path) -> Graph:
    """The graph of an ncnn file, from its text: ncnn has every layer that it loads, so nothing is outside. Raises BundleError."""
    lines = [line.split() for line in read_parts(path)[0].decode(errors="replace").splitlines()[2:]]
    names = Counter(words[0] for words in lines if words)
    operators = names.total() - names["Input"] - names["Split"]  # the start of a graph, and one tensor for several layers
    return Graph(operators, 1, (), names["Permute"], names["Reshape"], 0)


def weights_bytes(path: Path, format_: str) -> int:
    """Bytes of the constants in a file: shows where weights were left out."""
    if format_ == "ncnn":
        return len(read_parts(path)[1])
    if format_ == "onnx":
        return sum(onnx.numpy_helper.to_array(w).nbytes for w in onnx.load(path).graph.initializer)
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes())
    return int(np.sum([model.Buffers(i).DataLength() for i in range(model.BuffersLength())]))
