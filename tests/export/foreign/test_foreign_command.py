"""`deblurkit export --from`: files of each format become bundles that restore pictures, or are refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from keras import layers  # noqa: E402

from device.bundle.open import open_bundle  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from device.restore.restorer import Restorer  # noqa: E402
from export import to_tflite  # noqa: E402
from export.gate import RUNTIME  # noqa: E402

Call = Callable[..., Any]
Export = Callable[..., Any]


@pytest.fixture
def export(command: Call, photographs: Path, tmp_path: Path) -> Export:
    """`export(model, …)`: to tmp_path/out/b, judged on the eight photographs."""

    def run(model: Path, *words: object) -> Any:
        given = ["--from", model, "--colour", "rgb", "--data", photographs, "--variants", "fp32", "--quiet"]
        return command("export", *given, "--out", tmp_path / "out" / "b", *words)

    return run


def restored_as(folder: Path, expected: Callable[[np.ndarray], np.ndarray], fixed_hw: tuple[int, int] | None = None) -> list[str]:
    """Check that every file of the bundle restores a picture larger than its tile as the network does; returns their labels."""
    made = open_bundle(folder)
    assert (made.manifest.preset, made.manifest.fixed_hw, made.manifest.weights) == ("foreign", fixed_hw, None)
    assert made.manifest.halo > 0
    picture = dead_leaves(216, 168, 31)
    wanted = np.rint(255 * np.clip(expected(picture[None] / np.float32(255))[0], 0, 1))
    for artifact in made.manifest.artifacts:
        with Restorer(made, artifact.variant, RUNTIME[artifact.format], 1, most_pixels=128**2) as restorer:
            assert np.abs(restorer.restore(picture) - wanted).max() <= 1
    return [artifact.label for artifact in made.manifest.artifacts]


def test_a_keras_model_becomes_a_bundle_that_restores_as_it_does(export: Export, tmp_path: Path) -> None:
    given = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", bias_initializer="ones")(given)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    network = keras.Model(given, layers.Conv2D(3, 3, padding="same", activation="sigmoid", bias_initializer="ones")(x))
    network.save(tmp_path / "m.keras")
    ended = export(tmp_path / "m.keras", "--pad-multiple", 8, "--licence", "MIT")
    assert ended.code == 0, ended.err
    assert "on 2 photographs held out" in ended.out
    assert restored_as(tmp_path / "out" / "b", lambda x: np.asarray(network(x))) == ["fp32.tflite", "fp32.onnx"]
    manifest = open_bundle(tmp_path / "out" / "b").manifest
    assert (manifest.pad_multiple, manifest.halo, manifest.trained.licence) == (8, 8, "MIT")


def test_a_keras_model_whose_tflite_files_cannot_be_resized_needs_a_size(of_keras: tuple, export: Export, tmp_path: Path) -> None:
    path, network, _ = of_keras
    ended = export(path, "--pad-multiple", 2)
    assert ended.code == 2
    assert "hourglass.keras: its TFLite files would take pictures of 256x256 pixels only" in ended.err
    assert not list((tmp_path / "out").iterdir())
    ended = export(path, "--pad-multiple", 2, "--size", "80x64")
    assert ended.code == 0, ended.err
    labels = restored_as(tmp_path / "out" / "b", lambda x: np.asarray(network(x)), (64, 80))
    assert labels == ["fp32.tflite", "fp32.onnx"]


def test_an_onnx_model_of_pytorchs_layout_becomes_a_bundle_of_onnx_files(
    onnx_file: Call, export: Export, opened: Call, tmp_path: Path
) -> None:
    path = onnx_file(tmp_path / "m.onnx", [1, 3, "h", "w"])
    ended = export(path, "--variants", "fp32", "fp16", "dynamic")
    assert ended.code == 0, ended.err
    assert restored_as(tmp_path / "out" / "b", opened(path).reference) == ["fp32.onnx", "fp16.onnx"]
    assert open_bundle(tmp_path / "out" / "b").manifest.halo == 1


def test_a_tflite_model_becomes_a_bundle_of_one_file(export: Export, tmp_path: Path) -> None:
    given = keras.Input(batch_shape=(1, None, None, 3))
    network = keras.Model(given, layers.Conv2D(3, 5, padding="same", activation="sigmoid")(given))
    (tmp_path / "m.tflite").write_bytes(to_tflite.to_tflite(network, "fp32"))
    ended = export(tmp_path / "m.tflite", "--variants", "fp32", "int8")
    assert ended.code == 0, ended.err
    assert restored_as(tmp_path / "out" / "b", lambda x: np.asarray(network(x))) == ["fp32.tflite"]
    assert open_bundle(tmp_path / "out" / "b").manifest.halo == 2


def test_a_graph_in_partitions_passes_only_where_that_is_allowed(hourglass: Call, export: Export, tmp_path: Path) -> None:
    """Repeated pixels become a TILE in TFLite, which the delegate does not run."""
    (tmp_path / "m.tflite").write_bytes(to_tflite.to_tflite(hourglass("nearest", (64, 80)), "fp32"))
    words = (tmp_path / "m.tflite", "--pad-multiple", 2)
    ended = export(*words)
    found = re.search(r"b_fp32\.tflite falls into (\d) partitions \(.*TILE.*\), at most 1 \(--max-pieces\)", ended.err)
    assert found
    assert ended.code == 6
    assert not list((tmp_path / "out").iterdir())
    assert export(*words, "--max-pieces", found[1]).code == 0


def test_a_hostile_model_ends_with_4_and_leaves_nothing(export: Export, tmp_path: Path, canary: Path) -> None:
    def touch(x: Any, file: str = str(canary)) -> Any:
        Path(file).touch()
        return x

    given = keras.Input((None, None, 3))
    keras.Model(given, layers.Lambda(touch, output_shape=(None, None, 3))(given)).save(tmp_path / "m.keras")
    canary.unlink(missing_ok=True)  # building it may have run it
    ended = export(tmp_path / "m.keras")
    assert ended.code == 4
    assert "names keras.layers.Lambda" in ended.err
    assert not canary.exists()
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_model_ends_with_4(export: Export, tmp_path: Path) -> None:
    ended = export(tmp_path / "m.keras")
    assert ended.code == 4
    assert "no such file; give a .keras file" in ended.err
