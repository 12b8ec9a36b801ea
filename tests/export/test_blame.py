"""Which layer 8 bits harm: found and put back in float where somebody has spoiled one without changing the fp32 network."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from device.errors import ExportError  # noqa: E402
from device.quality import mean_psnr  # noqa: E402
from device.scene import dead_leaves  # noqa: E402
from export.blame import LayerLoss, describe, in_float, layer_losses, layer_of, plot  # noqa: E402
from export.subject import Calibration  # noqa: E402
from export.to_onnx import to_onnx, to_onnx_fp32, to_onnx_int8, with_pixels  # noqa: E402
from train.presets import UNet  # noqa: E402
from train.quantise import calibrated_ranges  # noqa: E402

SIDE = 64
SHARP = np.stack([dead_leaves(SIDE, SIDE, seed) for seed in range(4)]).astype(np.float32) / 255
BLURRED = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.2) for picture in SHARP])


@dataclass(frozen=True)
class Files:
    fp32: bytes
    int8: bytes
    target: np.ndarray
    """What fp32 restores with a little noise, so that it is worth 40 dB."""


def network(architecture: UNet) -> "keras.Model":
    """With biases and a head that changes pictures, as a trained one has."""
    keras.utils.set_random_seed(3)
    made = architecture.network(None, None)
    random = np.random.default_rng(3)
    for layer in made.layers:
        if layer.weights:
            layer.bias.assign(random.normal(0, 0.05, layer.bias.shape))
    made.get_layer("head").kernel.assign(random.normal(0, 0.03, made.get_layer("head").kernel.shape))
    return made


def files(made: "keras.Model") -> Files:
    graph = to_onnx_fp32(made)
    fp32 = graph.SerializeToString()
    noise = np.random.default_rng(4).normal(0, 0.01, BLURRED.shape)
    target = np.clip(restored(fp32) + noise, 0, 1).astype(np.float32)
    return Files(fp32, to_onnx(graph, "int8", Calibration("minmax", list(BLURRED[:, None]))), target)


def restored(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"blurred": picture[None]})[0] for picture in BLURRED])


def quality_db(model: bytes, of: Files) -> float:
    return mean_psnr(np.clip(restored(model), 0, 1), of.target, 1.0)


def losses_of(of: Files) -> list[LayerLoss]:
    return layer_losses(of.int8, of.fp32, BLURRED, of.target)


def operators(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


SMALL = UNet((8, 16), (1, 1), (1,))


@pytest.fixture(scope="module")
def plain() -> Files:
    return files(network(SMALL))


@pytest.fixture(scope="module")
def swollen() -> Files:
    """One channel of a hidden layer is 1,000 times as large, and the next layer takes a thousandth of it: the same function."""
    made = network(SMALL)
    before, after = made.get_layer("down0_block0_a"), made.get_layer("down0_block0_b")
    factors = np.ones(8, np.float32)
    factors[2] = 1000
    before.kernel.assign(before.kernel * factors)
    before.bias.assign(before.bias * factors)
    after.kernel.assign(after.kernel / factors[:, None])
    return files(made)

