"""Runs under emulation: infer.py FILE.tflite TIMES WIDTH HEIGHT, one thread, a picture of noise."""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

file, times, width, height = sys.argv[1], *map(int, sys.argv[2:])
interpreter = Interpreter(file, num_threads=1)
given = interpreter.get_input_details()[0]
shape = (1, height, width, int(given["shape"][3]))
interpreter.resize_tensor_input(given["index"], shape)
interpreter.allocate_tensors()
picture = np.random.default_rng(0).integers(0, 256, shape)
as_float = given["dtype"] == np.float32
interpreter.set_tensor(given["index"], (picture / 255).astype(np.float32) if as_float else (picture - 128).astype(np.int8))
for _ in range(times):
    interpreter.invoke()
