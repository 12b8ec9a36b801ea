"""Keras `predict`, frame by frame, in fresh processes: TensorFlow's threads are set once in a process."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import workload
from benchmarks.keras_predict import KerasPredict
from benchmarks.measure import KERAS, Job, measure
from device.bundle.manifest import Weights, file_facts
from device.bundle.open import Bundle, open_bundle
from device.bundle.write import write_manifest
from device.errors import BundleError, RuntimeMissing
from device.images.frame import Pixels
from device.images.scenes import chart
from device.restore.restorer import Restorer

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.keras

RESTORE = """
import json, sys
import numpy as np
from benchmarks.keras_predict import KerasPredict
from device.bundle.open import open_bundle
from device.errors import DeblurkitError
restorer = KerasPredict(open_bundle(sys.argv[1]), 2)
try:
    for path in sys.argv[2:]:
        np.save(path, restorer.restore(np.load(path)))
except DeblurkitError as error:
    sys.exit(f"{type(error).__name__}: {error}")
restorer.close()
restorer.close()
import tensorflow as tf
of = tf.config.threading
print(json.dumps([of.get_intra_op_parallelism_threads(), of.get_inter_op_parallelism_threads()]))
try:
    restorer.restore(np.load(sys.argv[2]))
except DeblurkitError as error:
    print(error)
"""


@pytest.fixture
def nano() -> Bundle:
    return open_bundle("nano")


def restored(folder: Path, tmp_path: Path, *pictures: Pixels) -> tuple[subprocess.CompletedProcess[str], list[Pixels]]:
    """Restore the pictures with KerasPredict in a fresh process."""
    paths = [tmp_path / f"{i}.npy" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        np.save(path, picture)
    line = [sys.executable, "-c", RESTORE, str(folder), *map(str, paths)]
    ended = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False)
    return ended, [np.load(path) for path in paths]


def test_it_restores_any_size_like_the_fp32_file_without_output_and_with_the_requested_threads(
    nano: Bundle, tmp_path: Path, picture: Pixels
) -> None:
    ended, (odd, even) = restored(nano.folder, tmp_path, picture, picture[:64, :48])
    assert ended.returncode == 0, ended.stderr
    threads, closed = ended.stdout.splitlines()
    assert json.loads(threads) == [2, 1]
    assert "used after it was closed" in closed
    assert ended.stderr == ""
    with Restorer(nano, "fp32", "litert", 1) as of_file:
        for ours, before in ((odd, picture), (even, picture[:64, :48])):
            assert np.abs(ours.astype(np.int16) - of_file.restore(np.ascontiguousarray(before))).max() <= 1
            assert not np.array_equal(ours, before)


def test_the_benchmark_measures_it_like_any_runtime(nano: Bundle, tmp_path: Path) -> None:
    assert nano.manifest.weights is not None
    folder, answer = tmp_path / "work", tmp_path / "answer" / "measured.json"
    folder.mkdir()
    answer.parent.mkdir()
    workload.write_frame(folder, (96, 64))
    job = Job("nano", "network", str(nano.folder), "fp32", nano.manifest.weights.file, KERAS, threads=1, seconds=0.1)
    found = measure(job, folder, answer, sys.executable, time.monotonic())
    assert found.error == ""
    assert found.stages_ms is not None
    assert set(found.stages_ms) == {"deconvolve", "to_tensor", "infer", "to_pixels"}
    assert "keras" in (found.versions or {})
    with Restorer(nano, "fp32", "litert", 1) as of_file:
        of_file.use_psf(workload.FRAME_PSF)
        expected = of_file.restore(workload.frame(folder))
    assert np.abs(np.load(answer.parent / "frame.npy").astype(np.int16) - expected).max() <= 1


def test_a_network_of_fixed_size_restores_a_picture_in_tiles(nano: Bundle, tmp_path: Path) -> None:
    from train.architectures import Dense, architecture_config
    from train.networks import build_network

    dense = Dense(side=16, filters=(4, 8), latent=32)
    network = build_network(dense)
    network.save_weights(tmp_path / "dense.weights.h5")
    weights = Weights(**file_facts(tmp_path / "dense.weights.h5"), licence="CC0 1.0")
    manifest = replace(
        nano.manifest, architecture=architecture_config(dense), colour="rgb", pad_multiple=16, halo=0, fixed_hw=(16, 16),
        planes=1, weights=weights, artifacts=(),
    )  # fmt: skip
    write_manifest(tmp_path, manifest)
    before = chart(32, 48, 2).copy()
    ended, (ours,) = restored(tmp_path, tmp_path, before)
    assert ended.returncode == 0, ended.stderr
    corner = network.predict(before[None, 16:32, 32:48] / np.float32(255), verbose=0)[0]
    assert np.abs(ours[16:32, 32:48].astype(np.int16) - np.rint(255 * corner)).max() <= 1


def test_weights_of_another_network_are_rejected(nano: Bundle, tmp_path: Path) -> None:
    other = open_bundle("small")
    (tmp_path / "small.weights.h5").write_bytes(other.weights_path().read_bytes())
    write_manifest(tmp_path, replace(nano.manifest, weights=other.manifest.weights))
    ended, _ = restored(tmp_path, tmp_path, chart(32, 32).copy())
    assert ended.returncode == 1
    assert "BundleError" in ended.stderr
    assert "not the weights of this network" in ended.stderr


def test_a_bundle_without_weights_is_rejected_before_tensorflow_is_loaded(nano: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BundleError, match="has no weights"):
        KerasPredict(replace(nano, manifest=replace(nano.manifest, weights=None)), 1)


@pytest.mark.parametrize("package", ["keras", "tensorflow"])
def test_a_missing_package_is_named_with_its_install_command(package: str, nano: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeMissing, match=f"{package}.*make setup"):
        KerasPredict(nano, 1)
