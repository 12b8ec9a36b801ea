"""Runs under emulation: infer.py FILE TIMES WIDTH HEIGHT, one thread, a picture of noise. Once uncounted, then TIMES."""

import os
import sys
from collections.abc import Callable

import numpy as np


def tflite(file: str, width: int, height: int) -> Callable[[], object]:
    """Float or int8 input, resized."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=1)
    given = interpreter.get_input_details()[0]
    picture = noise(height, width, int(given["shape"][3]))
    interpreter.resize_tensor_input(given["index"], picture.shape)
    interpreter.allocate_tensors()
    as_float = given["dtype"] == np.float32
    interpreter.set_tensor(given["index"], (picture / 255).astype(np.float32) if as_float else (picture - 128).astype(np.int8))
    return interpreter.invoke


def onnx(file: str, width: int, height: int) -> Callable[[], object]:
    """Float input, set up as device/runtimes/onnxruntime.py does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    picture = (noise(height, width, given.shape[3]) / 255).astype(np.float32)
    return lambda: session.run(None, {given.name: picture})


def noise(height: int, width: int, channels: int) -> np.ndarray:
    """(1, height, width, channels), 0..255."""
    return np.random.default_rng(0).integers(0, 256, (1, height, width, channels))


file, times, width, height = sys.argv[1], *map(int, sys.argv[2:])
match file.rpartition(".")[2]:
    case "tflite":
        infer = tflite(file, width, height)
    case "onnx":
        infer = onnx(file, width, height)
    case ending:
        sys.exit(f"a file ending in .{ending}; expected .tflite or .onnx")
infer()
os.getppid()  # the plugin prints the count here
for _ in range(times):
    infer()
os.getppid()
