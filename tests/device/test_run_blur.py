"""`run --blur` and `estimate`, from the command line to the written picture."""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blur_parts import seen, sharp_luma

import deblurkit
from device.blur.kept import keep
from device.blur.kept import kept as read_kept
from device.blur.kernels import line_kernel
from device.images.picture import read_picture
from device.images.quality import psnr

LINE = line_kernel(9, -math.radians(20))
SHARP = np.dstack([sharp_luma("coffee")] * 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """moved.png: straight motion of 9 pixels at 20 degrees; sharp.png."""
    folder = tmp_path_factory.mktemp("pictures")
    cv2.imwrite(str(folder / "moved.png"), seen(sharp_luma("coffee"), LINE))
    cv2.imwrite(str(folder / "sharp.png"), seen(sharp_luma("coffee"), None))
    return folder


def run(source: Path, out: Path, *words: str) -> int:
    return deblurkit.main(
        ["run", "--source", str(source), "--sink", str(out), "--bundle", "nano", "--threads", "1", "--quiet", *words]
    )


def restored_psnr(pictures: Path, out: Path, *words: str) -> float:
    assert run(pictures / "moved.png", out, *words) == 0
    return psnr(read_picture(out), SHARP)


def test_motion_is_undone_if_it_is_known_from_words_a_file_or_the_picture_itself(pictures: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "moved.npy", LINE)
    blind = restored_psnr(pictures, tmp_path / "blind.png", "--blur", "blind")
    for name, words in {
        "words": ["--blur", "motion:9@20"],
        "file": ["--blur", str(tmp_path / "moved.npy")],
        "folder": ["--blur", str(tmp_path)],
        "auto": ["--blur", "auto"],
        "default": [],
    }.items():
        assert restored_psnr(pictures, tmp_path / f"{name}.png", *words) > blind + 1, name


def test_off_leaves_the_picture_as_it_is(pictures: Path, tmp_path: Path) -> None:
    assert run(pictures / "moved.png", tmp_path / "off.png", "--blur", "off") == 0
    assert (read_picture(tmp_path / "off.png") == read_picture(pictures / "moved.png")).all()


def test_a_sharp_picture_is_restored_as_if_blind(pictures: Path, tmp_path: Path) -> None:
    for blur in ("auto", "blind"):
        assert run(pictures / "sharp.png", tmp_path / f"{blur}.png", "--blur", blur) == 0
    assert (read_picture(tmp_path / "auto.png") == read_picture(tmp_path / "blind.png")).all()


@pytest.mark.parametrize(
    ("blur", "code", "words"),
    [
        ("autp", 2, "did you mean 'auto'"),
        ("motion:north", 2, "expected for example motion:17@30"),
        ("missing.json", 3, "missing.json: no such file"),
    ],
)
def test_a_blur_that_cannot_be_read_ends_the_run_before_it_writes(
    blur: str, code: int, words: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pictures / "moved.png", tmp_path / "out.png", "--blur", blur) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_the_environment_sets_the_blur_and_json_tells_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLURKIT_BLUR", "defocus:2.5")
    assert run(pictures / "moved.png", tmp_path / "out.png", "--json") == 0
    blur = json.loads(capsys.readouterr().out.splitlines()[-1])["blur"]
    assert (blur["mode"], blur["kind"], blur["size_px"], blur["description"]) == ("hand", "defocus", 2.5, "defocus of 2.5 pixels")


def test_estimate_prints_each_picture_and_saves_what_run_reads(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deblurkit.main(["estimate", str(pictures), "--save", str(tmp_path / "psf"), "--json", "--quiet"]) == 0
    moved, sharp = json.loads(capsys.readouterr().out.splitlines()[-1])["pictures"]
    assert (moved["kind"], moved["sureness"]) == ("motion", "sure")
    assert moved["size_px"] == pytest.approx(9, rel=0.05)
    assert moved["angle_deg"] == pytest.approx(20, abs=4)
    assert (sharp["kind"], sharp["sureness"]) == ("blind", "no clear blur")
    assert [p.name for p in (tmp_path / "psf").iterdir()] == ["moved.json"]
    blind = restored_psnr(pictures, tmp_path / "blind.png", "--blur", "blind")
    assert restored_psnr(pictures, tmp_path / "out.png", "--blur", str(tmp_path / "psf")) > blind + 1
    assert deblurkit.main(["estimate", str(pictures / "moved.png")]) == 0
    assert "motion of 8.83 pixels at 22 degrees" in capsys.readouterr().out


def test_estimate_names_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert deblurkit.main(["estimate", str(tmp_path / "broken.png")]) == 3
    assert "broken.png" in capsys.readouterr().err


def live_blur(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The blur in the summary of a live run of two frames."""
    assert run(Path("demo"), Path("null"), "--size", "64x64", "--frames", "2", "--json", *words) == 0
    blur: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])["blur"]
    return blur


def test_the_blur_kept_on_the_page_is_used_by_later_live_runs_only(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    keep("defocus:3", 0.7)
    used = live_blur(capsys)
    assert (used["mode"], used["size_px"], used["strength"]) == ("hand", 3.0, 0.7)
    assert live_blur(capsys, "--blur", "auto")["mode"] == "auto"
    assert run(pictures / "moved.png", tmp_path / "out.png", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["blur"]["mode"] == "auto"


@pytest.mark.parametrize(
    "kept", ["", "defocus:3", '["defocus:3", 1]', '{"blur": "round:3", "strength": 1}', '{"blur": "blind", "strength": 7}', "{}"]
)
def test_a_kept_blur_that_makes_no_sense_is_said_and_not_used(
    tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    (tmp_path / "blur.json").write_text(kept)
    assert read_kept() is None
    assert "blur.json" in caplog.text


def test_a_disk_for_a_picture_of_another_size_is_said_to_be_scaled(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text('{"schema": 1, "kind": "defocus", "size_px": 6, "picture_wh": [1200, 800]}')
    assert run(pictures / "moved.png", tmp_path / "out.png", "--blur", str(tmp_path / "a.json")) == 0
    assert "the PSF is for pictures of 1200x800, these have 600x400: scaled by 0.5" in capsys.readouterr().err
