"""`deblurkit export` of a tiny run through all converters, and files that must never pass the gate."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import deblurkit  # noqa: E402
from device.bundle.manifest import file_facts  # noqa: E402
from device.bundle.open import Bundle, open_bundle  # noqa: E402
from device.errors import ExportError  # noqa: E402
from device.images.degrade import to_float, to_pixels  # noqa: E402
from device.images.quality import psnr  # noqa: E402
from device.images.scenes import chart, dead_leaves  # noqa: E402
from device.restore.restorer import Restorer  # noqa: E402
from device.restore.self_check import TOLERANCE_DB, scenes_psnr  # noqa: E402
from device.runtimes import open_runtime  # noqa: E402
from export import gate, to_onnx, to_tflite  # noqa: E402
from export.export_source import Calibration  # noqa: E402
from train.architectures import architecture_from  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.run_folder import read_run  # noqa: E402
from train.weights import load_network  # noqa: E402

Command = Callable[..., Any]
FILES = [
    ("fp32", "tflite"), ("fp16", "tflite"), ("dynamic", "tflite"), ("int8", "tflite"),
    ("fp32", "onnx"), ("fp16", "onnx"), ("int8", "onnx"),
]  # fmt: skip
BYTES_PER_PARAMETER = {"fp32": 4, "fp16": 2, "dynamic": 1, "int8": 1}


def stir(network: keras.Model, seed: int) -> None:
    head = network.get_layer("head")
    head.kernel.assign(np.random.default_rng(seed).normal(0, 0.03, head.kernel.shape))


@pytest.fixture(scope="module")
def bundle(exported: tuple[Path, dict[str, Any]]) -> Bundle:
    return open_bundle(exported[0])


def runtime_of(format_: str) -> str:
    return {"tflite": "litert", "onnx": "onnxruntime"}[format_]


# the bundle


def test_one_command_makes_seven_files_the_weights_and_the_manifest(bundle: Bundle) -> None:
    names = {f"tiny_{variant}.{format_}" for variant, format_ in FILES}
    assert {p.name for p in bundle.folder.iterdir()} == names | {"tiny.weights.h5", "manifest.json"}
    assert [(a.variant, a.format) for a in bundle.manifest.artifacts] == FILES


def test_sizes_and_checksums_are_those_of_the_files(bundle: Bundle) -> None:
    for held in (*bundle.manifest.artifacts, bundle.manifest.weights):
        assert asdict(held) | file_facts(bundle.folder / held.file) == asdict(held)


def test_the_manifest_reads_back_as_it_was_written(bundle: Bundle) -> None:
    assert json.dumps(asdict(bundle.manifest), indent=1) + "\n" == (bundle.folder / "manifest.json").read_text()


def test_the_manifest_says_where_the_weights_come_from(bundle: Bundle, run: Path) -> None:
    manifest, record = bundle.manifest, read_run(run)
    assert (manifest.name, manifest.preset, manifest.parameters, manifest.macs_per_pixel) == ("tiny", "small", 38_012, 4736)
    assert (manifest.pad_multiple, manifest.fixed_hw) == (4, None)
    trained = manifest.trained
    assert (trained.pictures, trained.steps, trained.seed, trained.licence) == (8, 6, record.seed, "CC0")
    assert trained.data == "photographs from holiday pictures"
    assert trained.blur == json.loads(json.dumps(asdict(record.blur)))
    assert manifest.weights.licence == "CC0"
    assert {"deblurkit", "keras", "numpy", "onnxruntime"} <= manifest.made_with.keys()


def test_no_file_of_the_bundle_contains_a_path_of_this_machine(bundle: Bundle, run: Path, pictures: Path) -> None:
    places = [pictures.parent, run.parent, bundle.folder.parent, Path(sys.prefix), Path(deblurkit.__file__).parent]
    for path in bundle.folder.iterdir():
        data = path.read_bytes()
        assert not [place for place in places if str(place).encode() in data], path.name
    command = "deblurkit train --data 'holiday pictures' --out tiny --epochs 2"
    assert bundle.manifest.trained.command.startswith(command)


def test_every_file_is_as_near_to_keras_as_its_variant_must_be(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        assert artifact.parity.psnr_db >= gate.PARITY_DB[artifact.variant], artifact.file
        assert 0 <= artifact.parity.max_abs < 0.2


def test_the_quality_in_the_manifest_adds_up(bundle: Bundle) -> None:
    full = {a.format: a.quality.restored_psnr_db for a in bundle.manifest.artifacts if a.variant == "fp32"}
    for artifact in bundle.manifest.artifacts:
        quality = artifact.quality
        assert quality.pictures == "2 validation pictures of photographs, 2 blurs each, 256x256"
        assert quality.gain_db == pytest.approx(quality.restored_psnr_db - quality.input_psnr_db, abs=0.0011)
        # The network itself differs from its fp32 file by less than a rounding.
        assert quality.loss_db == pytest.approx(full[artifact.format] - quality.restored_psnr_db, abs=0.003)
    assert len({a.quality.input_psnr_db for a in bundle.manifest.artifacts}) == 1


def test_the_printed_json_equals_the_manifest(exported: tuple[Path, dict[str, Any]], bundle: Bundle) -> None:
    printed = exported[1]
    assert printed["bundle"] == str(exported[0])
    assert printed["halo"] == bundle.manifest.halo
    assert (printed["unmade"], printed["notes"], printed["report"]) == ([], [], None)
    for artifact in bundle.manifest.artifacts:
        entry = dict(printed["files"][artifact.label])
        assert entry.pop("seconds") >= 0
        assert entry.pop("failures") == []
        assert entry.pop("graph")["pieces"] == 1
        assert entry == json.loads(json.dumps(asdict(artifact)))


@pytest.mark.parametrize(("format_", "dtype", "zero_point"), [("tflite", "int8", -128), ("onnx", "uint8", 0)])
def test_8_bit_pixels_go_in_and_come_out_of_the_int8_files_as_they_are(
    bundle: Bundle, format_: str, dtype: str, zero_point: int
) -> None:
    artifact = bundle.artifact("int8", (format_,))
    for spec in (artifact.input, artifact.output):
        assert spec.dtype == dtype
        assert spec.scale == pytest.approx(1 / 255, abs=1e-6)
        assert spec.zero_point == zero_point


def test_all_other_files_take_and_give_float32(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        if artifact.variant != "int8":
            assert artifact.input.dtype == artifact.output.dtype == "float32"


def test_tensors_are_called_by_what_they_hold(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        assert (artifact.input.name, artifact.output.name) == ("blurred", "restored")


def test_float_pixels_compute_the_same(command: Command, run: Path, bundle: Bundle, tmp_path: Path) -> None:
    ended = command("export", run, "--out", tmp_path / "b", "--variants", "int8", "--pixels", "float32", "--quiet")
    assert ended.code == 0, ended.err
    made, picture = open_bundle(tmp_path / "b"), dead_leaves(72, 96, 4)
    for format_ in ("tflite", "onnx"):
        artifact = made.artifact("int8", (format_,))
        assert (artifact.input.dtype, artifact.output.dtype) == ("float32", "float32")
        restored = []
        for of in (made, bundle):
            with Restorer(of, "int8", runtime_of(format_), 1) as restorer:
                restored.append(restorer.restore(picture))
        np.testing.assert_array_equal(*restored)


# the weights are in the files


def test_every_file_is_large_enough_to_hold_the_weights(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        assert artifact.bytes >= BYTES_PER_PARAMETER[artifact.variant] * bundle.manifest.parameters


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_the_fp32_files_compute_what_keras_computes_at_any_size(bundle: Bundle, run: Path, format_: str) -> None:
    network = load_network(run)
    runtime = open_runtime(runtime_of(format_), bundle.path(bundle.artifact("fp32", (format_,))), 1)
    for height, width in ((64, 104), (256, 256), (8, 16)):
        blurred = to_float(dead_leaves(height, width, 3))[None]
        expected = np.asarray(network.predict_on_batch(blurred))
        assert np.abs(expected - blurred).max() > 0.02
        np.testing.assert_allclose(runtime.run(blurred), expected, atol=1e-5)
    runtime.close()


def test_other_weights_make_another_file(bundle: Bundle, run: Path, tmp_path: Path) -> None:
    network = load_network(run, 64, 64, batch=1)
    stir(network, seed=2)
    other = tmp_path / "other.tflite"
    other.write_bytes(to_tflite.to_tflite(network, "fp32"))
    blurred, outputs = to_float(dead_leaves(64, 64, 3))[None], []
    for path in (other, bundle.path(bundle.artifact("fp32", ("tflite",)))):
        runtime = open_runtime("litert", path, 1)
        outputs.append(runtime.run(blurred))
        runtime.close()
    np.testing.assert_allclose(outputs[0], np.asarray(network(blurred)), atol=1e-5)
    assert np.abs(outputs[0] - outputs[1]).max() > 0.02


def test_the_weights_beside_the_files_fit_the_architecture_in_the_manifest(bundle: Bundle, run: Path) -> None:
    network = build_network(architecture_from(bundle.manifest.architecture, "manifest.json"))
    network.load_weights(bundle.folder / bundle.manifest.weights.file)
    for ours, theirs in zip(network.get_weights(), load_network(run).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# on a board


@pytest.mark.parametrize(("variant", "format_"), FILES)
def test_every_file_restores_a_picture_of_any_size(bundle: Bundle, run: Path, variant: str, format_: str) -> None:
    picture = chart(130, 190, seed=2).copy()
    with Restorer(bundle, variant, runtime_of(format_), 1) as restorer:
        assert restorer.artifact.label == f"{variant}.{format_}"
        restored = restorer.restore(picture)
    assert restored.shape == picture.shape
    assert restored.dtype == np.uint8
    inside = np.s_[:128, :184]  # beyond it the network sees the mirrored border
    expected = to_pixels(np.asarray(load_network(run).predict_on_batch(to_float(picture[inside])[None]))[0])
    trusted = np.s_[:64, :120]
    assert psnr(restored[trusted], expected[trusted]) > 30
    assert psnr(picture[trusted], expected[trusted]) < 45


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_with_the_measured_halo_a_tiled_picture_equals_the_untiled_one(bundle: Bundle, format_: str) -> None:
    assert bundle.manifest.halo > 0
    assert bundle.manifest.halo % 4 == 0
    picture = dead_leaves(420, 500, 77)
    with Restorer(bundle, "fp32", runtime_of(format_), 1, most_pixels=1024**2) as restorer:
        whole = restorer.restore(picture)
    with Restorer(bundle, "fp32", runtime_of(format_), 1, most_pixels=192**2) as restorer:
        tiled = restorer.restore(picture)
    assert not np.array_equal(whole, picture)
    assert np.abs(whole.astype(int) - tiled.astype(int)).max() <= 1


def test_a_board_reaches_the_figure_on_the_generated_scenes(bundle: Bundle) -> None:
    artifact = bundle.artifact("int8", ("tflite",))
    with Restorer(bundle, "int8", "litert", 1) as restorer:
        assert scenes_psnr(restorer) == pytest.approx(artifact.quality.scenes_psnr_db, abs=TOLERANCE_DB)


# some of the files, and replacing


def test_a_bundle_of_one_variant_replaces_the_old_one_and_has_the_same_halo(
    command: Command, run: Path, bundle: Bundle, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(bundle.folder, tmp_path / "tiny"))
    ended = command("export", run, "--out", out, "--variants", "fp16", "--replace", "--quiet")
    assert ended.code == 0
    assert {p.name for p in out.iterdir()} == {"tiny_fp16.tflite", "tiny_fp16.onnx", "tiny.weights.h5", "manifest.json"}
    assert open_bundle(out).manifest.halo == bundle.manifest.halo
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_an_existing_folder_is_left_alone_without_replace(command: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for words in ([], ["--replace"]):
        ended = command("export", run, "--out", tmp_path, *words)
        assert ended.code == 2
        assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    assert "is not a bundle, so --replace will not delete it" in ended.err


def test_an_unknown_variant_is_refused_with_the_nearest_name(command: Command, run: Path, tmp_path: Path) -> None:
    ended = command("export", run, "--out", tmp_path / "out", "--variants", "fp32", "int6")
    assert ended.code == 2
    assert "unknown variant 'int6'; did you mean 'int8'?" in ended.err


# converters that fail


def test_a_failing_tflite_converter_is_an_export_error(run: Path) -> None:
    network = load_network(run, 64, 64, batch=1)
    wrong = [np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 32, 32, 3), np.float32)]
    with pytest.raises(ExportError, match="TFLite int8: the converter failed"):
        to_tflite.to_tflite(network, "int8", Calibration("minmax", wrong))


def test_a_failing_onnx_converter_ends_with_5_reports_every_file_and_leaves_no_bundle(
    command: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(to_onnx.tf2onnx.convert, "from_keras", fail)
    ended = command("export", run, "--out", tmp_path / "bundle", "--variants", "fp32", "fp16", "--quiet")
    assert ended.code == 5
    assert "no bundle was written, 2 failures: ONNX fp32: tf2onnx failed: no such operator" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_failing_onnx_quantiser_is_an_export_error(run: Path) -> None:
    fp32 = to_onnx.to_onnx_fp32(load_network(run))
    with pytest.raises(ExportError, match="ONNX int8: the converter failed"):
        to_onnx.to_onnx(fp32, "int8", Calibration("minmax", [np.zeros((1, 30, 30, 3), np.float32)]))


# the baseline


@pytest.mark.soak
def test_the_dense_baseline_trains_for_an_epoch_and_exports_all_its_files(
    command: Command, photographs: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "dense", tmp_path / "bundle"
    try:
        ended = command("train", "--preset", "dense", "--data", photographs, "--out", run, "--epochs", 1, "--cpu", "--quiet")
        assert ended.code == 0
        ended = command("export", run, "--out", out, "--quiet")
        assert ended.code == 0, ended.err
        made = open_bundle(out)
        assert [(a.variant, a.format) for a in made.manifest.artifacts] == FILES
        assert (made.manifest.fixed_hw, made.manifest.halo, made.manifest.parameters) == ((128, 128), 0, 34_951_683)
        assert made.manifest.trained.steps == 1
        picture = dead_leaves(150, 200, 5)
        for variant, format_ in FILES:
            artifact = made.artifact(variant, (format_,))
            assert artifact.bytes >= BYTES_PER_PARAMETER[variant] * made.manifest.parameters
            assert artifact.parity.psnr_db >= gate.PARITY_DB[variant]
            with Restorer(made, variant, runtime_of(format_), 1) as restorer:
                assert restorer.restore(picture).shape == picture.shape
    finally:
        for folder in (run, out):
            shutil.rmtree(folder, ignore_errors=True)
