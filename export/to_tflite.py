"""A Keras network into TFLite files, by TensorFlow's own converter and quantiser."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from device.console import quiet_stdio
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
