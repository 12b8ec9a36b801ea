"""Data sets of photographs and pairs, read from folders. Needs no TensorFlow."""

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import DataError
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from train.photographs import Photograph, load_pairs, load_photographs, package_photographs, read_named


def fill(folder: Path, count: int, height: int = 72, width: int = 90, first_seed: int = 0) -> Path:
    for i in range(count):
        write_picture(folder / f"{i}.png", dead_leaves(height, width, first_seed + i))
    return folder


def names(pictures: Sequence[Photograph]) -> list[str]:
    return [p.name for p in pictures]


# folders of photographs


def test_sub_folders_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    fill(tmp_path / "b" / "deep", 1)
    fill(tmp_path / ".trash", 1)
    fill(tmp_path / ".cache" / "thumbnails", 1)
    assert names(load_photographs(tmp_path, 32)) == ["0.png", "b/deep/0.png"]


def test_unreadable_and_too_small_pictures_are_named_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 3)
    (tmp_path / "broken.jpg").write_bytes(b"no picture at all")
    (tmp_path / "half.png").write_bytes((tmp_path / "0.png").read_bytes()[:900])
    write_picture(tmp_path / "tiny.png", dead_leaves(31, 200, 0))
    with caplog.at_level(logging.WARNING):
        loaded = load_photographs(tmp_path, 32)
    assert names(loaded) == ["0.png", "1.png", "2.png"]
    messages = "\n".join(caplog.messages)
    assert "broken.jpg" in messages
    assert "half.png" in messages
    assert "tiny.png: 200x31 is smaller than the patch of 32 pixels" in messages
    assert caplog.messages[-1] == "3 of 6 pictures were skipped"


def test_other_files_are_ignored_without_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 2)
    (tmp_path / "LICENCE.txt").write_text("CC0")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.md").write_text("no pictures here")
    assert names(load_photographs(tmp_path, 32)) == ["0.png", "1.png"]
    assert not caplog.messages


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder; --data takes a folder"):
        load_photographs(tmp_path / "nowhere", 32)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"0 usable pictures, at least 2 are needed \(no picture in it or its sub-folders\)"):
        load_photographs(tmp_path, 32)


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 usable pictures, at least 2 are needed"):
        load_photographs(fill(tmp_path, 1), 32)


def test_pictures_smaller_than_the_patch_are_reported_with_their_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 usable pictures.*90x72 is smaller than the patch of 128 pixels"):
        load_photographs(fill(tmp_path, 3), 128)


def test_grey_and_16_bit_pictures_are_trained_on_as_colour(tmp_path: Path) -> None:
    grey = dead_leaves(72, 90, 0)[..., 1]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "wide.png"), grey.astype(np.uint16) * 257)
    one, other = load_photographs(tmp_path, 32)
    assert one.sharp.shape == other.sharp.shape == (72, 90, 3)
    np.testing.assert_array_equal(one.sharp, np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(other.sharp, one.sharp)


# pairs


def test_pairs_are_matched_by_sorted_name(tmp_path: Path) -> None:
    for i, (soft, clear) in enumerate((("b1.png", "x.png"), ("b2.png", "y.png"))):
        write_picture(tmp_path / "blurred" / soft, 255 - dead_leaves(40, 50, i))
        write_picture(tmp_path / "sharp" / clear, dead_leaves(40, 50, i))
    pairs = load_pairs(tmp_path / "blurred", tmp_path / "sharp", 32)
    assert names(pairs) == ["x.png", "y.png"]
    for i, pair in enumerate(pairs):
        np.testing.assert_array_equal(pair.sharp, dead_leaves(40, 50, i))
        np.testing.assert_array_equal(pair.blurred, 255 - dead_leaves(40, 50, i))
    folders = (str(tmp_path / "blurred"), str(tmp_path / "sharp"))
    (again,) = read_named("pairs", folders, ("y.png",))
    np.testing.assert_array_equal(again.blurred, pairs[1].blurred)


def test_pairs_of_unequal_counts_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "blurred", 3)
    fill(tmp_path / "sharp", 2)
    with pytest.raises(DataError, match=r"blurred has 3 pictures and .*sharp has 2"):
        load_pairs(tmp_path / "blurred", tmp_path / "sharp", 32)


def test_pairs_of_unequal_size_are_refused_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "sharp", 2)
    fill(tmp_path / "blurred", 1)
    write_picture(tmp_path / "blurred" / "1.png", dead_leaves(72, 88, 1))
    with pytest.raises(DataError, match=r"blurred/1.png and .*sharp/1.png are a pair but measure 88x72 and 90x72"):
        load_pairs(tmp_path / "blurred", tmp_path / "sharp", 32)


def test_a_pair_smaller_than_the_patch_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "sharp", 2)
    fill(tmp_path / "blurred", 2)
    with pytest.raises(DataError, match=r"0.png: 90x72 is smaller than the patch of 80 pixels"):
        load_pairs(tmp_path / "blurred", tmp_path / "sharp", 80)


def test_one_pair_is_too_few(tmp_path: Path) -> None:
    fill(tmp_path / "sharp", 1)
    fill(tmp_path / "blurred", 1)
    with pytest.raises(DataError, match="at least 2 are needed"):
        load_pairs(tmp_path / "blurred", tmp_path / "sharp", 32)


@pytest.mark.parametrize("gone", ["blurred", "sharp"])
def test_pairs_that_have_changed_since_the_run_are_refused_when_read_again(tmp_path: Path, gone: str) -> None:
    fill(tmp_path / "sharp", 3)
    fill(tmp_path / "blurred", 3)
    (tmp_path / gone / "1.png").unlink()
    folders = (str(tmp_path / "blurred"), str(tmp_path / "sharp"))
    with pytest.raises(DataError, match="pairs"):
        read_named("pairs", folders, ("0.png", "1.png"))


# the photographs of the scikit-image package


def test_the_photographs_of_the_package_load_offline() -> None:
    pytest.importorskip("skimage")
    pictures = package_photographs()
    assert len(pictures) >= 10
    assert len(set(names(pictures))) == len(pictures)
    for picture in pictures:
        assert picture.sharp.dtype == np.uint8
        assert picture.sharp.ndim == 3
        assert min(picture.sharp.shape[:2]) >= 256
        assert picture.sharp.std() > 5
