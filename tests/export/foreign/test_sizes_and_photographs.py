"""The size that a foreign network is exported for, and the pictures that it is calibrated and judged on."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from device.errors import BundleError, DataError, UsageError  # noqa: E402
from device.images.degrade import to_pixels  # noqa: E402
from device.images.picture import read_picture, write_picture  # noqa: E402
from export.export_source import SIDE, ExportSource  # noqa: E402
from export.foreign.declared import Declared  # noqa: E402
from export.foreign.open_foreign import open_foreign, open_with_photographs  # noqa: E402

Call = Callable[..., Any]
ANY = [1, 3, "h", "w"]


@pytest.mark.parametrize(
    ("shape", "size", "multiple", "asked"),
    [
        (ANY, (64, 80), 16, (64, 80)),
        (ANY, None, 1, (SIDE, SIDE)),
        (ANY, None, 48, (288, 288)),
        ([1, 3, 48, 32], None, 8, (48, 32)),
        ([1, 3, 48, 32], (48, 32), 8, (48, 32)),
        ([1, 3, 48, "w"], (48, 80), 8, (48, 80)),
        ([1, 3, 48, "w"], None, 8, (48, SIDE)),
    ],
)
def test_pictures_are_asked_for_once_in_the_size_that_was_chosen(
    tmp_path: Path,
    onnx_file: Call,
    generated: Call,
    shape: list,
    size: tuple[int, int] | None,
    multiple: int,
    asked: tuple[int, int],
) -> None:
    seen = []

    def pictures(height: int, width: int) -> Any:
        seen.append((height, width))
        return generated(height, width)

    source = open_foreign(onnx_file(tmp_path / "m.onnx", shape), Declared("rgb", (0, 1), multiple), pictures, size)
    assert seen == [asked]
    assert source.manifest.fixed_hw == (None if shape == ANY else asked)


@pytest.mark.parametrize(
    ("shape", "size", "wrong"),
    [
        (ANY, (64, 84), "--size 84x64: both sides must be multiples of 8"),
        ([1, 3, 48, 32], (64, 80), "--size 80x64: the network takes 32x48 only"),
        ([1, 3, 48, "w"], (64, 80), "--size 80x64: the network takes 80x48 only"),
    ],
)
def test_a_size_that_the_network_cannot_have_is_refused(
    tmp_path: Path, onnx_file: Call, generated: Call, shape: list, size: tuple[int, int], wrong: str
) -> None:
    with pytest.raises(UsageError, match=wrong):
        open_foreign(onnx_file(tmp_path / "m.onnx", shape), Declared("rgb", (0, 1), 8), generated, size)


def test_an_only_size_that_is_no_multiple_of_what_was_declared_is_refused(
    tmp_path: Path, onnx_file: Call, generated: Call
) -> None:
    path = onnx_file(tmp_path / "m.onnx", [1, 3, 50, 32])
    with pytest.raises(BundleError, match="takes pictures of 32x50 pixels only, expected multiples of 8; give a --pad-multiple"):
        open_foreign(path, Declared("rgb", (0, 1), 8), generated)


# photographs


def subject_of(path: Path, data: Path, calibration: Path | None = None, colour: str = "rgb") -> ExportSource:
    return open_with_photographs(path, Declared(colour, (0, 1), 8), data, calibration, "camera", (64, 80))


def middle(path: Path) -> np.ndarray:
    """A photograph, 64 pixels high and 80 wide, cut out of a square of that width."""
    pixels = read_picture(path)
    top, left = (pixels.shape[0] - 80) // 2, (pixels.shape[1] - 80) // 2
    return pixels[top : top + 64, left : left + 80]


@pytest.fixture
def network(tmp_path: Path, onnx_file: Call) -> Path:
    return onnx_file(tmp_path / "m.onnx", ANY)


def test_a_fifth_of_the_photographs_is_held_out_and_the_others_calibrate(network: Path, photographs: Path) -> None:
    pictures = subject_of(network, photographs).pictures
    assert pictures.described == "2 photographs held out, 2 blurs each, 80x64"
    assert (pictures.blurred.shape, len(pictures.calibration)) == ((4, 64, 80, 3), 1 + 6)
    assert {picture.shape for picture in pictures.calibration} == {(1, 64, 80, 3)}
    whole = [middle(path) for path in sorted(photographs.iterdir())]
    judged = {i for sharp in pictures.sharp for i, cut in enumerate(whole) if np.array_equal(to_pixels(sharp), cut)}
    assert len(judged) == 2
    near = {int(np.argmin([np.abs(p[0] * 255 - cut).mean() for cut in whole])) for p in pictures.calibration[1:]}
    assert near == set(range(8)) - judged


def test_two_are_held_out_of_a_few_photographs(network: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for path in sorted(photographs.iterdir())[:3]:
        shutil.copy(path, tmp_path / "few")
    pictures = subject_of(network, tmp_path / "few").pictures
    assert (len(pictures.blurred), len(pictures.calibration)) == (2 * 2, 1 + 1)


def test_a_folder_to_calibrate_on_replaces_the_others_and_must_hold_none_that_is_held_out(
    network: Path, photographs: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="2 of its pictures are held out to judge the files by"):
        subject_of(network, photographs, photographs)
    for path in sorted(photographs.iterdir())[:3]:
        (tmp_path / "mirrored").mkdir(exist_ok=True)
        write_picture(tmp_path / "mirrored" / path.name, read_picture(path)[:, ::-1])
    pictures = subject_of(network, photographs, tmp_path / "mirrored").pictures
    assert (len(pictures.blurred), len(pictures.calibration)) == (4, 1 + 3)


def test_a_luma_network_gets_luma(tmp_path: Path, onnx_file: Call, photographs: Path) -> None:
    source = subject_of(onnx_file(tmp_path / "l.onnx", [1, 1, "h", "w"]), photographs, colour="luma")
    assert {picture.shape for picture in source.pictures.calibration} == {(1, 64, 80, 1)}


def test_without_photographs_those_of_scikit_image_are_used(network: Path) -> None:
    source = open_with_photographs(network, Declared("rgb", (0, 1), 8), None, None, "gaussian", (64, 80))
    assert source.pictures.described == "3 photographs held out, 2 blurs each, 80x64"


def test_no_photograph_is_read_for_a_model_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="damaged or no ONNX file"):
        subject_of(tmp_path / "m.onnx", tmp_path / "nowhere")
