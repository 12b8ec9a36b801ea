"""What becomes of tf2onnx's graphs."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnxruntime  # noqa: E402
from keras import layers  # noqa: E402

from export.to_onnx import to_onnx, to_onnx_fp32  # noqa: E402
from train.presets import UNet  # noqa: E402


def moved(network: keras.Model) -> list[str]:
    nodes = to_onnx_fp32(network).graph.node
    return [node.op_type for node in nodes if node.op_type in {"Transpose", "Reshape", "Squeeze", "Unsqueeze"}]


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_network_converts_to_the_same_bytes_each_time_with_one_transpose_at_each_end(colour: str) -> None:
    network = UNet((8, 16), (1, 1), (1,), colour=colour).network(None, None)
    assert len({to_onnx_fp32(network).SerializeToString() for _ in range(4)}) == 1
    assert moved(network) == ["Transpose", "Transpose"]


def patches(channels: int) -> keras.Model:
    """Works on squares of 4 pixels as vectors, by Reshape and Permute alone."""
    picture = keras.Input((32, 48, channels), batch_size=1)
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((8, 4, 12, 4, channels))(picture))
    x = layers.Dense(16 * channels)(layers.Reshape((96, 16 * channels))(x))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((8, 12, 4, 4, channels))(x))
    return keras.Model(picture, layers.Reshape((32, 48, channels))(x))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_network_itself_reshapes_and_permutes_stays(channels: int) -> None:
    network = patches(channels)
    tensor = np.random.default_rng(0).random((1, 32, 48, channels), np.float32)
    session = onnxruntime.InferenceSession(to_onnx(to_onnx_fp32(network), "fp32"))
    np.testing.assert_allclose(session.run(None, {"blurred": tensor})[0], np.asarray(network(tensor)), atol=1e-5)
