"""Exports broken on purpose, each in a way that users of other kits have run into, and the gate's verdict on them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import tensorflow as tf  # noqa: E402

from device.bundle.manifest import VARIANTS, Artifact, Calibrated, file_facts  # noqa: E402
from device.bundle.open import Bundle, open_bundle  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from device.restore.restorer import Restorer  # noqa: E402
from export import export_source, gate, to_onnx, to_tflite  # noqa: E402
from export.gate import Limits, Verdict  # noqa: E402
from export.graph import onnx_graph, tflite_graph  # noqa: E402
from export.measure import Comparison  # noqa: E402
from export.readable_names import tflite_with_readable_names  # noqa: E402
from export.trained_run import TrainedRun  # noqa: E402
from train.run_folder import read_run  # noqa: E402
from train.weights import load_network, save_weights  # noqa: E402

Command = Callable[..., Any]
SIZE = (96, 96)


@pytest.fixture(scope="module")
def source(run: Path) -> TrainedRun:
    return TrainedRun(run, None, SIZE)


@pytest.fixture(scope="module")
def comparison(source: TrainedRun) -> Comparison:
    return Comparison(source.pictures, source.reference(source.pictures.blurred), "rgb")


def in_bundle(folder: Path, source: TrainedRun, data: bytes, variant: str, format_: str) -> Bundle:
    """A bundle of this file only, as candidate.py writes it before it is measured."""
    if format_ == "tflite":
        data = tflite_with_readable_names(data, source.layers)
    path = folder / f"broken_{variant}.{format_}"
    path.write_bytes(data)
    specs = (to_tflite.tflite_specs if format_ == "tflite" else to_onnx.onnx_specs)(data)
    artifact = Artifact(variant, format_, **file_facts(path), input=specs[0], output=specs[1])
    return Bundle(folder, replace(source.manifest, name="broken", artifacts=(artifact,)))


def judged(comparison: Comparison, bundle: Bundle, limits: Limits) -> Verdict:
    return gate.judge(bundle, comparison.measure(bundle), limits)


def failures_of(
    comparison: Comparison,
    folder: Path,
    source: TrainedRun,
    data: bytes,
    variant: str,
    format_: str,
    limits: Limits | None = None,
) -> str:
    bundle = in_bundle(folder, source, data, variant, format_)
    return "; ".join(judged(comparison, bundle, limits or Limits()).failures)


@pytest.mark.parametrize(("variant", "format_"), [("fp32", "tflite"), ("fp16", "tflite"), ("fp32", "onnx"), ("fp16", "onnx")])
def test_a_good_file_passes(comparison: Comparison, source: TrainedRun, tmp_path: Path, variant: str, format_: str) -> None:
    assert failures_of(comparison, tmp_path, source, source.convert(format_, variant, None), variant, format_) == ""


def test_swapped_colours_are_seen_and_named(comparison: Comparison, source: TrainedRun, run: Path, tmp_path: Path) -> None:
    network = load_network(run, *SIZE, batch=1)
    picture = keras.Input(batch_shape=network.input_shape)
    swapped = keras.Model(picture, network(picture)[..., ::-1])
    failed = failures_of(comparison, tmp_path, source, to_tflite.to_tflite(swapped, "fp32"), "fp32", "tflite")
    assert "90 dB are needed" in failed
    assert "has red and blue swapped" in failed


def test_weights_left_out_are_seen(comparison: Comparison, source: TrainedRun, tmp_path: Path) -> None:
    """A converter that got a lambda wrote the file without them, without any message."""

    class Bare(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, *SIZE, 3), tf.float32, name="blurred")])
        def serve(self, blurred: Any) -> Any:
            return {"restored": blurred * 0.5}

    module = Bare()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    failed = failures_of(comparison, tmp_path, source, converter.convert(), "fp32", "tflite")
    assert "38012 parameters are 152048: weights are missing" in failed


def test_a_graph_in_partitions_is_seen_with_what_splits_it(
    comparison: Comparison, source: TrainedRun, run: Path, tmp_path: Path
) -> None:
    """The same function, through an operator that the delegate does not run."""
    network = load_network(run, *SIZE, batch=1)
    picture = keras.Input(batch_shape=network.input_shape)
    middle = keras.ops.log(keras.ops.exp(picture))
    middle = keras.ops.flip(keras.ops.flip(middle, 1), 1)
    path = tmp_path / "m.tflite"
    path.write_bytes(to_tflite.to_tflite(keras.Model(picture, network(middle)), "fp32"))
    seen = tflite_graph(path)
    assert seen.partitions > 1
    assert "REVERSE_V2" in seen.outside
    failed = failures_of(comparison, tmp_path, source, path.read_bytes(), "fp32", "tflite")
    assert f"falls into {seen.partitions} partitions" in failed
    lenient = Limits(max_partitions=seen.partitions)
    assert "partitions" not in failures_of(comparison, tmp_path, source, path.read_bytes(), "fp32", "tflite", lenient)


def test_transposes_and_values_that_are_no_weights_are_seen_in_onnx(
    comparison: Comparison, source: TrainedRun, tmp_path: Path
) -> None:
    model = onnx.load_from_string(source.convert("onnx", "fp32", None))
    node = model.graph.node[0]
    first = node.input[0]
    for i in range(4):
        model.graph.node.insert(i, onnx.helper.make_node("Transpose", [first], [f"t{i}"], perm=[0, 2, 1, 3]))
        first = f"t{i}"
    node.input[0] = first
    weight = model.graph.initializer[0]
    model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    model.graph.initializer.remove(weight)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert (onnx_graph(path, False).transposes, onnx_graph(path, False).variables) == (6, 1)


def test_int8_that_collapses_fails_by_parity_and_by_quality(comparison: Comparison, source: TrainedRun, tmp_path: Path) -> None:
    calibration = next(c for c in source.calibrations("tflite") if c.method == "minmax")
    ranges = {layer: (low * 60, high * 60) for layer, (low, high) in (calibration.ranges or {}).items()}
    data = to_tflite.with_pixels(source.convert("tflite", "int8", replace(calibration, ranges=ranges)), "int8")
    failed = failures_of(comparison, tmp_path, source, data, "int8", "tflite")
    assert "32 dB are needed" in failed
    assert "dB less than the network" in failed


def test_int8_of_a_run_that_learned_its_ranges_has_a_higher_target(
    comparison: Comparison, source: TrainedRun, tmp_path: Path
) -> None:
    calibration = next(c for c in source.calibrations("tflite") if c.method == "minmax")
    ranges = {layer: (low * 5, high * 5) for layer, (low, high) in (calibration.ranges or {}).items()}
    data = to_tflite.with_pixels(source.convert("tflite", "int8", replace(calibration, ranges=ranges)), "int8")
    bundle = in_bundle(tmp_path, source, data, "int8", "tflite")
    parity = judged(comparison, bundle, Limits()).artifact.parity
    assert parity is not None
    assert 32 < parity.psnr_db < 40
    learned = replace(bundle.manifest.artifacts[0], calibrated=Calibrated("learned", 1, "", {}))
    bundle = Bundle(tmp_path, replace(bundle.manifest, artifacts=(learned,)))
    assert any("40 dB are needed" in failure for failure in judged(comparison, bundle, Limits()).failures)


def test_pixels_at_another_scale_than_a_cameras_are_seen(
    comparison: Comparison, source: TrainedRun, run: Path, tmp_path: Path
) -> None:
    network = load_network(run, *SIZE, batch=1)
    picture = keras.Input(batch_shape=network.input_shape)
    calibration = source.calibrations("tflite")[0]
    of_255 = replace(calibration, tensors=[255 * t for t in calibration.tensors], ranges=None)
    other = keras.Model(picture, 255.0 * network(picture / 255.0))
    data = to_tflite.with_pixels(to_tflite.to_tflite(other, "int8", of_255), "int8")
    assert "1/255 is needed so that pixels go in unchanged" in failures_of(comparison, tmp_path, source, data, "int8", "tflite")


def test_a_file_that_makes_nan_fails(comparison: Comparison, source: TrainedRun, run: Path, tmp_path: Path) -> None:
    network = load_network(run, *SIZE, batch=1)
    network.get_layer("down1").bias.assign(np.full(32, np.nan))
    assert "makes NaN" in failures_of(comparison, tmp_path, source, to_tflite.to_tflite(network, "fp32"), "fp32", "tflite")


def test_a_file_that_changes_the_size_fails(comparison: Comparison, source: TrainedRun, tmp_path: Path) -> None:
    picture = keras.Input(batch_shape=(1, *SIZE, 3))
    weights = keras.layers.Conv2D(160_000, 1, name="weights")  # so that nothing but the size is wrong
    half = keras.layers.AveragePooling2D(2)(picture)
    half = half + 0 * keras.ops.sum(weights(keras.ops.mean(half, (1, 2), keepdims=True)))
    failed = failures_of(comparison, tmp_path, source, to_tflite.to_tflite(keras.Model(picture, half), "fp32"), "fp32", "tflite")
    assert "makes (48, 48, 3) where the network makes (96, 96, 3)" in failed


@pytest.mark.parametrize("variant", ["fp16", "dynamic", "int8"])
def test_a_file_that_is_not_the_variant_it_is_called_is_seen(
    comparison: Comparison, source: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    monkeypatch.setattr(gate, "_ROOM_BYTES", 4096)  # this network is as small as the room that larger ones get
    whole = source.convert("tflite", "fp32", None)
    assert f"its weights are not {variant}" in failures_of(comparison, tmp_path, source, whole, variant, "tflite")


def test_every_variant_has_its_targets() -> None:
    assert set(gate.PARITY_DB) - {"learned"} == set(gate.MAX_LOSS_DB) == set(gate.BYTES_PER_PARAMETER) == set(VARIANTS)


# the command


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def sabotaged(copied: Path, swell: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(export_source, "SIDE", SIZE[0])  # every layer is judged alone, on pictures of this side
    network = load_network(copied)
    swell(network, "down0_block0_a", "down0_block0_b", 3)
    save_weights(copied, read_run(copied), network)
    return copied


@pytest.mark.slow
def test_a_sabotaged_layer_fails_the_gate_is_named_and_leaves_the_old_bundle_as_it_was(
    command: Command, exported: tuple[Path, Any], sabotaged: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(exported[0], tmp_path / "b"))
    before = all_bytes(out)
    words = ["--out", out, "--replace", "--variants", "fp32", "int8", "--quiet"]
    ended = command("export", sabotaged, *words, "--json")
    assert ended.code == 6
    assert "no bundle was written" in ended.err
    assert "b_int8.tflite is " in ended.err
    assert "b_int8.onnx is " in ended.err
    assert "b_fp32" not in ended.err
    assert all_bytes(out) == before
    assert {p.name for p in (tmp_path / "b-report").iterdir()} == {"b_int8_layers.csv", "b_int8_layers.png"}

    printed = json.loads(ended.out.splitlines()[-1])
    assert printed["bundle"] is None
    assert printed["files"]["fp32.onnx"]["failures"] == []
    assert "32 dB are needed" in printed["files"]["int8.onnx"]["failures"][0]
    assert printed["report"] == str(tmp_path / "b-report" / "b_int8_layers.png")

    kept = command("export", sabotaged, *words, "--keep-going")
    assert kept.code == 6
    assert "int8: down0_block0_a (Conv): alone loses" in kept.out
    assert "holds only the files that passed; missing: b_int8" in kept.err
    assert [a.label for a in open_bundle(out).manifest.artifacts] == ["fp32.tflite", "fp32.onnx"]
    assert sorted(p.name for p in out.iterdir()) == ["b.weights.h5", "b_fp32.onnx", "b_fp32.tflite", "manifest.json"]


def test_the_sabotaged_layer_in_float_passes_and_its_cost_is_reported(command: Command, sabotaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    ended = command("export", sabotaged, "--out", out, "--variants", "int8", "--mixed", "--quiet")
    assert ended.code == 0, ended.err
    made = open_bundle(out)
    for artifact in made.manifest.artifacts:
        assert artifact.float_layers[0] == "down0_block0_a"
        assert artifact.quality.loss_db <= 0.1
        assert f"{artifact.file}: down0_block0_a" in ended.out
        with Restorer(made, "int8", gate.RUNTIME[artifact.format], 1) as restorer:
            assert restorer.restore(dead_leaves(100, 120, 2)).shape == (100, 120, 3)
    assert "times the time of the int8 file" in ended.out


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--pixels", "int9"], "unknown pixels 'int9'"),
        (["--max-loss", "-1"], "--max-loss -1.0: expected decibels, 0 or more"),
        (["--max-pieces", "0"], "--max-pieces 0: expected 1 or more"),
        (["--size", "640"], "--size 640: expected WIDTHxHEIGHT in pixels, for example 640x480"),
        (["--size", "102x64"], "--size 102x64: both sides must be multiples of 4"),
        (["--from", "m.onnx"], "give either the folder of a finished run or --from MODEL"),
        (["--colour", "luma"], "--colour goes with --from: a run records that itself"),
        (["--report", "BUNDLE"], "expected a folder outside of the bundle"),
    ],
)
def test_options_that_cannot_be_end_with_2(command: Command, run: Path, tmp_path: Path, words: list[str], wrong: str) -> None:
    words = [str(tmp_path / "b" / "report") if word == "BUNDLE" else word for word in words]
    ended = command("export", run, "--out", tmp_path / "b", *words)
    assert ended.code == 2
    assert wrong in ended.err
    assert not list(tmp_path.iterdir())


def test_files_of_one_size_take_that_size_and_restore_others_in_tiles(command: Command, run: Path, tmp_path: Path) -> None:
    words = ["--variants", "fp32", "int8", "--size", "224x176", "--quiet"]
    ended = command("export", run, "--out", tmp_path / "b", *words)
    assert ended.code == 0, ended.err
    made = open_bundle(tmp_path / "b")
    assert made.manifest.fixed_hw == (176, 224)
    shape = onnx.load(tmp_path / "b" / "b_int8.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [1, 176, 224, 3]
    small, large = dead_leaves(90, 60, 1), dead_leaves(300, 260, 2)
    for format_ in ("tflite", "onnx"):
        for variant in ("fp32", "int8"):
            with Restorer(made, variant, gate.RUNTIME[format_], 1) as restorer:
                assert restorer.restore(small).shape == small.shape
                assert restorer.restore(large).shape == large.shape
