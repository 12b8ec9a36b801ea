"""deblurkit bench --suite quality."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import deblurkit as front_door
from benchmarks import cases, quality_suite
from benchmarks.baselines import NON_BLIND_METHODS, richardson_lucy, unsharp, wiener
from device.blur.kernels import disk_kernel
from device.blur.psf import Psf
from device.errors import DataError
from device.images.degrade import convolve, to_float, to_linear, to_pixels, to_srgb
from device.images.frame import Pixels
from device.images.picture import read_picture, write_picture
from device.images.quality import edge_sharpness, flicker, psnr
from device.images.scenes import chart, dead_leaves, slanted_edge

PROTOCOL = Path(__file__).parents[3] / "shared" / "protocol" / "make_pairs.py"
UNSHARP = quality_suite.Method("unsharp mask", lambda pixels, truth: unsharp(pixels))


@pytest.fixture
def sharp_folder(tmp_path: Path) -> Path:
    for seed in range(2):
        write_picture(tmp_path / "photos" / f"{seed}.png", chart(96, 128, seed))
    return tmp_path / "photos"


def test_a_case_depends_only_on_its_name_and_the_name_of_the_picture() -> None:
    sharp = chart(64, 80)
    for case in cases.QUALITY_CASES:
        assert np.array_equal(cases.degrade(sharp, case, "a"), cases.degrade(sharp, case, "a"))
    assert not np.array_equal(cases.degrade(sharp, "motion-9", "a"), cases.degrade(sharp, "motion-9", "b"))
    assert np.array_equal(cases.degrade(sharp, "sharp-in", "a"), sharp)


@pytest.mark.parametrize("case", ["gauss-2.0", "defocus-4", "motion-9", "line-9"])
def test_the_true_kernel_is_the_one_that_blurred(case: str) -> None:
    sharp, kernel = chart(96, 128), cases.true_kernel(case, "a")
    assert kernel is not None
    linear = not case.startswith("gauss")
    again = to_pixels(to_srgb(convolve(to_linear(sharp), kernel)) if linear else convolve(to_float(sharp), kernel))
    assert psnr(again, cases.degrade(sharp, case, "a")) > 33
    other = to_pixels(to_srgb(convolve(to_linear(sharp), disk_kernel(1.0))))
    assert psnr(again, cases.degrade(sharp, case, "a")) > psnr(other, cases.degrade(sharp, case, "a")) + 5


@pytest.mark.parametrize("method", [wiener, richardson_lucy])
def test_a_non_blind_method_gains(method: quality_suite.Any) -> None:
    pytest.importorskip("skimage")
    sharp = chart(96, 128)
    blurred = cases.degrade(sharp, "gauss-1.6", "a")
    kernel = cases.true_kernel("gauss-1.6", "a")
    assert psnr(method(blurred, kernel), sharp) > psnr(blurred, sharp) + 0.5


def test_ready_made_pairs_are_used_unchanged(tmp_path: Path) -> None:
    sharp, blurred = dead_leaves(48, 64, 0), dead_leaves(48, 64, 1)
    write_picture(tmp_path / "sharp" / "a.png", sharp)
    write_picture(tmp_path / "gauss-1.6" / "a.png", blurred)
    assert cases.cases_in(tmp_path) == ("gauss-1.6",)
    (pair,) = cases.pairs(tmp_path, "gauss-1.6", 9)
    assert np.array_equal(pair.blurred, blurred)
    assert np.array_equal(pair.sharp, sharp)
    write_picture(tmp_path / "gauss-1.6" / "a.png", blurred[:40])
    with pytest.raises(DataError, match="expected equal sizes"):
        list(cases.pairs(tmp_path, "gauss-1.6", 9))


@pytest.mark.skipif(not PROTOCOL.is_file(), reason="the protocol lies in ../shared, which is not here")
def test_the_figures_are_those_of_the_protocol_on_the_same_files(tmp_path: Path, sharp_folder: Path) -> None:
    def protocol(*words: object) -> str:
        done = subprocess.run([sys.executable, str(PROTOCOL), *map(str, words)], capture_output=True, text=True, check=True)
        return done.stdout

    protocol("write", sharp_folder, tmp_path / "pairs")
    for case in cases.QUALITY_CASES:
        for path in (tmp_path / "pairs" / case).iterdir():
            write_picture(tmp_path / "restored" / case / path.name, unsharp(read_picture(path)))
    expected = json.loads(protocol("score", tmp_path / "pairs", tmp_path / "restored").splitlines()[-1])
    scores = quality_suite.run(tmp_path / "pairs", [UNSHARP], 99)["scores"]["unsharp mask"]
    assert scores.keys() == expected.keys()
    for case, score in scores.items():
        assert score["blurred_db"] == pytest.approx(expected[case]["blurred_db"], abs=0.0051)
        assert score["restored_db"] == pytest.approx(expected[case]["restored_db"], abs=0.0051)
        assert score["worst_gain_db"] == pytest.approx(expected[case]["worst_gain_db"], abs=0.0051)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_the_edge_of_a_gaussian_has_the_mtf50_of_theory(sigma: float) -> None:
    from device.images.degrade import gaussian_blur

    soft = to_pixels(gaussian_blur(to_float(slanted_edge(256, 256, 5.0)), sigma))
    assert edge_sharpness(soft, 5.0).mtf50 == pytest.approx(np.sqrt(2 * np.log(2)) / (2 * np.pi * sigma), rel=0.06)
    assert edge_sharpness(soft, 5.0).overshoot < 0.005


def test_an_oversharpened_edge_overshoots() -> None:
    assert edge_sharpness(unsharp(cv2.GaussianBlur(slanted_edge(256, 256, 5.0), (0, 0), 1.0)), 5.0).overshoot > 0.02


def test_flicker_is_one_for_a_copy_and_two_for_doubled_noise() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 3, (40, 40, 3)) for _ in range(12)]
    still = [np.clip(np.rint(128 + n), 0, 255).astype(np.uint8) for n in noise]
    louder: list[Pixels] = [np.clip(np.rint(128 + 2 * n), 0, 255).astype(np.uint8) for n in noise]
    everywhere = np.ones((40, 40), bool)
    assert flicker(still, still, everywhere) == 1
    assert flicker(louder, still, everywhere) == pytest.approx(2, rel=0.02)


def test_the_command_scores_every_case_blind_auto_and_known_and_draws_them(
    tmp_path: Path, sharp_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--suite", "quality", "--data", str(sharp_folder), "--pictures", "1", "--variants", "int8"]
    assert front_door.main([*words, "--quiet", "--json", "--report", str(tmp_path / "report")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for how in ("", ", auto"):
        assert set(result["scores"][f"small int8{how}"]) == set(cases.QUALITY_CASES)
    known = result["scores"]["small int8, known"]
    assert set(known) == set(cases.QUALITY_CASES) - {"object-17", "mixed", "sharp-in", "sharp-jpeg"}
    assert known["line-9"]["gain_db"] > result["scores"]["small int8"]["line-9"]["gain_db"] + 1
    assert result["estimates"]["sharp-in"] == {"pictures": 1, "blind": 1, "within": 0}
    assert result["scores"]["small int8"]["gauss-1.6"]["pictures"] == 1
    assert result["edges"]["small int8"]["gauss-2.0"]["mtf50_after"] > result["edges"]["small int8"]["gauss-2.0"]["mtf50_before"]
    plot = cv2.imread(str(tmp_path / "report" / "gain_severity.png"))
    assert plot is not None
    assert plot.std() > 5
    assert front_door.main(["bench", "--suite", "quality", "--quiet"]) == 2


def test_a_method_that_is_told_the_kernel_skips_pictures_whose_random_path_is_unknown(tmp_path: Path) -> None:
    """Ready-made pairs: their Gaussians and disks are known by name, their camera shakes only if their kernels are there."""
    picture = dead_leaves(64, 80, 1)
    for case in ("sharp", "gauss-1.6", "motion-9"):
        write_picture(tmp_path / case / "a.png", picture)
    told = [m for m in quality_suite.methods([], "litert", None, 1, non_blind=True) if m.name in NON_BLIND_METHODS]
    assert told
    scores = quality_suite.run(tmp_path, told, 1)["scores"]
    assert all(set(of_method) == {"gauss-1.6"} for of_method in scores.values())
    (tmp_path / "kernels" / "motion-9").mkdir(parents=True)
    np.save(tmp_path / "kernels" / "motion-9" / "a.npy", disk_kernel(2.0))
    scores = quality_suite.run(tmp_path, told, 1)["scores"]
    assert all(set(of_method) == {"gauss-1.6", "motion-9"} for of_method in scores.values())
    assert cases.true_psf(tmp_path, "motion-9", "a").linear
    assert not cases.true_psf(tmp_path, "gauss-1.6", "a").linear


@pytest.mark.parametrize(
    ("found", "close"),
    [
        (Psf("motion", 9.2, 32), True),
        (Psf("motion", 9.2, 40), False),
        (Psf("motion", 12.0, 30), False),
        (Psf("defocus", 5.0), False),
    ],
)
def test_an_estimate_is_close_if_its_widths_and_its_direction_are(found: Psf, close: bool, tmp_path: Path) -> None:
    estimates = quality_suite._Estimates()
    estimates.add(found, Psf("motion", 9.0, 30))
    assert (estimates.within, estimates.blind) == (close, 0)
