"""A .keras file: a zip that is read as data and checked against lists of what it may name, before Keras loads it."""

import importlib
import io
import json
import math
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

from device.errors import BundleError
from device.system.console import quiet_stdio
from export.foreign.declared import ENTRIES, LIMIT
from export.foreign.interface import check_interface, first_line
from export.foreign.keras_network import AnySize, Network, counted

_RATIO = 200  # unpacked to packed bytes; weights hardly shrink
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


def open_keras(path: Path) -> Network:
    """Inspect the archive, then load it. Raises BundleError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
        config = json.loads(members["config.json"])
        _check_config(path, config)
        _check_weights(path, members["model.weights.h5"])
    except BundleError:
        raise
    except Exception as error:  # zipfile, json and h5py raise exceptions of many kinds on damaged data
        raise BundleError(f"{path}: not a .keras file, or a damaged one ({first_line(error)}); save or copy it again") from error
    del members
    try:
        with quiet_stdio():
            network = keras.models.load_model(str(path), compile=False, safe_mode=True)
        counts, shape = (len(network.inputs), len(network.outputs)), network.inputs[0].shape
    except Exception as error:  # Keras raises exceptions of many kinds
        raise BundleError(f"{path}: Keras {keras.__version__} does not load it ({first_line(error)}); save it again") from error
    check_interface(path, *counts)
    if any(not np.isfinite(weight).all() for weight in network.get_weights()):
        raise BundleError(f"{path}: holds NaN or infinite weights; give a network whose training did not diverge")
    for layer in (network, *_all_layers(network)):
        layer.dtype_policy = keras.DTypePolicy("float32")  # TFLite's converter has no operators of half precision
        if type(layer) is layers.UpSampling2D:
            layer.__class__ = AnySize
    weights = [(weight.path, math.prod(weight.shape)) for weight in network.weights]
    return Network(lambda x: network(x, training=False), tuple(shape), counted(weights))


def _all_layers(layer: Any) -> Iterator[Any]:
    for inner in getattr(layer, "layers", []):
        yield inner
        yield from _all_layers(inner)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The three members, unpacked in memory, each as long as the directory says. Raises BundleError."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    odd = next((name for name in names if name not in _MEMBERS), None)
    if len(entries) > ENTRIES or odd is not None or sorted(names) != sorted(_MEMBERS):
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
    todo: list[Any] = [{key: value for key, value in config.items() if key != "compile_config"}]  # Keras does not load that
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
    """Whether a dictionary of config.json holds plain values, or an object that is allowed."""
    if not {"class_name", "module", "registered_name"} & node.keys():
        return True
    module, name, registered = node.get("module"), node.get("class_name"), node.get("registered_name")
    if module is None and registered is None and name in _VALUES:
        return True
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if name == "function":
        function = node.get("config")
        own = module in ("keras.activations", "builtins") and isinstance(function, str) and hasattr(keras.activations, function)
        return own and registered in (None, "function", function)
    if module not in _KERAS or registered not in (None, name):
        return False
    allowed = _KERAS[module]
    if allowed is None:
        return isinstance(getattr(importlib.import_module(module), name, None), type)
    return name in allowed


def _check_weights(path: Path, data: bytes) -> None:
    """Raise BundleError for links, and for datasets that lie outside the file or claim more than it can hold."""
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
