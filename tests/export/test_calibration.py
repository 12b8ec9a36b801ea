"""The pictures that int8 is calibrated on and that files are judged on."""

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

from device.bundle.open import open_bundle  # noqa: E402
from device.errors import DataError  # noqa: E402
from device.images.degrade import to_float, to_pixels  # noqa: E402
from device.images.picture import read_picture, write_picture  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from export import calibration, to_onnx  # noqa: E402
from export.calibration import layer_ranges  # noqa: E402
from export.pictures import always_blurred, pictures_of  # noqa: E402
from train.photographs import load_photographs  # noqa: E402
from train.quantise import calibrated_ranges  # noqa: E402
from train.run_folder import read_run, write_run  # noqa: E402
from train.weights import load_network  # noqa: E402

Command = Callable[..., Any]


def test_calibration_begins_with_a_ramp_from_black_to_white_and_all_pictures_have_one_size(run: Path) -> None:
    record = read_run(run)
    given = pictures_of(record, None, 256, 256).calibration
    assert len(given) == 1 + len(record.data.train)
    assert {(p.shape, str(p.dtype)) for p in given} == {((1, 256, 256, 3), "float32")}
    assert (given[0].min(), given[0].max()) == (0, 1)
    again = pictures_of(record, None, 256, 256)
    assert all(np.array_equal(a, b) for a, b in zip(given, again.calibration, strict=True))
    assert len(again.calibration_sha256) == 64
    assert again.calibration_sha256 != pictures_of(replace(record, seed=record.seed + 1), None, 256, 256).calibration_sha256


def test_the_files_are_compared_on_the_validation_pictures(run: Path, pictures: Path) -> None:
    record = read_run(run)
    judged = pictures_of(record, None, 128, 128)
    assert judged.blurred.shape == judged.sharp.shape == (4, 128, 128, 3)
    assert not np.array_equal(judged.blurred[0], judged.blurred[1])  # two blurs each
    by_name = {p.name: p.sharp for p in load_photographs(pictures, 32)}
    for name, picture in zip(record.data.validation, judged.sharp[::2], strict=True):
        whole = by_name[name]
        top, left = (whole.shape[0] - 128) // 2, (whole.shape[1] - 128) // 2
        np.testing.assert_array_equal(to_pixels(picture), whole[top : top + 128, left : left + 128])


def test_calibration_on_a_folder_needs_no_training_picture(run: Path, tmp_path: Path) -> None:
    record = read_run(run)
    for i in range(8):
        write_picture(tmp_path / f"{i}.png", dead_leaves(64, 80, 40 + i))
    gone = replace(record, data=replace(record.data, train=("gone.png",)))
    assert len(pictures_of(gone, tmp_path, 64, 64).calibration) == 9
    with pytest.raises(DataError, match=r"the run's own pictures are needed to calibrate and to compare: .*gone\.png"):
        pictures_of(gone, None, 64, 64)


@pytest.mark.parametrize("calibration", [False, True])
def test_without_the_runs_pictures_there_is_no_export(
    command: Command, copied: Path, photographs: Path, tmp_path: Path, calibration: bool
) -> None:
    """Not with --calibration either: the gate needs the validation pictures."""
    record = read_run(copied)
    write_run(copied, replace(record, data=replace(record.data, folders=(str(tmp_path / "moved"),))))
    words = ["--calibration", photographs] if calibration else []
    ended = command("export", copied, "--out", tmp_path / "bundle", "--quiet", *words)
    assert ended.code == 3
    assert "the run's own pictures are needed" in ended.err
    assert str(tmp_path / "moved") in ended.err
    assert not (tmp_path / "bundle").exists()


def test_a_calibration_folder_that_is_not_there_ends_with_3(command: Command, run: Path, tmp_path: Path) -> None:
    ended = command("export", run, "--out", tmp_path / "bundle", "--calibration", tmp_path / "nowhere", "--quiet")
    assert ended.code == 3
    assert "nowhere: no such folder" in ended.err


def test_pairs_are_calibrated_and_compared_on_as_they_are(run: Path, tmp_path: Path) -> None:
    for i in range(3):
        write_picture(tmp_path / "soft" / f"{i}.png", 255 - dead_leaves(48, 80, i))
        write_picture(tmp_path / "sharp" / f"{i}.png", dead_leaves(48, 80, i))
    record = read_run(run)
    data = replace(
        record.data, kind="pairs", folders=(str(tmp_path / "soft"), str(tmp_path / "sharp")),
        train=("0.png", "2.png"), validation=("1.png",),
    )  # fmt: skip
    paired = replace(record, data=data)
    made = pictures_of(paired, None, 64, 64)
    assert made.sharp.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(made.blurred, 1 - made.sharp, atol=1e-6)
    assert [p.shape for p in made.calibration] == [(1, 64, 64, 3)] * 3


def test_no_judged_picture_is_left_sharp(run: Path) -> None:
    blur = always_blurred(read_run(run).blur)
    assert blur.odds[0] == 0
    assert sum(blur.odds) == pytest.approx(1)
    tutorial = replace(blur, odds=(0.0, 0.0, 1.0, *[0.0] * (len(blur.odds) - 3)))
    assert always_blurred(tutorial) == tutorial


def test_pictures_that_are_not_square_are_cut_alike_for_all_uses(run: Path) -> None:
    made = pictures_of(read_run(run), None, 96, 160)
    assert {p.shape for p in made.calibration} == {(1, 96, 160, 3)}
    assert made.blurred.shape[1:] == made.sharp.shape[1:] == (96, 160, 3)


def test_calibrating_on_the_pictures_that_files_are_judged_by_is_refused(
    command: Command, run: Path, pictures: Path, tmp_path: Path
) -> None:
    """Also under other names."""
    for i, name in enumerate(read_run(run).data.validation):
        write_picture(tmp_path / "elsewhere" / f"other {i}.png", read_picture(pictures / name))
    ended = command("export", run, "--out", tmp_path / "b", "--calibration", tmp_path / "elsewhere", "--quiet")
    assert ended.code == 3
    assert "2 of its pictures are held out to judge the files by (other 0.png is" in ended.err
    assert not (tmp_path / "b").exists()


def test_a_folder_of_flat_pictures_is_refused(command: Command, run: Path, tmp_path: Path) -> None:
    for i in range(2):
        write_picture(tmp_path / "flat" / f"{i}.png", np.full((64, 64, 3), 90 + i, np.uint8))
    ended = command("export", run, "--out", tmp_path / "b", "--calibration", tmp_path / "flat", "--quiet")
    assert ended.code == 3
    assert "2 flat pictures; expected photographs" in ended.err


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_calibrator_finds_ranges_within_the_extremes_and_a_percentile_cuts_off_what_is_rare(
    run: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "PERCENTILE", 99.0)  # in pictures this small more is rare
    network = load_network(run)
    graph, layers = to_onnx.to_onnx_fp32(network), ["down1", "up0_skip"]
    pictures = [to_float(dead_leaves(64, 64, seed))[None] for seed in range(32)]
    pictures[0][0, :4, :4] *= 40  # rare and huge
    widest = calibrated_ranges(network, pictures)
    found = layer_ranges(graph, layers, pictures, method)
    for layer in layers:
        assert found[layer][0] <= 0 < found[layer][1] <= widest[layer][1] * 1.001
    cut = any(found[layer][1] < 0.8 * widest[layer][1] for layer in layers)
    assert cut or method == "entropy"  # which keeps what is far out where it finds it worth its levels


def test_the_method_that_restores_best_is_kept_and_named(run: Path, exported: tuple[Path, dict[str, Any]]) -> None:
    quantised = [artifact for artifact in open_bundle(exported[0]).manifest.artifacts if artifact.variant == "int8"]
    assert [artifact.format for artifact in quantised] == ["tflite", "onnx"]
    for artifact in quantised:
        facts = artifact.calibrated
        assert facts is not None
        assert set(facts.tried) == {"minmax", "percentile", "entropy"}
        assert facts.tried[facts.method] == max(facts.tried.values())
        assert facts.tried[facts.method] == pytest.approx(artifact.quality.restored_psnr_db, abs=0.001)
        assert facts.pictures == 1 + len(read_run(run).data.train)
