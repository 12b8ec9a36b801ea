"""A Keras network into TFLite files, by TensorFlow's own converter and quantiser."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from device.errors import ExportError
from device.frame import TensorSpec

VARIANTS = ("fp32", "fp16", "dynamic", "int8")


def to_tflite(network: keras.Model, variant: str, calibration: Callable[[], Iterator[np.ndarray]]) -> bytes:
    """Convert `network` (built with batch 1 and a concrete size; runtimes resize it) to one variant.

    `calibration` yields (1, height, width, 3) float32 pictures in 0..1 for int8, which also gets int8 input and output.
    Raises ExportError with the converter's message.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        converter.representative_dataset = lambda: ([picture] for picture in calibration())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        with quiet_stdio():
            return converter.convert()
    except Exception as error:  # the converter raises whatever MLIR or TensorFlow raised
        raise ExportError(f"TFLite {variant}: the converter failed: {error}") from error


def tflite_specs(model: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of a TFLite file as the file itself says."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    return _spec(interpreter.get_input_details()[0]), _spec(interpreter.get_output_details()[0])


def _spec(details: dict) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(details["name"], np.dtype(details["dtype"]).name, float(scale), int(zero_point))


@contextmanager
def quiet_stdio() -> Iterator[None]:
    """Keep what TensorFlow's C++ prints off the terminal; it is shown when the work inside fails."""
    saved = [(stream, os.dup(stream.fileno())) for stream in (sys.__stdout__, sys.__stderr__) if stream is not None]
    with tempfile.TemporaryFile() as noise:
        for stream, _ in saved:
            stream.flush()
            os.dup2(noise.fileno(), stream.fileno())
        failed = True
        try:
            yield
            failed = False
        finally:
            for stream, copy in saved:
                stream.flush()
                os.dup2(copy, stream.fileno())
                os.close(copy)
            if failed:
                noise.seek(0)
                sys.stderr.write(noise.read().decode(errors="replace"))
