"""The pictures that int8 is calibrated on and the files are compared on."""

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

from device.degrade import to_pixels  # noqa: E402
from device.errors import DataError  # noqa: E402
from device.picture import write_picture  # noqa: E402
from device.scene import dead_leaves  # noqa: E402
from export.calibration import calibration_pictures, held_out_pairs  # noqa: E402
from train.data import load_photographs  # noqa: E402
from train.run_folder import read_run, write_run  # noqa: E402

Command = Callable[..., Any]


def test_calibration_begins_with_a_ramp_from_black_to_white_and_all_pictures_have_one_size(run: Path) -> None:
    record = read_run(run)
    given = calibration_pictures(record, None, 256)
    assert len(given) == 1 + len(record.data.train)
    assert {(p.shape, str(p.dtype)) for p in given} == {((1, 256, 256, 3), "float32")}
    assert (given[0].min(), given[0].max()) == (0, 1)
    again = calibration_pictures(record, None, 256)
    assert all(np.array_equal(a, b) for a, b in zip(given, again, strict=True))


def test_the_files_are_compared_on_the_validation_pictures(run: Path, pictures: Path) -> None:
    record = read_run(run)
    blurred, sharp = held_out_pairs(record, 128)
    assert blurred.shape == sharp.shape == (2, 128, 128, 3)
    by_name = {p.name: p.sharp for p in load_photographs(pictures, 32)}
    for name, picture in zip(record.data.validation, sharp, strict=True):
        whole = by_name[name]
        top, left = (whole.shape[0] - 128) // 2, (whole.shape[1] - 128) // 2
        np.testing.assert_array_equal(to_pixels(picture), whole[top : top + 128, left : left + 128])


def test_calibration_on_a_folder_needs_no_training_picture(run: Path, photographs: Path) -> None:
    record = read_run(run)
    gone = replace(record, data=replace(record.data, train=("gone.png",)))
    assert len(calibration_pictures(gone, photographs, 64)) == 9
    assert len(held_out_pairs(gone, 64)[0]) == 2
    with pytest.raises(DataError, match=r"the run's own pictures are needed to calibrate and to compare: .*gone\.png"):
        calibration_pictures(gone, None, 64)


@pytest.mark.parametrize("calibration", [False, True])
def test_without_the_runs_pictures_there_is_no_export(
    command: Command, copied: Path, photographs: Path, tmp_path: Path, calibration: bool
) -> None:
    """Not with --calibration either: the gate compares on the validation pictures."""
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
    blurred, sharp = held_out_pairs(paired, 64)
    assert sharp.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(blurred, 1 - sharp, atol=1e-6)
    assert [p.shape for p in calibration_pictures(paired, None, 64)] == [(1, 64, 64, 3)] * 3
