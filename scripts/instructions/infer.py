"""Runs under emulation, one thread: infer.py TIMES, then WHAT RUNTIME FILE WIDTH HEIGHT of each that is counted.

WHAT: `invoke`, the runtime's bare call; `rgb` or `planes`, a whole frame through the Restorer (FILE lies in its bundle). The
picture is noise. Each runs once uncounted, then TIMES counted; the plugin prints its count at every call of getppid.
Before each a line `version …`.
"""

import gc
import importlib.metadata
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

Infer = Callable[[], object]
PACKAGES = {
    "litert": "ai-edge-litert", "onnxruntime": "onnxruntime", "opencv_dnn": "opencv-python-headless",
    "openvino": "openvino", "ncnn": "ncnn",
}  # fmt: skip


def litert(file: str, width: int, height: int) -> Infer:
    """Float or int8 input, resized unless the file's own size stands (WIDTH 0)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=1)
    given = interpreter.get_input_details()[0]
    shape = [int(n) for n in given["shape"]]
    if width:
        shape[1:3] = height, width
        interpreter.resize_tensor_input(given["index"], shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], tensor(shape, np.dtype(given["dtype"])))
    return interpreter.invoke


def onnxruntime(file: str, width: int, height: int) -> Infer:
    """Set up as device/runtimes/onnxruntime.py does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype = np.dtype(np.uint8 if "uint8" in given.type else np.int8 if "int8" in given.type else np.float32)
    picture = tensor([1, height, width, given.shape[3]], dtype)
    return lambda: session.run(None, {given.name: picture})


def opencv_dnn(file: str, width: int, height: int) -> Infer:
    """Set up as device/runtimes/opencv_dnn.py does."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(file, *([cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []))
    picture = tensor([1, height, width, 1], np.dtype(np.float32))

    def infer() -> object:
        net.setInput(picture)
        return net.forward()

    return infer


def by_adapter(name: str) -> Callable[[str, int, int], Infer]:
    """The runtime as device/runtimes has it; float files of one channel."""

    def opened(file: str, width: int, height: int) -> Infer:
        from device.runtimes import open_runtime

        runtime, picture = open_runtime(name, Path(file), 1), tensor([1, height, width, 1], np.dtype(np.float32))
        return lambda: runtime.run(picture)

    return opened


def whole(what: str, runtime: str, file: str, width: int, height: int) -> Infer:
    """A frame from pixels to pixels, by the device package itself."""
    import cv2

    from device.bundle.open import open_bundle
    from device.images.yuv import Yuv
    from device.restore.restorer import Restorer

    cv2.setNumThreads(1)  # its other threads wait by counting
    path = Path(file)
    bundle = open_bundle(path.parent)
    variant = next(a.variant for a in bundle.manifest.artifacts if a.file == path.name)
    restorer = Restorer(bundle, variant, runtime, threads=1)
    image = noise([height, width, 3])
    if what == "planes":
        halves = [noise([height // 2, width // 2]) for _ in range(2)]
        return lambda: restorer.restore(Yuv(image[..., 0].copy(), *halves))
    return lambda: restorer.restore(image)


def noise(shape: list[int]) -> np.ndarray:
    """uint8, 0..255."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def tensor(shape: list[int], dtype: np.dtype) -> np.ndarray:
    """A picture of noise as a model takes it: 0..1, or bytes."""
    picture = noise(shape)
    if dtype == np.float32:
        return (picture / np.float32(255)).astype(np.float32)
    return picture if dtype == np.uint8 else (picture ^ 128).view(np.int8)


def opened(what: str, runtime: str, file: str, width: int, height: int) -> Infer:
    """What is counted, as one call."""
    if what != "invoke":
        return whole(what, runtime, file, width, height)
    runtimes = {"litert": litert, "onnxruntime": onnxruntime, "opencv_dnn": opencv_dnn}
    runtimes |= {name: by_adapter(name) for name in ("openvino", "ncnn")}
    return runtimes[runtime](file, width, height)


gc.disable()  # a collection falls into one frame in many, and takes as much as our own part of one
times = int(sys.argv[1])
for words in zip(*[iter(sys.argv[2:])] * 5, strict=True):
    what, runtime, file, width, height = words
    print("version", importlib.metadata.version(PACKAGES[runtime]), flush=True)
    infer = opened(what, runtime, file, int(width), int(height))
    for _ in range(1 if what == "invoke" else 2):  # Python's own part of a second frame is a hundredth above the third's
        infer()
    gc.collect()
    os.getppid()  # the plugin prints the count here
    for _ in range(times):
        infer()
        os.getppid()
