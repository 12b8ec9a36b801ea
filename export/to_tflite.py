"""Convert a Keras network to TFLite files, with TensorFlow's own converter and quantiser."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.lite.python.util import modify_model_io_type

from device.bundle.manifest import TensorSpec
from device.errors import ExportError
from device.system.console import quiet_stdio
from export.export_source import Calibration
from train.quantise import RESIDUAL, Ranges

VARIANTS = ("fp32", "fp16", "dynamic", "int8")


def to_tflite(network: keras.Model, variant: str, calibration: Calibration | None = None, in_float: Sequence[str] = ()) -> bytes:
    """Convert `network` (built with batch 1 and a concrete size; runtimes resize it) to one variant; input and output are floats.

    The converter calibrates int8, by minimum and maximum; layers named in `in_float` stay in float.
    Raises ExportError with the converter's message.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if variant != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "int8":
        if calibration is None:
            raise ExportError("TFLite int8: calibration pictures are needed")
        if in_float:
            raise ExportError(
                f"TFLite int8: {', '.join(in_float)} cannot stay in float: only networks of convolutions are converted layer by "
                "layer; take the dynamic file, or the int8 ONNX file"
            )
        converter.representative_dataset = lambda: ([picture] for picture in calibration.tensors)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return _convert(converter, variant)


def to_tflite_int8(network: keras.Model, ranges: Ranges, in_float: Sequence[str] = ()) -> bytes:
    """Convert a network of convolutions to int8 with the `ranges` of its layers; input and output are floats at a scale of 1/255.

    `network` is unclipped: the range 0..1 of its last addition clips, so that no operator is needed for it. The ranges reach
    the converter as TensorFlow's fake quantisation; layers named in `in_float` get none, so they stay in float.
    Raises ExportError with the converter's message.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(_with_ranges(network, ranges, in_float))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter, "int8")


def with_pixels(model: bytes, dtype: str) -> bytes:
    """The int8 file with input and output of `dtype` instead of floats: `int8`, as uint8 needs operators outside the delegate."""
    try:
        with quiet_stdio():
            return bytes(modify_model_io_type(model, tf.dtypes.as_dtype(dtype), tf.dtypes.as_dtype(dtype)))
    except Exception as error:  # the converter raises whatever MLIR or TensorFlow raised
        raise ExportError(f"TFLite int8: input and output cannot be {dtype}: {error}") from error


def _convert(converter: Any, variant: str) -> bytes:
    try:
        with quiet_stdio():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises whatever MLIR or TensorFlow raised
        raise ExportError(f"TFLite {variant}: the converter failed: {error}") from error


def _with_ranges(network: keras.Model, ranges: Ranges, in_float: Sequence[str]) -> keras.Model:
    ranges = {layer: limits for layer, limits in {**ranges, RESIDUAL: (0.0, 1.0)}.items() if layer not in in_float}

    def twin_layer(layer: layers.Layer) -> layers.Layer:
        kind = _EightBitKernel if type(layer) is layers.Conv2D else type(layer)
        return kind.from_config(layer.get_config())  # type: ignore[no-any-return]

    def call(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        output = layer(*inputs, **options)
        return _EightBits(*ranges[layer.name])(output) if layer.name in ranges else output

    twin = keras.models.clone_model(network, clone_function=twin_layer, call_function=call)
    for layer in network.layers:
        copy = twin.get_layer(layer.name)
        copy.set_weights(layer.get_weights())
        if isinstance(copy, _EightBitKernel) and layer.name not in in_float:
            copy.limits = np.abs(layer.get_weights()[0]).max((0, 1, 2)).clip(1e-9)
    picture = keras.Input(batch_shape=network.input_shape, name="blurred", dtype="float32")
    return keras.Model(picture, twin(_EightBits(0.0, 1.0)(picture)))


class _EightBits(layers.Layer):
    """Tells the converter the range of a tensor."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self._range = low, high

    def call(self, x: Any) -> Any:
        return tf.quantization.fake_quant_with_min_max_args(x, *self._range)


class _EightBitKernel(layers.Conv2D):
    """Tells the converter the ranges of a kernel, one per output channel."""

    limits: np.ndarray | None = None

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if self.limits is not None:
            kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                keras.ops.convert_to_tensor(kernel), -self.limits, self.limits, narrow_range=True
            )
        return super().convolution_op(inputs, kernel)


def tflite_specs(model: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of a TFLite file, as the file describes them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    return _spec(interpreter.get_input_details()[0]), _spec(interpreter.get_output_details()[0])


def _spec(details: dict) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(details["name"], np.dtype(details["dtype"]).name, float(scale), int(zero_point))
