"""A SavedModel's folder: its graph is read as data and checked against a list of operators, before TensorFlow loads it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2

from device.errors import BundleError
from device.system.console import quiet_stdio
from export.foreign.declared import ENTRIES, FORMS, LIMIT
from export.foreign.interface import check_interface, first_line
from export.foreign.keras_network import Network, counted

_PURE = """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AssignAddVariableOp AssignSubVariableOp AssignVariableOp AvgPool BatchMatMulV2
    BatchToSpaceND BiasAdd BroadcastArgs BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D Conv2DBackpropInput
    Cos CropAndResize Cumsum DepthToSpace DepthwiseConv2dNative DisableCopyOnRead Div DivNoNan Einsum Elu Equal Erf Exp
    ExpandDims Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater
    GreaterEqual Identity IdentityN L2Loss LeakyRelu Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max
    MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2
    PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod RandomStandardNormal RandomUniform Range Rank
    ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2 Roll
    Round Rsqrt Select SelectV2 Selu Shape ShapeN ShardedFilename Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf
    StatelessRandomGetKeyCounter StatelessRandomUniformV2 StaticRegexFullMatch StopGradient StridedSlice StringJoin Sub Sum
    Tan Tanh Tile Transpose Unpack VarHandleOp VarIsInitializedOp Where Xdivy ZerosLike
"""
_TENSOR_OPERATORS = frozenset(_PURE.split())
# These write variables and read them back; a picture never passes through them.
_SAVING_OPERATORS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2"})
_CALLED_WHILE_LOADING = "saved_model_main_op"


def open_saved_model(path: Path) -> Network:
    """Inspect the folder and its graph, then load it. Raises BundleError."""
    proto = path / "saved_model.pb"
    if not proto.is_file():
        raise BundleError(f"{path}: no saved_model.pb in it, expected a SavedModel; give {FORMS}")
    files = [entry for entry in path.rglob("*") if not entry.is_dir() or entry.is_symlink()]
    outside = [entry.name for entry in files if not entry.resolve().is_relative_to(path.resolve())]
    if outside:
        raise BundleError(f"{path}: {outside[0]!r} is a link that leaves the folder; copy the model with its files")
    size = sum(entry.stat().st_size for entry in files if entry.is_file())
    if size > LIMIT or len(files) > ENTRIES:
        raise BundleError(f"{path}: {len(files)} files, {size} bytes, expected at most {ENTRIES} and {LIMIT}; save it again")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(proto.read_bytes())
        (meta,) = saved.meta_graphs
    except Exception as error:  # protobuf's DecodeError, of one of several modules
        raise BundleError(f"{path}: saved_model.pb is damaged or no SavedModel ({first_line(error)}); copy it again") from error
    _check_graph(path, meta)
    signature = meta.signature_def.get("serving_default")
    if signature is None:
        raise BundleError(f"{path}: has no signature serving_default; save it again with model.export()")
    check_interface(path, len(signature.inputs), len(signature.outputs))
    (start,) = signature.inputs.values()
    shape = tuple(None if dim.size < 0 else dim.size for dim in start.tensor_shape.dim)
    try:
        with quiet_stdio():
            layer = layers.TFSMLayer(str(path), call_endpoint="serving_default")
        values = [np.asarray(weight) for weight in layer.get_weights()]
        sizes = [(weight.name.removesuffix(":0"), value.size) for weight, value in zip(layer.weights, values, strict=True)]
    except Exception as error:  # TensorFlow raises exceptions of many kinds
        raise BundleError(f"{path}: TensorFlow {tf.__version__} does not load it ({first_line(error)}); save it again") from error
    if any(not np.isfinite(value).all() for value in values if value.dtype.kind == "f"):
        raise BundleError(f"{path}: holds NaN or infinite weights; give a network whose training did not diverge")
    return Network(layer, shape, counted(sizes) or _constants(meta))


def _constants(meta: Any) -> int:
    """Number of values in the constants of its functions: the weights of a network that was saved frozen."""
    nodes = (node for function in meta.graph_def.library.function for node in function.node_def if node.op == "Const")
    tensors = (node.attr["value"].tensor for node in nodes)
    return sum(math.prod(dim.size for dim in t.tensor_shape.dim) for t in tensors if tf.dtypes.as_dtype(t.dtype).is_floating)


def _check_graph(path: Path, meta: Any) -> None:
    """Raise BundleError for operators that are not listed, and for saving operators anywhere but where variables are saved."""
    graph, objects = meta.graph_def, meta.object_graph_def
    functions = {function.signature.name: list(function.node_def) for function in graph.library.function}
    for node in (*graph.node, *(node for nodes in functions.values() for node in nodes)):
        if node.op not in _TENSOR_OPERATORS | _SAVING_OPERATORS and node.op not in functions:
            raise BundleError(
                f"{path}: its graph has the operator {node.op} ({node.name}), expected only operators that compute with tensors; "
                "save the network without it, or export it to ONNX where it was trained"
            )
        shape = [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim] if node.op == "Const" else []
        if shape and math.prod(shape) > LIMIT // 4:
            raise BundleError(f"{path}: its constant {node.name} claims the shape {shape}; save it again")
    saving = {name for name, nodes in functions.items() if any(node.op in _SAVING_OPERATORS for node in nodes)}
    while True:
        more = {name for name, nodes in functions.items() if any(_calls(node) & saving for node in nodes)}
        if more <= saving:
            break
        saving |= more
    if not objects.nodes:
        raise BundleError(f"{path}: saved by TensorFlow 1; load it there and save it as a TensorFlow 2 SavedModel, or as ONNX")
    allowed = {meta.saver_def.save_tensor_name.split(":")[0], meta.saver_def.restore_op_name}
    wrong = set(objects.concrete_functions) & saving
    wrong |= {n.name for n in graph.node if n.name not in allowed and (n.op in _SAVING_OPERATORS or _calls(n) & saving)}
    by_name = {node.name: node.op for node in graph.node}
    wrong |= {n for n in meta.collection_def[_CALLED_WHILE_LOADING].node_list.value if by_name.get(n) != "NoOp"}
    if wrong:
        raise BundleError(
            f"{path}: its graph reads or writes files as it runs ({sorted(wrong)[0]}); save the network without that"
        )
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        if kind in ("asset", "resource") or node.registered_name:
            raise BundleError(
                f"{path}: holds an object of its own ({node.registered_name or kind}), expected variables and functions; "
                "save it again with model.export()"
            )
    if any(child.local_name == "serving_default" for child in objects.nodes[0].children):
        raise BundleError(f"{path}: hides its signature behind an attribute of that name; save it again with model.export()")
    claimed = sum(math.prod(d.size for d in n.variable.shape.dim) for n in objects.nodes if n.WhichOneof("kind") == "variable")
    if claimed > LIMIT // 4:
        raise BundleError(f"{path}: its variables claim {claimed} values, expected at most {LIMIT // 4}; save it again")


def _calls(node: Any) -> set[str]:
    """Names of the functions that an operator may call."""
    called = {node.op}
    for value in node.attr.values():
        called |= {value.func.name, *(function.name for function in value.list.func)}
    return called
