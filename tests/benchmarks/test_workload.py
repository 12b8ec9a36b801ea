"""The timed frame and the scored pictures."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cases, workload
from device.errors import DataError
from device.images.degrade import gaussian_blur, to_float, to_pixels
from device.images.picture import write_picture
from device.images.quality import psnr
from device.images.scenes import dead_leaves


def test_without_data_there_are_four_generated_scenes_in_twelve_cases_always_the_same_bytes(tmp_path: Path) -> None:
    words = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words.append(workload.write(tmp_path / name, (64, 48), None, 8))
    first, second = (list(workload.scored_pictures(tmp_path / name)) for name in ("a", "b"))
    assert words == ["4 generated scenes of 384x256, 12 cases"] * 2
    assert {picture.case for picture, _, _ in first} == set(cases.CASES)
    assert len(first) == 48
    assert all(p == q and np.array_equal(b, c) for (p, b, _), (q, c, _) in zip(first, second, strict=True))
    assert workload.frame(tmp_path / "a").shape == (48, 64, 3)


def test_the_quality_of_the_blurred_pictures_is_measured_once(tmp_path: Path) -> None:
    workload.write(tmp_path, (64, 48), None, 8)
    for picture, blurred, sharp in workload.scored_pictures(tmp_path):
        assert picture.input_psnr_db == psnr(blurred, sharp)
        assert picture.kernel_known
    before = {picture.case: picture.input_psnr_db for picture, _, _ in workload.scored_pictures(tmp_path)}
    assert before["sharp-in"] == 99
    assert before["gauss-1.0"] > before["gauss-3.0"]


def test_the_centre_of_large_photographs_is_scored_and_at_most_the_requested_number(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "work").mkdir()
    for seed in range(3):
        write_picture(tmp_path / "photos" / f"{seed}.png", np.tile(dead_leaves(200, 250, seed), (4, 4, 1)))
    words = workload.write(tmp_path / "work", (64, 48), tmp_path / "photos", 2)
    assert words == "2 pictures of photos, 12 cases"
    assert {sharp.shape for _, _, sharp in workload.scored_pictures(tmp_path / "work")} == {(768, 768, 3)}


def test_ready_made_pairs_are_scored_unchanged(tmp_path: Path) -> None:
    sharp = dead_leaves(48, 64, 0)
    blurred = to_pixels(gaussian_blur(to_float(sharp), 2.0))
    write_picture(tmp_path / "pairs" / "sharp" / "a.png", sharp)
    write_picture(tmp_path / "pairs" / "motion-9" / "a.png", blurred)
    (tmp_path / "work").mkdir()
    workload.write(tmp_path / "work", (64, 48), tmp_path / "pairs", 8)
    ((picture, given, truth),) = workload.scored_pictures(tmp_path / "work")
    assert np.array_equal(given, blurred)
    assert np.array_equal(truth, sharp)
    assert not picture.kernel_known  # its path was drawn elsewhere


def test_an_empty_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        workload.write(tmp_path, (64, 48), tmp_path / "empty", 8)


def test_the_mean_gain_leaves_sharp_pictures_out() -> None:
    blurred = workload.ScoredPicture("gauss-2.0", "a", 25.0, 0.70, True)
    untouched = workload.ScoredPicture("sharp-in", "a", 99.0, 1.0, True)
    by_case, gain = workload.summarise(
        {"gauss-2.0": [(blurred, 27.0, 0.75), (blurred, 24.0, 0.71)], "sharp-in": [(untouched, 48.0, 0.99)]}
    )
    assert gain == pytest.approx(0.5)
    assert by_case["gauss-2.0"].worst_gain_db == pytest.approx(-1.0)
    assert by_case["gauss-2.0"].ssim_gain == pytest.approx(0.03)
    assert by_case["sharp-in"].gain_db == pytest.approx(-51.0)
    assert workload.summarise({"sharp-in": [(untouched, 48.0, 0.99)]})[1] is None
