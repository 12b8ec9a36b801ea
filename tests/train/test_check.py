"""deblurkit train --check: the issues of a folder of photographs. Needs no Keras."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.images.frame import Pixels
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from train.photograph_facts import SOFT_PX, edge_blur_px, jpeg_channels
from train.photographs import package_photographs

Command = Callable[..., Any]


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good pictures, and one for every kind of issue that needs no rare format."""
    place = tmp_path / "photos"
    place.mkdir()
    for i in range(4):
        write_picture(place / f"good{i}.png", dead_leaves(160, 200, seed=i))
    write_picture(place / "soft.png", blurred(dead_leaves(160, 200, seed=10), 2.0))
    write_picture(place / "copy.jpg", dead_leaves(160, 200, seed=0))
    scene = dead_leaves(160, 210, seed=11)
    write_picture(place / "shot1.png", scene[:, :200])
    write_picture(place / "shot2.png", scene[:, 6:206])
    write_picture(place / "tiny.png", dead_leaves(40, 40, seed=12))
    write_picture(place / "wall.png", np.full((160, 200, 3), (90, 120, 150), np.uint8))
    cv2.imwrite(str(place / "deep.png"), dead_leaves(160, 200, seed=13).astype(np.uint16) * 257)
    (place / "broken.jpg").write_bytes((place / "copy.jpg").read_bytes()[:200])
    (place / "phone.heic").write_bytes(b"not decoded")
    return place


def test_every_kind_of_issue_is_reported_for_the_right_file_only(command: Command, folder: Path) -> None:
    ended = command("train", "--check", folder, "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out.splitlines()[-1])
    found = {(f["kind"], *sorted(f["files"])) for f in result["findings"]}
    assert found == {
        ("unreadable", "broken.jpg"),
        ("unknown", "phone.heic"),
        ("tiny", "tiny.png"),
        ("soft", "soft.png"),
        ("plain", "wall.png"),
        ("copies", "copy.jpg", "good0.png"),
        ("burst", "shot1.png", "shot2.png"),
        ("deep", "deep.png"),
    }
    assert result["usable"] == 10
    assert result["train"] + result["validation"] == 10
    assert result["groups_of_one_scene"] == 2


def test_the_terminal_names_the_file_and_what_to_do(command: Command, folder: Path) -> None:
    ended = command("train", "--check", folder)
    assert ended.code == 0, ended.err
    assert "soft.png" in ended.out
    assert "remove them" in ended.out
    assert "to train on" in ended.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(["missing"], 3, "no such folder"), ([".", "--preset", "smal"], 2, "small"), (["."], 3, "at least 2 are needed")],
)
def test_a_folder_that_cannot_be_used_ends_with_its_code(
    command: Command, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    ended = command("train", "--check", tmp_path / words[0], *words[1:])
    assert ended.code == code
    assert says in ended.err


def test_the_measured_blur_does_not_depend_on_the_contrast() -> None:
    sharp = dead_leaves(300, 400, seed=3)
    for contrast in (1.0, 0.4):
        scene = cv2.convertScaleAbs(sharp, alpha=contrast, beta=20)
        seen = [edge_blur_px(blurred(scene, sigma)) for sigma in (1.0, 2.0, 3.0)]
        for sigma, measured in zip((1.0, 2.0, 3.0), seen, strict=True):
            assert measured is not None
            assert abs(measured - sigma) < 0.35 * sigma, (contrast, sigma, measured)


def test_blurred_photographs_count_as_soft() -> None:
    photographs = [p.sharp for p in package_photographs() if edge_blur_px(p.sharp) is not None]
    soft = [edge_blur_px(blurred(pixels, 1.5)) for pixels in photographs]
    assert sum(s is None or s > SOFT_PX for s in soft) == len(soft)


@pytest.mark.parametrize(("preset", "smallest_px"), [("nano", 128), ("dense", 1)])
def test_the_smallest_usable_picture_is_the_patch_of_the_preset(
    command: Callable[..., Any], folder: Path, preset: str, smallest_px: int
) -> None:
    ended = command("train", "--check", folder, "--preset", preset, "--json")
    assert json.loads(ended.out.splitlines()[-1])["smallest_px"] == smallest_px


def test_the_command_needs_no_keras(folder: Path) -> None:
    blocked = (
        "import sys; sys.modules.update(keras=None, tensorflow=None); import deblurkit; sys.exit(deblurkit.main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", blocked, "train", "--check", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_channels_of_a_jpeg_are_read_from_its_header() -> None:
    for channels, pixels in ((1, np.zeros((8, 8), np.uint8)), (3, np.zeros((8, 8, 3), np.uint8))):
        assert jpeg_channels(cv2.imencode(".jpg", pixels)[1].tobytes()) == channels
    assert jpeg_channels(b"\xff\xd8\xff") == 0
