"""What a model file is made of: operators, the partitions a delegate leaves of it, Transposes, variables, weights."""

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
    """What the runtime makes of a file on this machine."""

    operators: int
    partitions: int
    """Parts that the graph falls into: delegated ones, and runs of operators between them. 1 is whole."""
    outside: tuple[str, ...]
    """Operators that no delegate takes (TFLite), or that compute in float (int8 ONNX), most frequent first."""
    transposes: int
    reshapes: int
    variables: int
    """Weights that were not frozen into the file."""


def graph_of(path: Path, format_: str, eight_bits: bool) -> Graph:
    """Of a file of any format. Raises BundleError for a file it cannot load."""
    match format_:
        case "tflite":
            return tflite_graph(path)
        case "ncnn":
            return ncnn_graph(path)
        case _:
            return onnx_graph(path, eight_bits)


def tflite_graph(path: Path) -> Graph:
    """Of a TFLite file in LiteRT with its default delegate, XNNPACK. Raises BundleError for a file it cannot load."""
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
    maker = {int(tensor): op["index"] for op in own for tensor in op["outputs"]}
    inputs = {op["index"]: [int(tensor) for tensor in op["inputs"] if tensor >= 0] for op in own}
    piece: dict[int, int] = {}
    for number, delegate in enumerate(delegated):
        given, open_ = set(delegate["inputs"].tolist()), delegate["outputs"].tolist()
        while open_:
            tensor = open_.pop()
            made_by = maker.get(tensor)
            if made_by is None or made_by in piece or tensor in given:
                continue
            piece[made_by] = number
            open_ += inputs[made_by]
    # A delegate keeps half-size weights as they are and unpacks them itself.
    weights_only = {i for i, tensors in inputs.items() if not any(t in maker or t in _inputs_of(interpreter) for t in tensors)}
    outside = Counter(op["op_name"] for op in own if op["index"] not in piece and op["index"] not in weights_only)
    row = [piece.get(op["index"], -1) for op in own if op["index"] not in weights_only]
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
    """Of an ONNX file as ONNX Runtime's CPU provider runs it, after its own optimisation, which fuses 8-bit operators.

    Raises BundleError for a file it cannot load.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    optimised = path.with_name(f".{path.name}.optimised")
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 4
    given = onnx.load(path)
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(optimised).graph.node
    except Exception as error:  # its exceptions share no base class but Exception
        raise BundleError(f"{path}: ONNX Runtime does not load it ({error})") from error
    finally:
        optimised.unlink(missing_ok=True)
    outside = Counter(node.op_type for node in nodes if eight_bits and node.op_type in _MULTIPLY)
    frozen = {weight.name for weight in given.graph.initializer}
    variables = sum(1 for value in given.graph.input if value.name not in frozen) - 1
    names = Counter(node.op_type for node in given.graph.node)
    left = tuple(n for n, _ in outside.most_common())
    # ONNX Runtime's own provider runs the whole graph: one partition.
    return Graph(len(nodes), 1, left, names["Transpose"], names["Reshape"], max(0, variables))


def ncnn_graph(path: Path) -> Graph:
    """Of an ncnn file, by its text: ncnn has every layer that it loads, so nothing is outside. Raises BundleError."""
    lines = [line.split() for line in read_parts(path)[0].decode(errors="replace").splitlines()[2:]]
    names = Counter(words[0] for words in lines if words)
    operators = names.total() - names["Input"] - names["Split"]  # what a graph begins with, and one tensor for several layers
    return Graph(operators, 1, (), names["Permute"], names["Reshape"], 0)


def weights_bytes(path: Path, format_: str) -> int:
    """Bytes of the constants in a file, so that weights left out are noticed."""
    if format_ == "ncnn":
        return len(read_parts(path)[1])
    if format_ == "onnx":
        return sum(onnx.numpy_helper.to_array(w).nbytes for w in onnx.load(path).graph.initializer)
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes())
    return int(np.sum([model.Buffers(i).DataLength() for i in range(model.BuffersLength())]))
