"""The counted program; it runs under emulation with one thread. Arguments: TIMES, then WHAT RUNTIME FILE WIDTH HEIGHT for each.

WHAT: `invoke`, the runtime's bare call; `rgb` or `planes`, a whole frame through the Restorer (FILE is in its bundle); `told`, a
frame of `planes` with a known motion to undo. The picture is noise. Each first runs uncounted, once or twice, then TIMES
counted; the plugin prints its count at every call of getppid. A line `version …` precedes each.
"""

import gc
import importlib.metadata
import json
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
    """Float or int8 input; WIDTH 0 keeps the file's own size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=1)
    details = interpreter.get_input_details()[0]
    shape = [int(n) for n in details["shape"]]
    if width:
        shape[1:3] = height, width
        interpreter.resize_tensor_input(details["index"], shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(details["index"], tensor(shape, np.dtype(details["dtype"])))
    return interpreter.invoke


def onnxruntime(file: str, width: int, height: int) -> Infer:
    """Set up as device/runtimes/onnxruntime.py does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    details = session.get_inputs()[0]
    dtype = np.dtype(np.uint8 if "uint8" in details.type else np.int8 if "int8" in details.type else np.float32)
    picture = tensor([1, height, width, details.shape[3]], dtype)
    return lambda: session.run(None, {details.name: picture})


def opencv_dnn(file: str, width: int, height: int) -> Infer:
    """Set up as device/runtimes/opencv_dnn.py does."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(file, *([cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []))
    picture = tensor([1, height, width, channels_of(file)], np.dtype(np.float32))

    def infer() -> object:
        net.setInput(picture)
        return net.forward()

    return infer


def by_adapter(name: str) -> Callable[[str, int, int], Infer]:
    """Use the adapter in device/runtimes; for float files."""

    def open_file(file: str, width: int, height: int) -> Infer:
        from device.runtimes import open_runtime

        runtime, picture = open_runtime(name, Path(file), 1), tensor([1, height, width, channels_of(file)], np.dtype(np.float32))
        return lambda: runtime.run(picture)

    return open_file


def whole_frame(what: str, runtime: str, file: str, width: int, height: int) -> Infer:
    """Restore a frame from pixels to pixels with the device package."""
    import cv2

    from device.blur.psf import Psf
    from device.bundle.open import open_bundle
    from device.images.yuv import Yuv
    from device.restore.restorer import Restorer

    cv2.setNumThreads(1)  # its other threads execute instructions while they wait
    path = Path(file)
    bundle = open_bundle(path.parent)
    variant = next(a.variant for a in bundle.manifest.artifacts if a.file == path.name)
    restorer = Restorer(bundle, variant, runtime, threads=1)
    image = noise([height, width, 3])
    if what == "told":
        restorer.use_psf(Psf("motion", 17.0, 30.0))
    if what != "rgb":
        halves = [noise([height // 2, width // 2]) for _ in range(2)]
        return lambda: restorer.restore(Yuv(image[..., 0].copy(), *halves))
    return lambda: restorer.restore(image)


def channels_of(file: str) -> int:
    """Of the input of a file that lies in its bundle."""
    manifest = json.loads((Path(file).parent / "manifest.json").read_text())
    return manifest["planes"] if manifest["colour"] == "luma" else 3


def noise(shape: list[int]) -> np.ndarray:
    """Noise, uint8, 0..255."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def tensor(shape: list[int], dtype: np.dtype) -> np.ndarray:
    """A picture of noise as model input: 0..1, or bytes."""
    picture = noise(shape)
    if dtype == np.float32:
        return (picture / np.float32(255)).astype(np.float32)
    return picture if dtype == np.uint8 else (picture ^ 128).view(np.int8)


def open_infer(what: str, runtime: str, file: str, width: int, height: int) -> Infer:
    """Return the counted call."""
    if what != "invoke":
        return whole_frame(what, runtime, file, width, height)
    runtimes = {"litert": litert, "onnxruntime": onnxruntime, "opencv_dnn": opencv_dnn}
    runtimes |= {name: by_adapter(name) for name in ("openvino", "ncnn")}
    return runtimes[runtime](file, width, height)


gc.disable()  # a collection happens in one frame in many, and takes as much as our own part of a frame
times = int(sys.argv[1])
for words in zip(*[iter(sys.argv[2:])] * 5, strict=True):
    what, runtime, file, width, height = words
    print("version", importlib.metadata.version(PACKAGES[runtime]), flush=True)
    infer = open_infer(what, runtime, file, int(width), int(height))
    for _ in range(1 if what == "invoke" else 2):  # Python's own part of the second frame is 1 % above that of the third
        infer()
    gc.collect()
    os.getppid()  # the plugin prints the count here
    for _ in range(times):
        infer()
        os.getppid()
