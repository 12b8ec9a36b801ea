"""Quantisation-aware fine-tuning: the network computes like its 8-bit file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from device.bundle.manifest import Weights, file_facts  # noqa: E402
from device.bundle.open import open_bundle  # noqa: E402
from device.bundle.write import write_manifest  # noqa: E402
from device.errors import BundleError  # noqa: E402
from device.images.degrade import to_float  # noqa: E402
from device.images.picture import write_picture  # noqa: E402
from device.images.quality import psnr  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from device.runtimes import open_runtime  # noqa: E402
from train import quantise  # noqa: E402
from train.architectures import UNet, architecture_config  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.presets import PRESETS  # noqa: E402
from train.quantise import Rounding  # noqa: E402

TINY = UNet(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,), colour="luma")


def stirred() -> Any:
    keras.utils.set_random_seed(0)
    network, rng = build_network(TINY, 64, 64, batch=1, clip=False), np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, 0.05, w.shape) for w in network.get_weights()])
    return network


@pytest.fixture
def pictures() -> np.ndarray:
    return np.stack([to_float(dead_leaves(64, 64, i))[..., :1] for i in range(4)])


def test_rounding_keeps_256_values_and_clips_others() -> None:
    layer = Rounding("some")
    layer.build(None)
    layer.set_range(-1.0, 3.0)
    out = np.asarray(layer(np.linspace(-2, 4, 5000, dtype=np.float32)))
    assert len(np.unique(out)) == 256
    assert np.isclose(out.min(), layer.range()[0])
    assert np.isclose(out.max(), layer.range()[1])
    assert 0.0 in out
    assert np.abs(np.array(layer.range()) - (-1.0, 3.0)).max() < 4 / 255


def test_the_gradient_passes_through_the_rounding_and_reaches_the_range() -> None:
    import tensorflow as tf

    layer = Rounding("some")
    layer.build(None)
    layer.set_range(0.0, 1.0)
    x = tf.constant([0.301, 0.5, 1.7])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = tf.reduce_sum(layer(x))
    to_x, to_step = tape.gradient(out, [x, layer.log_step.value])
    assert to_x.numpy().tolist() == [1.0, 1.0, 0.0]  # a clipped value cannot change the output
    assert to_step.numpy() == pytest.approx(1.0, abs=0.02)  # a wider range lets the clipped value out


def test_the_fake_quantised_network_is_near_the_plain_one_but_not_equal(pictures: np.ndarray) -> None:
    plain = stirred()
    twin = quantise.fake_quantised(plain)
    quantise.calibrate(twin, pictures)
    exact, eight_bits = (np.concatenate([np.asarray(n(p[None])) for p in pictures]) for n in (plain, twin))
    assert 30 < psnr(exact, eight_bits, 1.0) < 70


def test_the_tflite_file_computes_what_the_fake_quantised_network_computes(tmp_path: Path, pictures: np.ndarray) -> None:
    pytest.importorskip("ai_edge_litert")
    from export.to_tflite import tflite_specs, to_tflite_int8, with_pixels

    plain = stirred()
    twin = quantise.fake_quantised(plain)
    quantise.calibrate(twin, pictures)
    for point in (layer for layer in twin.layers if isinstance(layer, Rounding)):
        point.log_step.assign(point.log_step - 0.2)  # as if learned: narrower than calibrated
    quantise.write_ranges(tmp_path, twin)
    ranges = quantise.read_ranges(tmp_path)
    assert ranges is not None
    data = with_pixels(to_tflite_int8(plain, ranges), "int8")
    (tmp_path / "m.tflite").write_bytes(data)
    given, made = tflite_specs(data)
    assert given.dtype == made.dtype == "int8"
    assert [(s.scale, s.zero_point) for s in (given, made)] == [(pytest.approx(1 / 255), -128)] * 2
    runtime = open_runtime("litert", tmp_path / "m.tflite", 1)
    for picture in pictures:
        tensor = (np.rint(picture * 255) - 128).astype(np.int8)[None]
        of_file = (runtime.run(tensor).astype(np.float32) + 128) / 255
        of_twin, of_plain = (np.clip(np.asarray(n(picture[None])), 0, 1) for n in (twin, plain))
        assert psnr(of_file, of_twin, 1.0) > 45
        assert psnr(of_file, of_twin, 1.0) > psnr(of_file, of_plain, 1.0) + 3
    runtime.close()


def test_a_damaged_file_of_ranges_is_refused(tmp_path: Path) -> None:
    assert quantise.read_ranges(tmp_path) is None
    (tmp_path / quantise.RANGES).write_text('{"down0": [1]}')
    with pytest.raises(BundleError, match="restore the file"):
        quantise.read_ranges(tmp_path)


@pytest.mark.usefixtures("eager")
def test_the_learned_ranges_of_a_fine_tuned_bundle_reach_the_exported_file(
    tmp_path: Path, photographs: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setitem(PRESETS, "small", replace(PRESETS["small"], architecture=TINY))
    begun = tmp_path / "begun"
    begun.mkdir()
    stirred().save_weights(begun / "tiny.weights.h5")
    weights = Weights(**file_facts(begun / "tiny.weights.h5"), licence="CC0 1.0")
    manifest = open_bundle("small").manifest
    config = architecture_config(TINY)
    write_manifest(begun, replace(manifest, architecture=config, pad_multiple=4, weights=weights, artifacts=()))
    words = ["--data", photographs, "--steps", 2, "--batch", 2, "--patch", 32, "--cpu"]
    tuned = command("train", "--init", begun, "--quantise", *words, "--epochs", 2, "--out", tmp_path / "run")
    tf.config.run_functions_eagerly(False)  # the export traces its graphs
    assert tuned.code == 0, tuned.err
    recipe = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert recipe["precision"] == "float32"
    ranges = quantise.read_ranges(tmp_path / "run")
    assert ranges is not None
    assert len(ranges) > 10
    for i in range(2):
        write_picture(tmp_path / "others" / f"{i}.png", dead_leaves(64, 80, 40 + i))
    words = ["--variants", "int8", "--calibration", tmp_path / "others", "--max-loss", 1, "--min-parity", 30]
    exported = command("export", tmp_path / "run", "--out", tmp_path / "bundle", *words)
    assert exported.code == 0, exported.err
    assert "has learned its int8 ranges" in exported.err
    from ai_edge_litert.interpreter import Interpreter

    bundle = open_bundle(str(tmp_path / "bundle"))
    interpreter = Interpreter(str(next(bundle.path(a) for a in bundle.manifest.artifacts if a.format == "tflite")))
    scales = [t["quantization"][0] for t in interpreter.get_tensor_details() if t["quantization"][0]]
    for low, high in ranges.values():
        assert np.isclose(scales, (high - low) / 255, rtol=1e-3).any()


def test_networks_that_cannot_be_fine_tuned_for_8_bits_are_refused(tmp_path: Path, photographs: Path, command: Any) -> None:
    for words, message in (
        (["--quantise"], "--init"),
        (["--quantise", "--branches", "--init", "small"], "train with --branches first"),
        (["--quantise", "--preset", "dense", "--init", "small"], "layers other than convolutions"),
    ):
        ended = command("train", *words, "--data", photographs, "--out", tmp_path / "run", "--cpu")
        assert ended.code == 2
        assert message in ended.err
    assert not (tmp_path / "run").exists()
    assert not quantise.can_quantise(build_network(PRESETS["dense"].architecture))
