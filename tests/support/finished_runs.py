"""Finished runs that nobody trained, for tests that only need one."""

from pathlib import Path

import numpy as np

from device.images.degrade import BLURS
from train.architectures import NAFNet, UNet, architecture_config
from train.networks import build_network
from train.presets import Recipe
from train.run_folder import SCHEMA, DataRecord, RunRecord, write_run
from train.weights import save_weights


def finished_run(folder: Path, architecture: UNet | NAFNet, seed: int = 0) -> Path:
    """A finished run with random weights."""
    folder.mkdir()
    record = RunRecord(
        SCHEMA, "small", architecture_config(architecture), Recipe(), BLURS["camera"],
        DataRecord("package", (), (), (), 0.2), 0, 1, 1.0, "", {}, "cpu:0", finished=True,
    )  # fmt: skip
    network = build_network(architecture)
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.1, w.shape).astype(np.float32) for w in network.get_weights()])
    save_weights(folder, record, network)
    write_run(folder, record)
    return folder
