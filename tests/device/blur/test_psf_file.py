"""PSF files: what is written is read again, and what cannot be a PSF is refused with its reason."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.blur.choice import FOLDER, HAND, parse_blur, psf_of_picture
from device.blur.kernels import disk_kernel, shake_kernel
from device.blur.psf import Psf
from device.blur.psf_file import read_psf, write_psf
from device.errors import DataError, UsageError

KERNEL = shake_kernel(9, np.random.default_rng(1))


@pytest.mark.parametrize(
    "psf",
    [
        Psf("gaussian", 1.6, 30.0, 0.6, linear=False),
        Psf("defocus", 3.5, noise=0.01, confidence=0.8),
        Psf("motion", 17.0, 30.0, defocus_px=1.5),
        Psf("lens", 1.2, exponent=4.0),
        Psf("measured", measured=KERNEL),
    ],
    ids=lambda psf: psf.kind,
)
def test_a_psf_is_the_same_after_it_was_written_and_read(psf: Psf, tmp_path: Path) -> None:
    write_psf(tmp_path / "it.json", psf, (640, 480))
    again = read_psf(tmp_path / "it.json")
    assert again.picture_wh == (640, 480)
    assert (again.kind, again.linear, again.noise, again.confidence) == (psf.kind, psf.linear, psf.noise, psf.confidence)
    assert np.allclose(again.kernel(), psf.kernel(), atol=1e-7)


def test_a_psf_of_another_picture_size_is_scaled(tmp_path: Path) -> None:
    write_psf(tmp_path / "it.json", Psf("defocus", 4.0), (1280, 960))
    half = read_psf(tmp_path / "it.json").for_picture(640, 480)
    assert half.size_px == pytest.approx(2.0)
    assert half.picture_wh == (640, 480)


def test_kernels_are_read_from_numpy_and_grey_png(tmp_path: Path) -> None:
    disk = disk_kernel(3.0)
    np.save(tmp_path / "a.npy", disk)
    cv2.imwrite(str(tmp_path / "a.png"), np.rint(disk / disk.max() * 255).astype(np.uint8))
    np.save(tmp_path / "even.npy", np.ones((4, 2)))
    assert np.allclose(read_psf(tmp_path / "a.npy").kernel(), disk)
    assert np.allclose(read_psf(tmp_path / "a.png").kernel(), disk, atol=2e-3)
    even = read_psf(tmp_path / "even.npy", "as-is")
    assert even.kernel().shape == (5, 5)
    assert even.kernel().sum() == pytest.approx(1)
    assert not even.linear


def test_negative_lobes_are_a_camera_s_sharpening(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, -0.1, 0], [-0.1, 1.4, -0.1], [0, -0.1, 0]]))
    assert read_psf(tmp_path / "a.npy").kernel().min() < 0


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (np.full((3, 3), np.nan), "NaN or infinite"),
        (np.array([[1.0, np.inf], [0, 0]]), "NaN or infinite"),
        (np.zeros((3, 3)), "sums to 0"),
        (np.array([[1.0, -1.0]]), "sums to 0"),
        (-np.ones((3, 3)), "expected a positive sum"),
        (np.ones((3, 3, 3)), "3 x 3 x 3; expected 2 dimensions"),
        (np.ones((2000, 3)), "2000 x 3"),
        (np.zeros((0, 3)), "0 x 3"),
        (np.array([["a"]]), "expected numbers"),
    ],
)
def test_a_kernel_that_cannot_be_one_is_refused(kernel: np.ndarray, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", kernel)
    with pytest.raises(DataError, match=words):
        read_psf(tmp_path / "bad.npy")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not JSON", "not JSON"),
        ("[1]", "expected a table of keys"),
        ('{"schema": 1, "kind": "defocusing"}', "did you mean 'defocus'"),
        ('{"schema": 9, "kind": "defocus"}', "schema 9, newer than 1"),
        ('{"schema": 1, "kind": "defocus", "size_px": -1}', "size_px -1"),
        ('{"schema": 1, "kind": "defocus", "size_px": NaN}', "size_px nan"),
        ('{"schema": 1, "kind": "defocus", "size_px": 0}', "expected at least"),
        ('{"schema": 1, "kind": "defocus", "sise_px": 3}', "did you mean 'size_px'"),
        ('{"schema": 1, "kind": "gaussian", "size_px": 1, "flatness": 0}', "flatness 0"),
        ('{"schema": 1, "kind": "measured"}', "expected a kernel"),
        ('{"schema": 1, "kind": "defocus", "size_px": 3, "kernel": [[1]]}', "for no other"),
        ('{"schema": 1, "kind": "measured", "kernel": [[1, 2], [3]]}', "different lengths"),
        ('{"schema": 1, "kind": "measured", "kernel": [[NaN]]}', "NaN or infinite"),
        ('{"schema": 1, "kind": "defocus", "size_px": 3, "picture_wh": [640]}', "width and height"),
        ('{"schema": 1, "kind": "defocus", "size_px": 3, "domain": "gamma"}', "domain 'gamma'"),
    ],
)
def test_a_file_that_is_no_psf_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(DataError, match=words):
        read_psf(tmp_path / "bad.json")


@pytest.mark.parametrize("name", ["bad.png", "bad.npy", "bad.json", "bad.tif", "missing.json"])
def test_a_damaged_or_unknown_file_is_named(name: str, tmp_path: Path) -> None:
    if name != "missing.json":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=name):
        read_psf(tmp_path / name)


def test_a_picture_in_colour_is_no_kernel(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([np.zeros((5, 5)), np.ones((5, 5)), np.ones((5, 5))]).astype(np.uint8) * 255)
    with pytest.raises(DataError, match="in colour"):
        read_psf(tmp_path / "a.png")


def test_a_failed_write_keeps_the_file_before(tmp_path: Path) -> None:
    write_psf(tmp_path / "it.json", Psf("defocus", 4.0), None)
    before = json.loads((tmp_path / "it.json").read_text())
    assert before == {"schema": 1, "kind": "defocus", "size_px": 4.0, "domain": "linear"}
    assert [p.name for p in tmp_path.iterdir()] == ["it.json"]


@pytest.mark.parametrize(
    ("text", "kind", "size", "angle"),
    [
        ("gaussian:1.6", "gaussian", 1.6, 0),
        ("defocus:3.5", "defocus", 3.5, 0),
        ("motion:17@30", "motion", 17, 30),
        ("motion:9@-45.5", "motion", 9, -45.5),
        ("motion:9", "motion", 9, 0),
        ("lens:.9", "lens", 0.9, 0),
    ],
)
def test_a_blur_in_words_is_read(text: str, kind: str, size: float, angle: float) -> None:
    choice = parse_blur(text)
    assert choice.mode == HAND
    assert choice.psf is not None
    assert (choice.psf.kind, choice.psf.size_px, choice.psf.angle_deg, choice.psf.linear) == (kind, size, angle, True)
    assert parse_blur(text, "as-is").psf.linear is False  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("autp", "did you mean 'auto'"),
        ("gausian:1.6", "did you mean 'gaussian'"),
        ("gaussian:wide", "expected for example gaussian:1.6"),
        ("gaussian:", "expected for example"),
        ("gaussian:0", "expected at least"),
        ("defocus:900", "expected 0 to 200"),
        ("defocus:3@30", "expected for example defocus:3.5"),
        ("motion:17@north", "in pixels and degrees"),
        ("no/such/folder", "which must exist"),
    ],
)
def test_a_blur_that_is_not_understood_says_what_is_expected(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_blur(text)


def test_a_folder_has_a_psf_for_each_picture_by_its_name(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", KERNEL)
    write_psf(tmp_path / "two.json", Psf("defocus", 2.0), None)
    choice = parse_blur(str(tmp_path), "as-is")
    assert choice.mode == FOLDER
    one, two = psf_of_picture(choice, "one.jpg"), psf_of_picture(choice, "two.png")
    assert one is not None
    assert two is not None
    assert (one.kind, one.linear, two.kind, two.linear) == ("measured", False, "defocus", True)
    assert psf_of_picture(choice, "three.png") is None
