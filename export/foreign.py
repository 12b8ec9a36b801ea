"""Somebody else's network: looked over before anything of it is run or unpacked, then wrapped for the same gates.

A model file can carry code. So a .keras or SavedModel is read as data first, and refused unless all it names is on the lists
below: what networks that make a picture of a picture are built from. ONNX and TFLite files hold no code but operators; those
from outside the standard are refused, since the runtimes of the boards do not have them (ONNX Runtime's own too).
"""

import hashlib
import importlib
import io
import json
import math
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2

from device.bundle import SCHEMA, Manifest, Training
from device.console import quiet_stdio
from device.errors import BundleError, ExportError
from export import to_onnx, to_tflite
from export.calibration import METHODS
from export.subject import Calibration, Pictures, Subject, keras_outputs, versions

LIMIT = 2**31
"""Bytes that a model may have, packed or unpacked."""
_RATIO = 200  # unpacked to packed; weights hardly shrink
_ENTRIES = 64  # of a zip or a SavedModel's folder
_CHANNELS = {"rgb": 3, "luma": 1}
_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_LAYERS = """
    Activation Add Average AveragePooling2D BatchNormalization CenterCrop Concatenate Conv2D Conv2DTranspose Cropping2D Dense
    DepthwiseConv2D Dot Dropout ELU GaussianDropout GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization
    Identity InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum MultiHeadAttention Multiply Normalization
    PReLU Permute ReLU Reshape Resizing Rescaling SeparableConv2D Softmax SpatialDropout2D SpectralNormalization Subtract
    UnitNormalization UpSampling2D ZeroPadding2D
"""
_MODELS = {"Functional", "Model", "Sequential", "DTypePolicy"}
_CORE_OPS = {"Cast", "ConvertToTensor", "Shape", "Slice", "StopGradient", "Unstack"}
_KERAS: dict[str, Iterable[str] | None] = {  # module -> class names; None: all its classes
    "keras": _MODELS, "keras.models": _MODELS, "keras.src.models.functional": _MODELS, "keras.src.models.sequential": _MODELS,
    "keras.layers": frozenset(_LAYERS.split()), "keras.src.ops.core": _CORE_OPS,
    **dict.fromkeys(("keras.initializers", "keras.regularizers", "keras.constraints", "keras.dtype_policies")),
    **dict.fromkeys(("keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.math", "keras.src.ops.image")),
}  # fmt: skip
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__"}  # how Keras writes plain values
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
# How variables are written and read back; never where a picture goes through.
_SAVING_OPERATORS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2"})
_CALLED_WHILE_LOADING = "saved_model_main_op"


@dataclass(frozen=True)
class Declared:
    """What its user says of a network, since no file does."""

    colour: str
    """`rgb` or `luma`."""
    value_range: tuple[float, float]
    """What black and white are in the network's own tensors: (0, 1), (0, 255) or (-1, 1)."""
    pad_multiple: int
    licence: str = ""

    @property
    def channels(self) -> int:
        """Of its tensors."""
        return _CHANNELS[self.colour]

    @property
    def scaled(self) -> bool:
        """Whether its values are others than 0..1."""
        low, high = self.value_range
        return low != 0 or high != 1


def open_foreign(path: Path, declared: Declared, pictures: Pictures, hw: tuple[int, int]) -> Subject:
    """The network in `path` (.keras, a SavedModel's folder, .onnx or .tflite), ready to be exported.

    `hw`: the pictures' height and width, and that of concrete files, unless the network has only one size, its `size`.
    Raises BundleError, with nothing of it run, for what may carry code or is damaged; and where it does not make one picture
    of one picture of the same size.
    """
    if path.is_dir():
        return _KerasSubject(path, declared, pictures, hw, _open_saved_model(path))
    if not path.is_file():
        raise BundleError(f"{path}: no such file; give {_FORMS}")
    kind = path.suffix.lower()
    if kind not in (".keras", ".onnx", ".tflite"):
        raise BundleError(f"{path}: {kind or 'a file without a suffix'} is not taken, expected {_FORMS}{_WAYS.get(kind, '')}")
    if path.stat().st_size > LIMIT:
        raise BundleError(f"{path}: {path.stat().st_size} bytes, expected at most {LIMIT}; give a smaller network")
    match kind:
        case ".keras":
            return _KerasSubject(path, declared, pictures, hw, _open_keras(path))
        case ".onnx":
            return _OnnxSubject(path, declared, pictures, hw)
    return _TfliteSubject(path, declared, pictures, hw)


_FORMS = "a .keras file, a SavedModel's folder, or an .onnx or .tflite file"
_PYTORCH = "; such files can carry code and hold no graph: load it in its own environment and export it to ONNX"
_WAYS = {
    ".h5": "; load it in its own environment with its own Keras and save it as .keras",
    ".hdf5": "; load it in its own environment with its own Keras and save it as .keras",
    ".pt": _PYTORCH, ".pth": _PYTORCH, ".ckpt": _PYTORCH, ".pkl": _PYTORCH,
    ".safetensors": "; it holds weights only: load them into their network and export that to ONNX",
    ".pb": "; give the folder that it lies in",
}  # fmt: skip


# .keras and SavedModel


@dataclass(frozen=True)
class _Network:
    """A network that Keras can call."""

    call: Callable[[Any], Any]
    input_shape: tuple[int | None, ...]
    parameters: int


class _KerasSubject:
    """See Subject. All seven files."""

    offers = tuple(("tflite", v) for v in to_tflite.VARIANTS) + tuple(("onnx", v) for v in to_onnx.VARIANTS)
    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(self, path: Path, declared: Declared, pictures: Pictures, hw: tuple[int, int], network: _Network) -> None:
        fixed = _checked_shape(path, declared, network.input_shape, hw)
        self.size, self.pictures = fixed or hw, pictures
        self._concrete = _wrapped(path, declared, network, self.size)
        self._any = self._concrete if fixed else _wrapped(path, declared, network, (None, None))
        _try_out(path, declared, fixed, self.reference)
        try:
            macs = _tflite_macs(to_tflite.to_tflite(self._concrete, "fp32"), self.size)
        except ExportError:  # told when the file is asked for
            macs = 0.0
        self.manifest = _manifest(path, declared, fixed, network.parameters, macs)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See Subject.reference."""
        return keras_outputs(self._any, tensors)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See Subject.calibrations."""
        return [Calibration(method, self.pictures.calibration) for method in (METHODS if format_ == "onnx" else ("minmax",))]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See Subject.convert."""
        if format_ == "tflite":
            return to_tflite.to_tflite(self._concrete, variant, calibration, in_float)
        return to_onnx.to_onnx(self._onnx_fp32, variant, calibration)

    def before_int8(self, calibration: Calibration) -> bytes:
        """See Subject.before_int8."""
        return self._onnx_fp32.SerializeToString()

    @cached_property
    def _onnx_fp32(self) -> onnx.ModelProto:
        return _with_plain_resizes(to_onnx.to_onnx_fp32(self._any))


class _AnySize(layers.UpSampling2D):
    """Resizes tensors of unknown size too: Keras 3.15 compares the size with zero, which fails while a graph is traced."""

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest" or self.data_format != "channels_last":
            return super().call(inputs)
        shape = tf.shape(inputs)
        return tf.image.resize(inputs, (shape[1] * self.size[0], shape[2] * self.size[1]), self.interpolation)


def _wrapped(path: Path, declared: Declared, network: _Network, hw: tuple[int | None, int | None]) -> keras.Model:
    """Batch 1, named `blurred` and `restored`, 0..1 at both ends."""
    low, high = declared.value_range
    picture = keras.Input(batch_shape=(1, *hw, declared.channels), name="blurred", dtype="float32")
    try:
        with quiet_stdio():
            made = network.call(layers.Rescaling(high - low, low)(picture) if declared.scaled else picture)
    except Exception as error:  # Keras and TensorFlow raise exceptions of many kinds
        raise BundleError(
            f"{path}: cannot be built for pictures of {_size(hw)} ({_line(error)}); expected any multiple of "
            f"{declared.pad_multiple}: give the --pad-multiple it needs, or save it with the one size it takes"
        ) from error
    made = list(made.values()) if isinstance(made, dict) else made
    if isinstance(made, list | tuple):
        made = made[0]  # counted before
    if len(made.shape) != 4 or made.shape[3] not in (None, declared.channels):
        raise BundleError(
            f"{path}: makes {_shown(made.shape)}, expected (1, height, width, {declared.channels}); {_NOT_A_PICTURE}"
        )
    if declared.scaled:
        made = layers.Rescaling(1 / (high - low), -low / (high - low))(made)
    return keras.Model(picture, layers.Activation("linear", dtype="float32", name="restored")(made))


def _open_keras(path: Path) -> _Network:
    """Look the archive over, then load it. Raises BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
        config = json.loads(members["config.json"])
        _check_config(path, config)
        _check_weights(path, members["model.weights.h5"])
    except BundleError:
        raise
    except Exception as error:  # zipfile, json and h5py raise exceptions of many kinds on damaged data
        raise BundleError(f"{path}: not a .keras file, or a damaged one ({_line(error)}); save or copy it again") from error
    del members
    try:
        with quiet_stdio():
            network = keras.models.load_model(str(path), compile=False, safe_mode=True)
        ends, shape = (len(network.inputs), len(network.outputs)), network.inputs[0].shape
    except Exception as error:  # Keras raises exceptions of many kinds
        raise BundleError(f"{path}: Keras {keras.__version__} does not load it ({_line(error)}); save it again") from error
    _check_ends(path, *ends)
    if any(not np.isfinite(weight).all() for weight in network.get_weights()):
        raise BundleError(f"{path}: holds NaN or infinite weights; give a network whose training did not diverge")
    for layer in (network, *_all_layers(network)):
        layer.dtype_policy = keras.DTypePolicy("float32")  # TFLite's converter has no operators of half precision
        if type(layer) is layers.UpSampling2D:
            layer.__class__ = _AnySize
    return _Network(lambda x: network(x, training=False), tuple(shape), int(network.count_params()))


def _all_layers(layer: Any) -> Iterator[Any]:
    for inner in getattr(layer, "layers", []):
        yield inner
        yield from _all_layers(inner)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The three members, unpacked in memory, each no longer than the directory says. Raises BundleError."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    odd = next((name for name in names if name not in _MEMBERS), None)
    if len(entries) > _ENTRIES or odd is not None or sorted(names) != sorted(_MEMBERS):
        seen = f"holds {odd!r}" if odd is not None else f"holds {len(entries)} entries: {', '.join(names[:4])}"
        raise BundleError(f"{path}: {seen}; expected {', '.join(_MEMBERS)}, once each: save the model again with Keras 3")
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise BundleError(f"{path}: holds a symbolic link, expected plain members; save the model again with Keras 3")
    unpacked, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if unpacked > LIMIT or unpacked > _RATIO * packed:
        raise BundleError(
            f"{path}: {packed} bytes would unpack to {unpacked}, expected at most {LIMIT} and {_RATIO} times as many; "
            "save the model again with Keras 3"
        )
    contents = {}
    for entry in entries:
        with archive.open(entry) as stream:
            contents[entry.filename] = stream.read(entry.file_size + 1)
        if len(contents[entry.filename]) != entry.file_size:
            raise BundleError(f"{path}: {entry.filename} is not as long as the directory says; copy the file again")
    return contents


def _check_config(path: Path, config: dict[str, Any]) -> None:
    """Raise BundleError unless every object in config.json is one of Keras' own that computes with tensors."""
    todo: list[Any] = [{key: value for key, value in config.items() if key != "compile_config"}]  # not loaded
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if not _is_known(node):
                named = f"{node.get('module')}.{node.get('class_name')}"
                if node.get("class_name") == "function" or node.get("registered_name") not in (None, node.get("class_name")):
                    named += f" ({node.get('registered_name') or node.get('config')})"
                raise BundleError(
                    f"{path}: its config.json names {named}, expected only Keras' own layers that compute with tensors, "
                    "since others can carry code; build the network without it, or export it to ONNX where it was trained"
                )
            todo += node.values()
        elif isinstance(node, list):
            todo += node


def _is_known(node: dict[str, Any]) -> bool:
    """Whether a dictionary of config.json is plain values, or an object that may be made."""
    if not {"class_name", "module", "registered_name"} & node.keys():
        return True
    module, name, registered = node.get("module"), node.get("class_name"), node.get("registered_name")
    if module is None and registered is None and name in _VALUES:
        return True
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if name == "function":
        function = node.get("config")
        ours = module in ("keras.activations", "builtins") and isinstance(function, str) and hasattr(keras.activations, function)
        return ours and registered in (None, "function", function)
    if module not in _KERAS or registered not in (None, name):
        return False
    allowed = _KERAS[module]
    if allowed is None:
        return isinstance(getattr(importlib.import_module(module), name, None), type)
    return name in allowed


def _check_weights(path: Path, data: bytes) -> None:
    """Raise BundleError for links and for datasets that lie elsewhere or claim more than the file can hold."""
    claimed, count = 0, 0
    with h5py.File(io.BytesIO(data), "r") as file:
        todo: list[Any] = [file]
        while todo:
            group = todo.pop()
            for name in group:
                count += 1
                link = group.get(name, getlink=True)
                item = group[name] if isinstance(link, h5py.HardLink) else None
                if item is None or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
                    raise BundleError(
                        f"{path}: its weights point to another place ({name!r}), expected all inside; save it again"
                    )
                if isinstance(item, h5py.Dataset):
                    claimed += item.size * item.dtype.itemsize
                elif isinstance(item, h5py.Group):
                    todo.append(item)
                if claimed > min(LIMIT, _RATIO * len(data)) or count > 100_000:
                    raise BundleError(f"{path}: its weights claim {claimed} bytes in a file of {len(data)}; save it again")


def _open_saved_model(path: Path) -> _Network:
    """Look the folder and its graph over, then load it. Raises BundleError."""
    proto = path / "saved_model.pb"
    if not proto.is_file():
        raise BundleError(f"{path}: no saved_model.pb in it, expected a SavedModel; give {_FORMS}")
    files = [entry for entry in path.rglob("*") if not entry.is_dir() or entry.is_symlink()]
    outside = [entry.name for entry in files if not entry.resolve().is_relative_to(path.resolve())]
    if outside:
        raise BundleError(f"{path}: {outside[0]!r} is a link that leaves the folder; copy the model with its files")
    held = sum(entry.stat().st_size for entry in files if entry.is_file())
    if held > LIMIT or len(files) > _ENTRIES:
        raise BundleError(f"{path}: {len(files)} files, {held} bytes, expected at most {_ENTRIES} and {LIMIT}; save it again")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(proto.read_bytes())
        (meta,) = saved.meta_graphs
    except Exception as error:  # protobuf's DecodeError, of one of several modules
        raise BundleError(f"{path}: saved_model.pb is damaged or no SavedModel ({_line(error)}); copy it again") from error
    _check_graph(path, meta)
    signature = meta.signature_def.get("serving_default")
    if signature is None:
        raise BundleError(f"{path}: has no signature serving_default; save it again with model.export()")
    _check_ends(path, len(signature.inputs), len(signature.outputs))
    (given,) = signature.inputs.values()
    shape = tuple(None if dim.size < 0 else dim.size for dim in given.tensor_shape.dim)
    try:
        with quiet_stdio():
            layer = layers.TFSMLayer(str(path), call_endpoint="serving_default")
        values = [np.asarray(weight) for weight in layer.get_weights()]
    except Exception as error:  # TensorFlow raises exceptions of many kinds
        raise BundleError(f"{path}: TensorFlow {tf.__version__} does not load it ({_line(error)}); save it again") from error
    if any(not np.isfinite(value).all() for value in values if value.dtype.kind == "f"):
        raise BundleError(f"{path}: holds NaN or infinite weights; give a network whose training did not diverge")
    return _Network(layer, shape, sum(value.size for value in values) or _constants(meta))


def _constants(meta: Any) -> int:
    """Values of the constants in its functions: the weights of a network that was saved frozen."""
    nodes = (node for function in meta.graph_def.library.function for node in function.node_def if node.op == "Const")
    tensors = (node.attr["value"].tensor for node in nodes)
    return sum(math.prod(dim.size for dim in t.tensor_shape.dim) for t in tensors if tf.dtypes.as_dtype(t.dtype).is_floating)


def _check_graph(path: Path, meta: Any) -> None:
    """Raise BundleError for operators off the lists, and for those that save anywhere but where variables are saved."""
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
    ends = {meta.saver_def.save_tensor_name.split(":")[0], meta.saver_def.restore_op_name}
    wrong = set(objects.concrete_functions) & saving
    wrong |= {n.name for n in graph.node if n.name not in ends and (n.op in _SAVING_OPERATORS or _calls(n) & saving)}
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


# ONNX


class _OnnxSubject:
    """See Subject. The three ONNX files; of a file that is 8 bits or fp16 already just that one."""

    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(self, path: Path, declared: Declared, pictures: Pictures, hw: tuple[int, int]) -> None:
        model, files = _open_onnx(path)
        self._declared, self.pictures = declared, pictures
        (given,), (made,) = _onnx_ends(path, model)
        self._kinds = _element_type(path, given), _element_type(path, made)
        shape = tuple(dim.dim_value or None for dim in given.type.tensor_type.shape.dim)
        self._first = _channels_first(path, declared, shape)
        fixed = _checked_shape(path, declared, _last(shape) if self._first else shape, hw)
        self.size = fixed or hw
        own = _own_variant(model)
        self.offers = tuple(("onnx", v) for v in to_onnx.VARIANTS) if own == "fp32" else (("onnx", own),)
        self._graph = _wrapped_onnx(path, declared, model, self._first, self._kinds, fixed)
        self._session = _session(path, model)
        _session(path, self._graph)  # what was put around it can be run too
        _try_out(path, declared, fixed, self.reference)
        parameters = sum(int(np.prod(w.dims)) for w in model.graph.initializer if w.data_type in _WEIGHT_TYPES)
        self.manifest = _manifest(path, declared, fixed, parameters, _onnx_macs(self._graph, self.size), files)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See Subject.reference. Of the file as it was given: what is put around it is compared too."""
        low, high = self._declared.value_range
        given, outputs = self._session.get_inputs()[0].name, []
        for tensor in tensors:
            x = (tensor[None] * np.float32(high - low) + np.float32(low)).astype(
                onnx.helper.tensor_dtype_to_np_dtype(self._kinds[0])
            )
            (y,) = self._session.run(None, {given: x.transpose(0, 3, 1, 2) if self._first else x})
            y = (y.astype(np.float32) - np.float32(low)) / np.float32(high - low)
            outputs.append(y.transpose(0, 2, 3, 1) if self._first else y)
        return np.concatenate(outputs)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See Subject.calibrations."""
        return [Calibration(method, self.pictures.calibration) for method in METHODS]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See Subject.convert."""
        if (format_, variant) not in self.offers:
            raise ExportError(f"no {variant} {format_} file can be made of this ONNX file; it offers {self.offers}")
        return to_onnx.to_onnx(self._graph, variant if len(self.offers) > 1 else "fp32", calibration)

    def before_int8(self, calibration: Calibration) -> bytes:
        """See Subject.before_int8."""
        return self._graph.SerializeToString()


_WEIGHT_TYPES = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT8, onnx.TensorProto.UINT8,
}  # fmt: skip


def _open_onnx(path: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """The checked model with all its weights, and the files that it lies in. Raises BundleError."""
    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node:
            raise ValueError("no operators")
    except Exception as error:  # protobuf's DecodeError, of one of several modules
        raise BundleError(f"{path}: damaged or no ONNX file ({_line(error)}); export or copy it again") from error
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
    held = sum(file.stat().st_size for file in files)
    if held > LIMIT:
        raise BundleError(f"{path}: {held} bytes with its weights, expected at most {LIMIT}; give a smaller network")
    try:
        with quiet_stdio():
            onnx.load_external_data_for_model(model, str(folder))
            opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
            if opset < 13:  # the quantiser needs scales of channels
                model = onnx.version_converter.convert_version(model, to_onnx.OPSET)
            onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnx raises exceptions of many kinds
        raise BundleError(
            f"{path}: not a valid ONNX file ({_line(error)}); export it again with opset {to_onnx.OPSET}"
        ) from error
    for node in model.graph.node:  # an exporter may have written places on its machine there
        node.doc_string = ""
        del node.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:], model.graph.value_info[:]
    return model, files


def _beside(path: Path, name: str) -> Path:
    """A file of weights, which must lie in the model's own folder. Raises BundleError."""
    file = path.parent / name
    if not name or Path(name).name != name or name == ".." or file.is_symlink():
        raise BundleError(
            f"{path}: its weights lie in {name!r}, expected a plain file beside it; export it with its weights inside"
        )
    if not file.is_file():
        raise BundleError(f"{path}: its weights lie in {name!r}, which is not there; copy that file beside it")
    return file


def _graphs(graph: Any) -> Iterator[Any]:
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


def _onnx_ends(path: Path, model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    _check_ends(path, len(inputs), len(model.graph.output))
    return inputs, list(model.graph.output)


def _element_type(path: Path, value: Any) -> int:
    kind = int(value.type.tensor_type.elem_type)
    if kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        name = onnx.TensorProto.DataType.Name(kind)
        raise BundleError(f"{path}: {value.name} is of {name}, expected FLOAT or FLOAT16; export it with floats at both ends")
    return kind


def _channels_first(path: Path, declared: Declared, shape: tuple[int | None, ...]) -> bool:
    """Whether the channels lie before height and width, as PyTorch has them. Raises BundleError where that cannot be told."""
    if len(shape) != 4:
        raise BundleError(f"{path}: takes {_shown(shape)}, expected four dimensions; {_NOT_A_PICTURE}")
    channels = declared.channels
    first, last = shape[1] == channels, shape[3] == channels
    if first == last:
        seen = (
            "so channels may come first or last" if first or None in (shape[1], shape[3]) else f"none of them {channels} channels"
        )
        raise BundleError(
            f"{path}: takes {_shown(shape)}, {seen}; expected (1, {channels}, height, width) or (1, height, width, {channels}) "
            f"for --colour {declared.colour}: export it with a fixed number of channels and open sizes, or give another --colour"
        )
    return first


def _last(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return shape[0], shape[2], shape[3], shape[1]


def _own_variant(model: onnx.ModelProto) -> str:
    kinds = {node.op_type for graph in _graphs(model.graph) for node in graph.node}
    if kinds & {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}:
        return "dynamic"
    if kinds & {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "int8"
    half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in _tensors(model.graph))
    return "fp16" if half else "fp32"


def _with_plain_resizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out Resize's inputs that are empty: ONNX Runtime's fp16 converter puts a Cast before them, which gives two sizes."""
    empty = {weight.name for weight in model.graph.initializer if 0 in weight.dims}
    for node in model.graph.node:
        if node.op_type == "Resize":
            node.input[:] = ["" if name in empty else name for name in node.input]
    return model


_Step = tuple[str, tuple[float, ...], dict[str, Any]]
_NOTHING: list[_Step] = [("Identity", (), {})]


def _wrapped_onnx(
    path: Path, declared: Declared, model: onnx.ModelProto, first: bool, kinds: tuple[int, int], fixed: tuple[int, int] | None
) -> onnx.ModelProto:
    """Batch 1, channels last, named `blurred` and `restored`, float32, 0..1 at both ends."""
    inner = onnx.compose.add_prefix(model, "foreign/")
    (given,), (made,) = _onnx_ends(path, inner)
    low, high = declared.value_range
    before: list[_Step] = []
    after: list[_Step] = []
    before += [("Mul", (high - low,), {})] * declared.scaled + [("Add", (low,), {})] * (low != 0)
    before += [("Transpose", (), {"perm": [0, 3, 1, 2]})] * first
    before += [("Cast", (), {"to": kinds[0]})] * (kinds[0] != onnx.TensorProto.FLOAT)
    after += [("Cast", (), {"to": onnx.TensorProto.FLOAT})] * (kinds[1] != onnx.TensorProto.FLOAT)
    after += [("Transpose", (), {"perm": [0, 2, 3, 1]})] * first
    after += [("Add", (-low,), {})] * (low != 0) + [("Mul", (1 / (high - low),), {})] * declared.scaled
    heads, head_values = _steps("before", "blurred", given.name, before)
    tails, tail_values = _steps("after", made.name, "restored", after)
    height, width = fixed or ("height", "width")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, height, width, declared.channels))
        for name in ("blurred", "restored")
    ]
    initializers = [*inner.graph.initializer, *head_values, *tail_values]
    graph = onnx.helper.make_graph([*heads, *inner.graph.node, *tails], "restoration", ends[:1], ends[1:], initializers)
    graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    wrapped = onnx.helper.make_model(graph, opset_imports=list(inner.opset_import), ir_version=max(8, inner.ir_version))
    try:
        onnx.checker.check_model(wrapped)
    except Exception as error:  # onnx raises exceptions of many kinds
        raise BundleError(f"{path}: cannot be wrapped ({_line(error)}); export it with opset {to_onnx.OPSET}") from error
    return _with_plain_resizes(wrapped)


def _steps(prefix: str, start: str, end: str, steps: list[_Step]) -> tuple[list[Any], list[Any]]:
    """A chain of operators from the tensor `start` to `end`, and their constants."""
    nodes, constants = [], []
    for i, (operator, values, attributes) in enumerate(steps or _NOTHING):
        names = [f"{prefix}/{i}/constant"] * len(values)
        constants += [onnx.numpy_helper.from_array(np.array(v, np.float32), n) for v, n in zip(values, names, strict=True)]
        to = end if i >= len(steps) - 1 else f"{prefix}/{i}"
        nodes.append(onnx.helper.make_node(operator, [start, *names], [to], name=f"{prefix}/{operator}_{i}", **attributes))
        start = to
    return nodes, constants


def _session(path: Path, model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but Exception
        raise BundleError(f"{path}: ONNX Runtime does not load it ({_line(error)}); export it again") from error


def _onnx_macs(model: onnx.ModelProto, hw: tuple[int, int]) -> float:
    """Multiplications per pixel of convolutions and matrix products; 0.0 where a shape stays unknown."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for axis, length in ((1, hw[0]), (2, hw[1])):
        sized.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
        sized.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = length
    try:
        graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    except Exception:  # onnx raises exceptions of many kinds
        return 0.0
    shapes = {w.name: list(w.dims) for w in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        x, w, y = (shapes.get(name, [0]) for name in (node.input[0], node.input[1], node.output[0]))
        if not (all(x) and all(w) and all(y)):
            return 0.0
        attributes = {a.name: a.i for a in node.attribute}
        match node.op_type:
            case "Conv":
                total += int(np.prod(y)) * int(np.prod(w[1:]))
            case "ConvTranspose":
                total += int(np.prod(x)) * int(np.prod(w[1:]))
            case "MatMul":
                total += int(np.prod(y)) * x[-1]
            case "Gemm":
                total += int(np.prod(y)) * (x[0] if attributes.get("transA") else x[1])
    return total / (hw[0] * hw[1])


# TFLite


class _TfliteSubject:
    """See Subject. The file as it is."""

    weights: Path | None = None
    layers: tuple[str, ...] = ()

    def __init__(self, path: Path, declared: Declared, pictures: Pictures, hw: tuple[int, int]) -> None:
        if declared.scaled:
            raise BundleError(
                f"{path}: --range {declared.value_range[0]:g}..{declared.value_range[1]:g}, but a TFLite file is taken as it is "
                "and its pictures are 0..1; put the scaling into the model before it is converted, or give its .keras or ONNX"
            )
        self._data, self.pictures = path.read_bytes(), pictures
        variant, parameters, shapes = _check_tflite(path, self._data)
        fixed = _checked_shape(path, declared, shapes[0], hw)
        if len(shapes[1]) != 4 or shapes[1][3] not in (None, declared.channels):
            raise BundleError(
                f"{path}: makes {_shown(shapes[1])}, expected (1, height, width, {declared.channels}); {_NOT_A_PICTURE}"
            )
        self.size, self.offers = fixed or hw, (("tflite", variant),)
        try:
            with quiet_stdio():
                self._specs = to_tflite.tflite_specs(self._data)
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{path}: LiteRT does not load it ({_line(error)}); convert or copy it again") from error
        for spec in self._specs:
            if spec.dtype != "float32" and (spec.dtype not in ("int8", "uint8") or spec.scale <= 0):
                raise BundleError(
                    f"{path}: {spec.name} is of {spec.dtype}, expected float32, or 8 bits with a scale; convert it so"
                )
        _try_out(path, declared, fixed, self.reference)
        self.manifest = _manifest(path, declared, fixed, parameters, _tflite_macs(self._data, self.size))

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See Subject.reference. The file itself, through LiteRT."""
        given, made = self._specs
        interpreter = _interpreter(self._data, tensors.shape[1:])
        indices = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        outputs = []
        for tensor in tensors:
            x = tensor[None].astype(np.float32)
            if given.dtype != "float32":
                limits = np.iinfo(given.dtype)
                x = np.clip(np.rint(x / given.scale) + given.zero_point, limits.min, limits.max).astype(given.dtype)
            interpreter.set_tensor(indices[0], x)
            interpreter.invoke()
            y = interpreter.get_tensor(indices[1]).astype(np.float32)
            outputs.append(y if made.dtype == "float32" else np.float32(made.scale) * (y - made.zero_point))
        return np.concatenate(outputs)

    def calibrations(self, format_: str) -> list[Calibration]:
        """See Subject.calibrations. It is calibrated already, if it is of 8 bits: the pictures change nothing."""
        return [Calibration("minmax", self.pictures.calibration)]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See Subject.convert."""
        if (format_, variant) not in self.offers:
            raise ExportError(f"no {variant} {format_} file can be made of this TFLite file; it offers {self.offers}")
        return self._data

    def before_int8(self, calibration: Calibration) -> bytes:
        """See Subject.before_int8."""
        raise ExportError("a TFLite file is taken as it is: there is no fp32 ONNX file before it")


def _check_tflite(path: Path, data: bytes) -> tuple[str, int, tuple[tuple[int | None, ...], tuple[int | None, ...]]]:
    """Variant, parameters and the two shapes of a file that LiteRT's own operators can run. Raises BundleError."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 at its begin")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        strange = [
            (c.customCode or b"").decode(errors="replace") or names.get(code, str(code))
            for c, code in zip(model.operatorCodes, codes, strict=True)
            if c.customCode or code not in names or names[code] in ("CUSTOM", "DELEGATE")
        ]
        tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
        outside = bool(model.externalBuffers) or any(buffer.offset or buffer.size for buffer in model.buffers)
        main = model.subgraphs[0]
        ends = len(main.inputs), len(main.outputs)
        shapes = _tflite_shape(main.tensors[main.inputs[0]]), _tflite_shape(main.tensors[main.outputs[0]])
        held = [t for t in tensors if model.buffers[t.buffer].data is not None and len(model.buffers[t.buffer].data)]
        weights = [t for t in held if t.type not in (schema.TensorType.INT32, schema.TensorType.INT64) or _scaled(t)]
    except Exception as error:  # the schema's readers raise exceptions of many kinds on damaged data
        raise BundleError(f"{path}: damaged or no TFLite file ({_line(error)}); convert or copy it again") from error
    if strange:
        raise BundleError(
            f"{path}: has the operators {', '.join(strange)}, which LiteRT does not have itself; "
            "convert it with TFLite's built-in operators only"
        )
    if outside:
        raise BundleError(f"{path}: keeps weights outside its buffers, expected all inside; convert it again")
    _check_ends(path, *ends)
    kinds = {t.type for t in weights}
    eight = {schema.TensorType.INT8, schema.TensorType.UINT8}
    flowing = {t.type for t in tensors if t not in held}
    variant = (
        "int8" if flowing & eight else "dynamic" if kinds & eight else "fp16" if schema.TensorType.FLOAT16 in kinds else "fp32"
    )
    return variant, sum(int(np.prod(t.shape)) for t in weights if t.shape is not None), shapes


def _scaled(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.scale is not None


def _tflite_shape(tensor: Any) -> tuple[int | None, ...]:
    signature = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return tuple(None if size < 0 else int(size) for size in ([] if signature is None else signature))


def _interpreter(data: bytes, shape_hwc: tuple[int, ...], delegates: bool = True) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet_stdio():
        interpreter = Interpreter(model_content=data, experimental_op_resolver_type=resolver, num_threads=2)
        details = interpreter.get_input_details()[0]
        if tuple(details["shape"]) != (1, *shape_hwc):
            interpreter.resize_tensor_input(details["index"], (1, *shape_hwc))
        interpreter.allocate_tensors()
    return interpreter


def _tflite_macs(data: bytes, hw: tuple[int, int]) -> float:
    """Multiplications per pixel of convolutions and matrix products; 0.0 where a shape stays unknown."""
    from ai_edge_litert.interpreter import Interpreter

    channels = int(Interpreter(model_content=data).get_input_details()[0]["shape"][3])
    interpreter, total = _interpreter(data, (*hw, channels), delegates=False), 0
    shapes = {details["index"]: details["shape"].tolist() for details in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        ins, out = [shapes.get(int(i), []) for i in operator["inputs"]], int(np.prod(shapes[int(operator["outputs"][0])]))
        match operator["op_name"]:
            case "CONV_2D":
                total += out * int(np.prod(ins[1][1:]))
            case "DEPTHWISE_CONV_2D":
                total += out * int(np.prod(ins[1][1:3]))
            case "TRANSPOSE_CONV":
                total += int(np.prod(ins[2])) * int(np.prod(ins[1][:3]))
            case "FULLY_CONNECTED":
                total += out * ins[1][1]
            case "BATCH_MATMUL":
                total += out * ins[0][-1]
    return total / (hw[0] * hw[1])


# of all


_NOT_A_PICTURE = "give a network that makes one picture of one picture, of the same size and channels"


def _check_ends(path: Path, inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (1, 1):
        raise BundleError(f"{path}: {inputs} inputs and {outputs} outputs, expected one of each; {_NOT_A_PICTURE}")


def _checked_shape(path: Path, declared: Declared, shape: tuple[int | None, ...], hw: tuple[int, int]) -> tuple[int, int] | None:
    """The only (height, width) that a network with this input takes, None for any. Raises BundleError for another input."""
    channels = declared.channels
    if len(shape) != 4:
        raise BundleError(f"{path}: takes {_shown(shape)}, expected (1, height, width, {channels}); {_NOT_A_PICTURE}")
    batch, height, width, depth = shape
    if batch not in (None, 1):
        raise BundleError(f"{path}: takes {batch} pictures at once, expected 1; save it with a batch of 1 or any")
    if depth != channels:
        raise BundleError(
            f"{path}: takes {_shown(shape)}, expected {channels} channels, last, for --colour {declared.colour}; "
            "give another --colour, or a network of 3 channels or 1"
        )
    return None if height is None and width is None else (height or hw[0], width or hw[1])


def _try_out(
    path: Path, declared: Declared, fixed: tuple[int, int] | None, reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Raise BundleError unless pictures come back finite and at their own size, at the sides that were declared."""
    height, width = fixed or _sides(declared.pad_multiple)
    fault, near = _fault(reference, height, width, declared.channels)
    if not fault:
        return
    for multiple in (2, 4, 8, 16, 32, 64, 128) if near and not fixed else ():
        if multiple > declared.pad_multiple and not _fault(reference, *_sides(multiple), declared.channels)[0]:
            raise BundleError(
                f"{path}: {fault}, expected any multiple of {declared.pad_multiple}; multiples of {multiple} do: "
                f"give --pad-multiple {multiple}"
            )
    raise BundleError(f"{path}: {fault}, expected the same size out as in; {_NOT_A_PICTURE}")


def _sides(multiple: int) -> tuple[int, int]:
    """Two sides of about 32 pixels or more that are no multiples of twice `multiple`."""
    count = -(-32 // multiple) | 1
    return count * multiple, (count + 2) * multiple


def _fault(reference: Callable[[np.ndarray], np.ndarray], height: int, width: int, channels: int) -> tuple[str, bool]:
    """What goes wrong with one picture, empty if nothing; and whether another size may be better."""
    picture = np.random.default_rng(0).random((1, height, width, channels), np.float32)
    try:
        with quiet_stdio():
            made = reference(picture)
    except Exception as error:  # the runtimes raise exceptions of many kinds
        return f"fails on a picture of {_size((height, width))} ({_line(error)})", True
    if made.shape != picture.shape:
        near = made.ndim == 4 and all(abs(a - b) < b / 2 for a, b in zip(made.shape[1:3], (height, width), strict=True))
        return f"makes {made.shape[1:]} of {picture.shape[1:]}", near
    return ("" if np.isfinite(made).all() else "makes NaN or infinite values"), False


def _manifest(
    path: Path, declared: Declared, fixed: tuple[int, int] | None, parameters: int, macs: float, files: Sequence[Path] = ()
) -> Manifest:
    if path.is_dir():
        files = [path / "saved_model.pb", *sorted((path / "variables").glob("*"))]
    digest = hashlib.sha256()
    for file in files or [path]:
        digest.update(file.read_bytes())
    return Manifest(
        schema=SCHEMA,
        name="",
        preset="foreign",
        architecture={"kind": "foreign", "source": path.resolve().name, "sha256": digest.hexdigest()},
        colour=declared.colour,
        pad_multiple=declared.pad_multiple,
        halo=0,
        fixed_hw=fixed,
        macs_per_pixel=round(macs, 1),
        parameters=parameters,
        trained=Training("", 0, "unknown", declared.licence, {}, 0, 0.0, 0, ""),
        weights=None,
        artifacts=(),
        made_with=versions(),
    )


def _size(hw: tuple[int | None, int | None]) -> str:
    """As people write it: width first."""
    return "any size" if None in hw else f"{hw[1]}x{hw[0]} pixels"


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"


def _line(error: Exception) -> str:
    """The first line of a message that can be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
