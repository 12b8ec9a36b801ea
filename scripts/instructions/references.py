"""Build networks whose milliseconds on Raspberry Pis are published, and count their instructions like count.py.

    python scripts/instructions/references.py            into the table `references` of benchmarks/instructions.json

Weights are random: instructions do not depend on them. MobileNets and Inception are those of Keras. ResNets (with the stride in
the 3x3 convolution) and SqueezeNet are as in torchvision, because published measurements use those. `ssd-mobilenet-v2` is the
usual backbone at 300x300 with the twelve convolutions of the SSD, EfficientDet-Lite is as published; both lack the operator that
selects boxes. int8: kernels per channel, as LiteRT's converter makes them.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import count
import counting
import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

FOLDER = counting.HOME / "out/references"
LAYERS = keras.layers
BOTH = ("fp32", "int8")
VARIANTS = {
    "mobilenet-v1": BOTH, "mobilenet-v2": BOTH,
    "efficientdet-lite0": BOTH, "efficientdet-lite1": BOTH, "resnet-18": BOTH,
    "resnet-50": ("int8",), "squeezenet-1.0": BOTH,
    "ssd-mobilenet-v2": ("int8",), "inception-v3": ("int8.onnx",),
}  # fmt: skip
"""The published variants of each. `int8.onnx` is counted in ONNX Runtime, the others in LiteRT."""


def resnet(depth: int) -> keras.Model:
    """ResNet-18 or -50 for 224x224, as in torchvision."""
    counts, bottleneck = {18: ((2, 2, 2, 2), False), 50: ((3, 4, 6, 3), True)}[depth]

    def convolution(x: Any, width: int, size: int, stride: int = 1, relu: bool = True) -> Any:
        x = LAYERS.Conv2D(width, size, stride, "same", use_bias=False)(x)
        x = LAYERS.BatchNormalization()(x)
        return LAYERS.ReLU()(x) if relu else x

    inputs = x = keras.Input((224, 224, 3))
    x = LAYERS.MaxPooling2D(3, 2, "same")(convolution(x, 64, 7, 2))
    for stage, blocks in enumerate(counts):
        width = 64 << stage
        out = 4 * width if bottleneck else width
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            shortcut = convolution(x, out, 1, stride, relu=False) if stride > 1 or x.shape[-1] != out else x
            if bottleneck:
                x = convolution(convolution(x, width, 1), width, 3, stride)
                x = convolution(x, out, 1, relu=False)
            else:
                x = convolution(convolution(x, width, 3, stride), width, 3, relu=False)
            x = LAYERS.ReLU()(LAYERS.Add()([x, shortcut]))
    return keras.Model(inputs, LAYERS.Dense(1000)(LAYERS.GlobalAveragePooling2D()(x)))


def squeezenet() -> keras.Model:
    """SqueezeNet 1.0 for 224x224, as in torchvision."""

    def fire(x: Any, squeeze: int, expand: int) -> Any:
        x = LAYERS.Conv2D(squeeze, 1, activation="relu")(x)
        pair = [LAYERS.Conv2D(expand, size, padding="same", activation="relu")(x) for size in (1, 3)]
        return LAYERS.Concatenate()(pair)

    inputs = keras.Input((224, 224, 3))
    x = LAYERS.MaxPooling2D(3, 2)(LAYERS.Conv2D(96, 7, 2, activation="relu")(inputs))
    for squeeze, expand in ((16, 64), (16, 64), (32, 128)):
        x = fire(x, squeeze, expand)
    x = LAYERS.MaxPooling2D(3, 2)(x)
    for squeeze, expand in ((32, 128), (48, 192), (48, 192), (64, 256)):
        x = fire(x, squeeze, expand)
    x = fire(LAYERS.MaxPooling2D(3, 2)(x), 64, 256)
    return keras.Model(inputs, LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(1000, 1, activation="relu")(x)))


def ssd_mobilenet_v2() -> keras.Model:
    """Six feature maps from 19x19 to 1x1, each with a convolution for boxes and one for 91 classes."""
    base = keras.applications.MobileNetV2((300, 300, 3), include_top=False, weights=None)
    x = base.output
    maps = [base.get_layer("block_13_expand_relu").output, x]
    for squeeze, width in ((256, 512), (128, 256), (128, 256), (64, 128)):
        x = LAYERS.Conv2D(squeeze, 1, activation="relu6")(x)
        x = LAYERS.Conv2D(width, 3, 2, "same", activation="relu6")(x)
        maps.append(x)
    heads = []
    for index, features in enumerate(maps):
        anchors = 3 if index == 0 else 6
        heads += [LAYERS.Conv2D(anchors * 4, 1)(features), LAYERS.Conv2D(anchors * 91, 1)(features)]
    return keras.Model(base.input, heads)


# EfficientNet-Lite0's stages: expansion, kernel, stride, width, blocks.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def efficientdet_lite(number: int) -> keras.Model:
    """EfficientDet-Lite0 at 320x320 or -Lite1 at 384x384: backbone, 3 or 4 cells of BiFPN, heads for 9 anchors, 90 classes."""
    side, width, cells, deeper = {0: (320, 64, 3, 1.0), 1: (384, 88, 4, 1.1)}[number]

    def convolution(x: Any, filters: int, size: int, stride: int = 1, relu: bool = True) -> Any:
        x = LAYERS.BatchNormalization()(LAYERS.Conv2D(filters, size, stride, "same", use_bias=False)(x))
        return LAYERS.ReLU(6.0)(x) if relu else x

    def depthwise(x: Any, size: int, stride: int = 1) -> Any:
        x = LAYERS.DepthwiseConv2D(size, stride, "same", use_bias=False)(x)
        return LAYERS.ReLU(6.0)(LAYERS.BatchNormalization()(x))

    def separable(x: Any, filters: int, relu: bool = False) -> Any:
        x = LAYERS.Conv2D(filters, 1)(LAYERS.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
        return LAYERS.ReLU(6.0)(x) if relu else x

    inputs = keras.Input((side, side, 3))
    x, levels = convolution(inputs, 32, 3, 2), []
    for index, (expand, size, stride, filters, blocks) in enumerate(STAGES):
        inner = index not in (0, len(STAGES) - 1)
        for block in range(int(np.ceil(deeper * blocks)) if inner else blocks):
            before = x
            x = convolution(x, x.shape[-1] * expand, 1) if expand > 1 else x
            x = convolution(depthwise(x, size, 1 if block else stride), filters, 1, relu=False)
            x = LAYERS.Add()([x, before]) if block else x
        if index in (2, 4, 6):
            levels.append(x)
    levels.append(LAYERS.MaxPooling2D(3, 2, "same")(convolution(levels[-1], width, 1, relu=False)))
    levels.append(LAYERS.MaxPooling2D(3, 2, "same")(levels[-1]))

    def node(inputs: list[Any]) -> Any:
        same = [convolution(x, width, 1, relu=False) if x.shape[-1] != width else x for x in inputs]
        return separable(LAYERS.ReLU(6.0)(LAYERS.Add()(same)), width)

    def up(x: Any, like: Any) -> Any:
        x = LAYERS.UpSampling2D(2)(x)
        return LAYERS.Cropping2D(((0, x.shape[1] - like.shape[1]), (0, x.shape[2] - like.shape[2])))(x)

    for _ in range(cells):
        down = [levels[-1]]
        for level in reversed(levels[:-1]):
            down.insert(0, node([level, up(down[0], level)]))
        out = [down[0]]
        for level, middle in zip(levels[1:-1], down[1:-1], strict=True):
            out.append(node([level, middle, LAYERS.MaxPooling2D(3, 2, "same")(out[-1])]))
        levels = [*out, node([levels[-1], LAYERS.MaxPooling2D(3, 2, "same")(out[-1])])]
    heads = []
    for outputs in (36, 810):
        for level in levels:
            deep = level
            for _ in range(3):
                deep = separable(deep, width, relu=True)
            heads.append(separable(deep, outputs))
    return keras.Model(inputs, heads)


def network(name: str) -> keras.Model:
    """Build a network with random weights."""
    match name:
        case "mobilenet-v1":
            return keras.applications.MobileNet(weights=None, classifier_activation=None)
        case "mobilenet-v2":
            return keras.applications.MobileNetV2(weights=None, classifier_activation=None)
        case "inception-v3":
            return keras.applications.InceptionV3(weights=None, classifier_activation=None)
        case "ssd-mobilenet-v2":
            return ssd_mobilenet_v2()
        case "efficientdet-lite0" | "efficientdet-lite1":
            return efficientdet_lite(int(name[-1]))
        case "squeezenet-1.0":
            return squeezenet()
    return resnet(int(name.rpartition("-")[2]))


def to_tflite(model: keras.Model, variant: str) -> bytes:
    """Convert to a TFLite file."""
    height, width = model.input.shape[1:3]
    inputs = keras.Input(batch_shape=(1, height, width, 3))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, model(inputs)))
    if variant == "int8":
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([rng.random((1, height, width, 3), np.float32)] for _ in range(2))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def write_onnx(model: keras.Model, file: Path) -> None:
    """Write an int8 ONNX file: QDQ, kernels per channel, activations uint8, NHWC input, as export writes ours."""
    height, width = model.input.shape[1:3]
    rng = np.random.default_rng(0)

    class CalibrationPictures:
        left = 2

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            return {"picture": rng.random((1, height, width, 3), np.float32)} if self.left >= 0 else None

    with tempfile.TemporaryDirectory() as folder:
        as_float = Path(folder) / "fp32.onnx"
        inputs = tf.TensorSpec((1, height, width, 3), name="picture")
        tf2onnx.convert.from_function(
            tf.function(lambda picture: model(picture, training=False)), [inputs], opset=17, output_path=str(as_float)
        )
        quantize_static(
            as_float, file, CalibrationPictures(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


def macs(model: keras.Model) -> int:
    """Count multiply-accumulates of convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        out = layer.output
        places = int(np.prod(out.shape[1:-1])) if hasattr(out, "shape") else 0
        match layer:
            case LAYERS.DepthwiseConv2D() | LAYERS.Conv2D():
                total += places * int(np.prod(layer.kernel.shape))
            case LAYERS.Dense():
                total += int(np.prod(layer.kernel.shape))
    return total


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(VARIANTS), help="default: all")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        model = network(name)
        for variant in VARIANTS[name]:
            onnx = variant.endswith(".onnx")
            file = FOLDER / f"{name}_{variant}{'' if onnx else '.tflite'}"
            if onnx:
                write_onnx(model, file)
            else:
                file.write_bytes(to_tflite(model, variant))
            runtime, size_wh = ("onnxruntime", model.input.shape[1:3]) if onnx else ("litert", (0, 0))
            for core in counting.CORES:
                (row,) = counting.count(core, [counting.Measurement("invoke", runtime, file, size_wh)], times=1)
                entry = {key: row[key] for key in ("core", "runtime", "runtime_version", "file", "per_frame")}
                entry |= {"network": name, "variant": variant.partition(".")[0], "macs": macs(model)}
                before = count.load().get("references", [])
                count.save([r for r in before if (r["core"], r["file"]) != (core, file.name)] + [entry], "references")
                print(
                    f"{core}  {file.name}: {row['per_frame'] / 1e6:.1f} M instructions, {macs(model) / 1e6:.0f} M MAC", flush=True
                )


if __name__ == "__main__":
    sys.exit(main())
