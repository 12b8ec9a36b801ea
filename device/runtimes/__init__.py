"""Inference runtimes behind one contract. Adding one: a file with a class like those here, and a line in `open_runtime`."""

import importlib.util
from pathlib import Path
from typing import Protocol

import numpy as np

from device.config import nearest
from device.errors import BundleError, RuntimeMissing, UsageError
from device.images.frame import Tensor


class Runtime(Protocol):
    """Runs one model file. The caller owns it and closes it; it is used from one thread at a time.

    A constructor raises BundleError for a file that is no model of its format.
    """

    def run(self, tensor: Tensor) -> Tensor:
        """(1, h, w, 3) of the model's input type -> (1, h, w, 3) of its output type, owned by the caller.

        A first call with a new size may take longer. Raises BundleError when the model does not take the tensor.
        """

    def close(self) -> None:
        """Free the model. Closing twice is safe."""


# name -> (formats it reads, module it needs, the line that installs it), best first: what is taken where nobody says which.
# None below OpenCV's is, since that one is always there.
RUNTIMES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "litert": (("tflite",), "ai_edge_litert", "pip install ai-edge-litert"),
    "tflite_runtime": (("tflite",), "tflite_runtime", "pip install tflite-runtime 'numpy<2'   (Python 3.11 and older)"),
    "onnxruntime": (("onnx",), "onnxruntime", "pip install onnxruntime"),
    "opencv_dnn": (("onnx",), "cv2", "pip install opencv-python-headless"),
    "openvino": (("onnx", "tflite"), "openvino", "pip install openvino"),
    "ncnn": (("ncnn",), "ncnn", "pip install ncnn"),
    "litert_compiled": (("tflite",), "ai_edge_litert.options", "pip install --upgrade ai-edge-litert"),
}


def formats(name: str) -> tuple[str, ...]:
    """Model formats that the runtime reads. Raises UsageError for an unknown runtime."""
    if name not in RUNTIMES:
        raise UsageError(f"unknown runtime {name!r}; {nearest(name, RUNTIMES)}")
    return RUNTIMES[name][0]


def installed(name: str) -> bool:
    """Whether the runtime's package is installed here and fits this numpy."""
    formats(name)
    if name == "tflite_runtime" and int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
        return False  # it imports under numpy 2, and then its interpreter raises SystemError
    try:
        return importlib.util.find_spec(RUNTIMES[name][1]) is not None
    except ModuleNotFoundError:  # the package around the module
        return False


def first_installed() -> str:
    """The best runtime that is installed. Raises RuntimeMissing when there is none."""
    for name in RUNTIMES:
        if installed(name):
            return name
    raise RuntimeMissing(f"no inference runtime is installed; {RUNTIMES['litert'][2]}")


def open_runtime(name: str, path: Path, threads: int) -> Runtime:
    """Open the model file `path` with the runtime `name` on `threads` CPU threads.

    Raises RuntimeMissing with the line that installs it, BundleError for a file it cannot load.
    """
    if not installed(name):
        raise RuntimeMissing(f"the runtime {name} is not installed; {RUNTIMES[name][2]}")
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
