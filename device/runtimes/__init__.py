"""Inference runtimes behind one contract (`runtime.py`).

To add one, write a file with a class like those here, then add an entry to `RUNTIMES` and a case to `open_runtime`.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.config import nearest
from device.errors import BundleError, RuntimeMissing, UsageError
from device.runtimes.runtime import Runtime


@dataclass(frozen=True)
class RuntimeInfo:
    """What is known about a runtime without importing it."""

    formats: tuple[str, ...]
    """Model formats that it reads, the preferred one first."""
    module: str
    """The module that must be installed."""
    install: str
    """The command that installs it."""
    prefers: str = ""
    """The variant to run when none is asked for; empty: the bundle decides."""
    refuses_int8_without_vnni: bool = False
    """Whether it refuses int8 files on x86 without VNNI, where its sums overflow (device/runtimes/openvino.py)."""
    needs_numpy_1: bool = False
    """Whether it fails under numpy 2."""


# Best first: the default is the first one that is installed. OpenCV always is, so nothing below it becomes the default.
RUNTIMES = {
    "litert": RuntimeInfo(formats=("tflite",), module="ai_edge_litert", install="pip install ai-edge-litert"),
    "tflite_runtime": RuntimeInfo(
        formats=("tflite",),
        module="tflite_runtime",
        install="pip install tflite-runtime 'numpy<2'   (Python 3.11 and older)",
        needs_numpy_1=True,  # numpy 2: the import succeeds, then the interpreter raises SystemError
    ),
    "onnxruntime": RuntimeInfo(formats=("onnx",), module="onnxruntime", install="pip install onnxruntime"),
    "opencv_dnn": RuntimeInfo(
        formats=("onnx",),
        module="cv2",
        install="pip install opencv-python-headless",
        prefers="fp32",  # quantised ONNX files run slower than fp32 here, if they load at all
    ),
    "openvino": RuntimeInfo(
        formats=("onnx", "tflite"), module="openvino", install="pip install openvino", refuses_int8_without_vnni=True
    ),
    "ncnn": RuntimeInfo(formats=("ncnn",), module="ncnn", install="pip install ncnn"),
    "litert_compiled": RuntimeInfo(
        formats=("tflite",), module="ai_edge_litert.options", install="pip install --upgrade ai-edge-litert"
    ),
}


def formats(name: str) -> tuple[str, ...]:
    """Model formats that the runtime reads. Raises UsageError for an unknown runtime."""
    return _info(name).formats


def preferred_variant(name: str) -> str | None:
    """The variant to run on this machine when none is asked for; None: the bundle decides."""
    info = _info(name)
    if info.refuses_int8_without_vnni:
        from device.runtimes.openvino import int8_overflows_here

        return "fp32" if int8_overflows_here() else None
    return info.prefers or None


def installed(name: str) -> bool:
    """Whether the runtime's package is installed and works with the installed numpy."""
    info = _info(name)
    if info.needs_numpy_1 and int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
        return False
    try:
        return importlib.util.find_spec(info.module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def _info(name: str) -> RuntimeInfo:
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}; {nearest(name, RUNTIMES)}")
    return RUNTIMES[name]


def first_installed() -> str:
    """The best runtime that is installed. Raises RuntimeMissing if there is none."""
    for name in RUNTIMES:
        if installed(name):
            return name
    raise RuntimeMissing(f"no inference runtime is installed; {RUNTIMES['litert'].install}")


def open_runtime(name: str, path: Path, threads: int) -> Runtime:
    """Open the model file `path` with the runtime `name` on `threads` CPU threads.

    Raises RuntimeMissing with the command that installs it, BundleError for a file that it cannot load.
    """
    if not installed(name):
        raise RuntimeMissing(f"the runtime {name} is not installed; {RUNTIMES[name].install}")
    match name:
        case "litert":
            from device.runtimes.litert import LiteRT

            return LiteRT(path, threads)
        case "tflite_runtime":
            from device.runtimes.tflite_runtime import TFLiteRuntime

            return TFLiteRuntime(path, threads)
        case "onnxruntime":
            from device.runtimes.onnxruntime import OnnxRuntime

            return OnnxRuntime(path, threads)
        case "opencv_dnn":
            from device.runtimes.opencv_dnn import OpenCVDnn

            return OpenCVDnn(path, threads)
        case "openvino":
            from device.runtimes.openvino import OpenVINO

            return OpenVINO(path, threads)
        case "ncnn":
            from device.runtimes.ncnn import Ncnn

            return Ncnn(path, threads)
        case "litert_compiled":
            from device.runtimes.litert_compiled import LiteRTCompiled

            return LiteRTCompiled(path, threads)
    raise BundleError(f"the runtime {name} has no adapter")
