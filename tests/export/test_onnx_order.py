"""The canonical form of tf2onnx's graphs."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from keras import layers  # noqa: E402

from export.onnx_order import canonical  # noqa: E402
from export.to_onnx import to_onnx, to_onnx_fp32  # noqa: E402
from train.architectures import UNet  # noqa: E402
from train.networks import build_network  # noqa: E402


def moved(network: keras.Model) -> list[str]:
    nodes = to_onnx_fp32(network).graph.node
    return [node.op_type for node in nodes if node.op_type in {"Transpose", "Reshape", "Squeeze", "Unsqueeze"}]


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_network_converts_to_the_same_bytes_each_time_with_one_transpose_at_each_end(colour: str) -> None:
    network = build_network(UNet((8, 16), (1, 1), (1,), colour=colour))
    assert len({to_onnx_fp32(network).SerializeToString() for _ in range(4)}) == 1
    assert moved(network) == ["Transpose", "Transpose"]


def test_an_output_that_lost_its_squeeze_becomes_the_same_graph() -> None:
    """tf2onnx 1.17 writes it this way in about one of fifty conversions of a network of one channel; here on purpose."""
    network = build_network(UNet((8, 16), (1, 1), (1,), colour="luma"))
    signature = [tf.TensorSpec((1, None, None, 1), tf.float32, name="blurred")]
    for _ in range(50):
        whole, _ = tf2onnx.convert.from_keras(network, input_signature=signature, opset=18)
        last = next(node for node in whole.graph.node if whole.graph.output[0].name in node.output)
        if last.op_type == "Squeeze":
            break
    else:
        pytest.fail("tf2onnx does not end with a Squeeze any more: is this still needed?")
    torn = onnx.ModelProto()
    torn.CopyFrom(whole)
    before = next(node for node in torn.graph.node if last.input[0] in node.output)
    before.output[0] = torn.graph.output[0].name
    del torn.graph.node[[node.name for node in torn.graph.node].index(last.name)]
    torn.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    assert canonical(torn).SerializeToString() == canonical(whole).SerializeToString()
    onnx.checker.check_model(canonical(torn), full_check=True)


def patches(channels: int) -> keras.Model:
    """Treats squares of 4 pixels as vectors, only with Reshape and Permute."""
    picture = keras.Input((32, 48, channels), batch_size=1)
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((8, 4, 12, 4, channels))(picture))
    x = layers.Dense(16 * channels)(layers.Reshape((96, 16 * channels))(x))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((8, 12, 4, 4, channels))(x))
    return keras.Model(picture, layers.Reshape((32, 48, channels))(x))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_networks_own_reshapes_and_permutations_stay(channels: int) -> None:
    network = patches(channels)
    tensor = np.random.default_rng(0).random((1, 32, 48, channels), np.float32)
    session = onnxruntime.InferenceSession(to_onnx(to_onnx_fp32(network), "fp32"))
    np.testing.assert_allclose(session.run(None, {"blurred": tensor})[0], np.asarray(network(tensor)), atol=1e-5)
