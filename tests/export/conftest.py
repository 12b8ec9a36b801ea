"""A finished run to export, shared by the tests of this folder."""

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_once import made_once

import deblurkit
from device.images.picture import write_picture
from device.images.scenes import dead_leaves


@pytest.fixture(scope="session")
def pictures(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures smaller than the judged pictures, and two larger ones in a sub-folder."""

    def make(folder: Path) -> None:
        shutil.copytree(photographs, folder / "holiday pictures")
        for i in range(2):
            write_picture(folder / "holiday pictures" / "large" / f"{i}.png", dead_leaves(280, 330, 20 + i))

    return made_once(tmp_path_factory, "data", make) / "holiday pictures"


@pytest.fixture(scope="session")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two levels, which are traced and converted faster than the three or four of the presets.

    Its few training steps hardly move the head from zero, so the head gets weights that change pictures.
    """
    return made_once(tmp_path_factory, "runs", lambda folder: _train(pictures, folder / "tiny")) / "tiny"


def _train(pictures: Path, folder: Path) -> None:
    # Tests without Keras are skipped before they ask for this fixture.
    from train import presets
    from train.architectures import UNet
    from train.run_folder import read_run
    from train.weights import load_network, save_weights

    words = ["--epochs", 2, "--steps", 3, "--batch", 2, "--patch", 32, "--precision", "float32", "--licence", "CC0"]
    colour = replace(presets.PRESETS["small"], architecture=UNet((16, 32), (1, 1), (1,)))  # test_luma.py has the others
    with redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "small", colour)
        code = deblurkit.main([str(w) for w in ["train", "--data", pictures, "--out", folder, *words, "--cpu", "--quiet"]])
    assert code == 0
    network = load_network(folder)
    head = network.get_layer("head")
    head.kernel.assign(np.random.default_rng(1).normal(0, 0.03, head.kernel.shape))
    save_weights(folder, read_run(folder), network)


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The bundle of that run with all its files, and what --json printed. Not to be written to."""

    def make(folder: Path) -> None:
        with redirect_stdout(io.StringIO()) as printed:
            assert deblurkit.main(["export", str(run), "--out", str(folder / "tiny"), "--json", "--quiet"]) == 0
        (folder / "printed.json").write_text(printed.getvalue().splitlines()[-1])

    folder = made_once(tmp_path_factory, "bundles", make)
    return folder / "tiny", json.loads((folder / "printed.json").read_text())


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
