"""Re-parameterised convolutions: several branches while training, one kernel afterwards, the same output."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from train.architectures import UNet  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.presets import PRESETS  # noqa: E402
from train.reparameterise import BranchedConv2D, branched, fold  # noqa: E402
from train.weights import load_network  # noqa: E402

PLAIN = UNet(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,), block="plain", colour="luma")


def stirred(network: Any, scale: float) -> Any:
    rng = np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, scale, w.shape) for w in network.get_weights()])
    return network


def outputs(network: Any, picture: np.ndarray) -> np.ndarray:
    return np.asarray(network(picture))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).random((2, 24, 32, 1), np.float32)


def test_a_branched_network_initially_equals_the_plain_one(noise: np.ndarray) -> None:
    plain = stirred(build_network(PLAIN, clip=False), 0.05)
    twin = branched(plain)
    assert sum(isinstance(layer, BranchedConv2D) for layer in twin.layers) == 9  # all but the 1x1 on the way up
    assert np.abs(outputs(twin, noise) - outputs(plain, noise)).max() < 1e-5


def test_branches_fold_into_one_kernel_exactly_at_borders_too(noise: np.ndarray) -> None:
    plain = build_network(PLAIN, clip=False)
    twin = stirred(branched(stirred(plain, 0.05)), 0.05)
    fold(twin, plain)
    difference = np.abs(outputs(twin, noise) - outputs(plain, noise))
    assert outputs(twin, noise).std() > 0.01
    assert difference.max() < 1e-5
    assert difference[:, [0, -1]].max() < 1e-5


def test_every_branch_contributes(noise: np.ndarray) -> None:
    twin = stirred(branched(stirred(build_network(PLAIN, clip=False), 0.05)), 0.05)
    before = outputs(twin, noise)
    layer = next(layer for layer in twin.layers if isinstance(layer, BranchedConv2D))
    for weight in layer.weights:
        kept = np.asarray(weight)
        weight.assign(np.zeros_like(kept))
        assert np.abs(outputs(twin, noise) - before).max() > 1e-5, weight.name
        weight.assign(kept)


@pytest.mark.usefixtures("tiny", "eager")
def test_a_run_with_branches_leaves_plain_weights_and_resumes(tmp_path: Path, photographs: Path, command: Any) -> None:
    words = ["train", "--preset", "nano", "--data", photographs, "--steps", 2, "--batch", 2, "--patch", 32, "--branches", "--cpu"]
    assert command(*words, "--epochs", 2, "--out", tmp_path / "run").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["branches"]
    assert load_network(tmp_path / "run").count_params() == build_network(PRESETS["nano"].architecture).count_params()
    again = command("train", "--resume", "--out", tmp_path / "run", "--cpu")
    assert again.code == 0, again.err
