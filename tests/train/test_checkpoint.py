"""The checkpoint of a run: written, read back, and refused if damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.errors import DataError  # noqa: E402
from train.architectures import UNet  # noqa: E402
from train.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from train.networks import build_network  # noqa: E402


def tiny_network() -> tuple[keras.Model, keras.optimizers.Optimizer]:
    network = build_network(UNet(widths=(4, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)))
    optimizer = keras.optimizers.AdamW(1e-3, use_ema=True)
    optimizer.build(network.trainable_variables)
    return network, optimizer


def test_a_checkpoint_restores_weights_optimizer_and_history_exactly(tmp_path: Path) -> None:
    network, optimizer = tiny_network()
    rng = np.random.default_rng(0)
    optimizer.apply([keras.ops.convert_to_tensor(rng.random(v.shape, np.float32)) for v in network.trainable_variables])
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "val_loss": 1e-17}]
    save_checkpoint(tmp_path, network, optimizer, history)
    other, other_optimizer = tiny_network()
    assert load_checkpoint(tmp_path, other, other_optimizer) == history
    for ours, theirs in zip(
        [*network.variables, *optimizer.variables], [*other.variables, *other_optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"not a checkpoint" * 100,
        lambda data: data[:-30],
        lambda data: data[:4000] + bytes(b ^ 255 for b in data[4000:4400]) + data[4400:],
    ],
    ids=["empty", "garbage", "without-its-end", "altered"],
)
def test_a_damaged_checkpoint_is_refused_and_named(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    network, optimizer = tiny_network()
    save_checkpoint(tmp_path, network, optimizer, [{"epoch": 1}])
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=r"checkpoint\.npz: cannot resume from it"):
        load_checkpoint(tmp_path, network, optimizer)


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    network, optimizer = tiny_network()
    save_checkpoint(tmp_path, network, optimizer, [{"epoch": 1}])
    other = build_network(UNet(widths=(8, 8), encoder_blocks=(1, 1), decoder_blocks=(1,)))
    with pytest.raises(DataError, match="cannot resume from it"):
        load_checkpoint(tmp_path, other, optimizer)
