"""NAFNet, the network of the teacher."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.images.degrade import BLURS  # noqa: E402
from train.architectures import NAFNet, architecture_config, architecture_from  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.networks.describe import macs_per_pixel  # noqa: E402
from train.presets import PRESETS, Recipe  # noqa: E402
from train.run_folder import SCHEMA, DataRecord, RunRecord, write_run  # noqa: E402

TEACHER = PRESETS["teacher"].architecture
TINY = NAFNet(4, (1, 1), 1, (1, 1))
ON_JAX = """
import sys, numpy as np
from train.architectures import NAFNet
from train.networks import build_network
network = build_network(NAFNet(4, (1, 1), 1, (1, 1)), clip=False)
rng = np.random.default_rng(0)
network.set_weights([rng.normal(0, 0.3, w.shape).astype("float32") for w in network.get_weights()])
np.save(sys.argv[1], network.predict_on_batch(rng.random((2, 16, 24, 3), np.float32)))
"""


def with_random_weights(architecture: NAFNet) -> keras.Model:
    """The network with random weights, so that every part has an effect."""
    network = build_network(architecture, clip=False)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in network.get_weights()])
    return network


def test_the_teacher_keeps_its_budget_and_passes_pictures_through_untrained() -> None:
    network, side = build_network(TEACHER), 3 * TEACHER.pad_multiple
    assert network.count_params() == 3_964_531
    assert 55_000 < macs_per_pixel(TEACHER) < 65_000
    picture = np.random.default_rng(0).random((1, side, 2 * side, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(network(picture)), picture)


def test_the_macs_of_a_tiny_nafnet_equal_a_count_by_hand() -> None:
    def block(channels: int) -> int:  # both 1x1 pairs, and the depthwise 3x3 over twice the channels
        return 2 * (2 * channels**2 + channels**2) + 9 * 2 * channels

    pixels = 32 * 32  # of the counted network; the attention has one value per picture
    attention = (2 * 4**2 + 2 * 8**2 + 16**2) / pixels
    levels = 2 * block(4) + 2 * block(8) / 4 + block(16) / 16
    down = 4 * 4 * 8 / 4 + 4 * 8 * 16 / 16
    up = 16 * 32 / 16 + 8 * 16 / 4
    head = 2 * 9 * 3 * 4
    assert TINY.pad_multiple == 4
    assert macs_per_pixel(TINY) == levels + attention + down + up + head


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_an_untrained_nafnet_passes_the_picture_through(colour: str) -> None:
    picture = np.random.default_rng(1).random((2, 8, 12, 1 if colour == "luma" else 3), np.float32)
    network = build_network(replace(TINY, colour=colour))
    np.testing.assert_array_equal(np.asarray(network(picture)), picture)


def test_its_scales_are_initially_zero_and_learn() -> None:
    network = build_network(TINY, clip=False)
    scales = [w for w in network.trainable_weights if w.name == "factor"]
    assert len(scales) == 2 * 5
    assert all(not np.any(w) for w in scales)
    network.get_layer("head").kernel.assign(np.full((3, 3, 4, 3), 0.1))
    network.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    rng = np.random.default_rng(2)
    network.train_on_batch(rng.random((2, 8, 8, 3), np.float32), rng.random((2, 8, 8, 3), np.float32))
    assert all(np.any(w) for w in scales)


def test_a_tile_of_a_picture_is_restored_differently_from_the_whole() -> None:
    # True for any halo: the tile is the left half, and the compared pixels are at its left edge.
    network = with_random_weights(TINY)
    picture = np.random.default_rng(3).random((1, 16, 128, 3), np.float32)
    picture[:, :, 96:] = 0
    whole, tile = (np.asarray(network(p))[:, :, :4] for p in (picture, picture[:, :, :64]))
    assert np.abs(whole - tile).max() > 1e-3


def test_its_output_is_float32_under_a_mixed_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_network(TINY, 8, 8)
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.get_layer("intro").compute_dtype == "bfloat16"
    assert network.output.dtype == "float32"


def test_it_is_the_same_after_a_round_trip_through_json() -> None:
    assert architecture_from(json.loads(json.dumps(architecture_config(TINY))), "run.json") == TINY


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_computes_what_tensorflow_computes(tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    subprocess.run([sys.executable, "-c", ON_JAX, tmp_path / "jax.npy"], env=environment, check=True, timeout=500)
    rng = np.random.default_rng(0)
    network = build_network(TINY, clip=False)
    network.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in network.get_weights()])
    here = np.asarray(network(rng.random((2, 16, 24, 3), np.float32)))
    np.testing.assert_allclose(np.load(tmp_path / "jax.npy"), here, rtol=1e-3, atol=1e-4)


def test_export_refuses_it_and_says_why(command: Callable[..., Any], tmp_path: Path) -> None:
    # A run without weights and pictures: export refuses it before it looks for either.
    data = DataRecord("photographs", ("nowhere",), (), (), 0.2)
    config = architecture_config(TINY)
    run = tmp_path / "run"
    run.mkdir()
    write_run(run, RunRecord(SCHEMA, "teacher", config, Recipe(), BLURS["camera"], data, 0, 1, 1.0, "", {}, "", finished=True))
    ended = command("export", run, "--out", tmp_path / "bundle")
    assert ended.code == 5
    assert "a teacher is not exported: it scales its channels by means over the whole picture" in ended.err
    assert "--teacher" in ended.err
    assert not (tmp_path / "bundle").exists()
