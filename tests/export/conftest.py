"""A finished run to export, shared by the tests of this folder."""

import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deblurkit
from device.images.picture import write_picture
from device.images.scenes import dead_leaves


@pytest.fixture(scope="session")
def pictures(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures smaller than the judged pictures, and two larger ones in a sub-folder."""
    folder = Path(shutil.copytree(photographs, tmp_path_factory.mktemp("data") / "holiday pictures"))
    for i in range(2):
        write_picture(folder / "large" / f"{i}.png", dead_leaves(280, 330, 20 + i))
    return folder


@pytest.fixture(scope="session")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Its few steps hardly move the head from zero, so the head gets weights that change pictures."""
    # Tests without Keras are skipped before they ask for this fixture.
    from train import presets
    from train.architectures import UNet
    from train.run_folder import read_run
    from train.weights import load_network, save_weights

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    words = ["--epochs", 2, "--steps", 3, "--batch", 2, "--patch", 32, "--precision", "float32", "--licence", "CC0"]
    colour = replace(presets.PRESETS["small"], architecture=UNet())  # test_luma.py has the others
    with redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "small", colour)
        code = deblurkit.main([str(w) for w in ["train", "--data", pictures, "--out", folder, *words, "--cpu", "--quiet"]])
    assert code == 0
    network = load_network(folder)
    head = network.get_layer("head")
    head.kernel.assign(np.random.default_rng(1).normal(0, 0.03, head.kernel.shape))
    save_weights(folder, read_run(folder), network)
    return folder


@pytest.fixture(scope="session")
def swell() -> Callable[..., None]:
    """`swell(network, layer, next_layer, channel)`: 1,000 times as large there, a thousandth of it next: the same function."""

    def spoil(network: Any, layer: str, next_layer: str, channel: int) -> None:
        first, second = network.get_layer(layer), network.get_layer(next_layer)
        factors = np.ones(first.filters, np.float32)
        factors[channel] = 1000
        first.set_weights([values * factors for values in first.get_weights()])
        second.kernel.assign(second.kernel / factors[:, None])

    return spoil


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "copied"))
