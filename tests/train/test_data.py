"""Pictures into batches. Needs no TensorFlow."""

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.errors import DataError
from device.images.degrade import KINDS, CameraBlur, to_float, to_luma
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from train.data import (
    Growing,
    Patches,
    Picture,
    WholePictures,
    crop_with_margin,
    fixed_pairs,
    load_pairs,
    load_photographs,
    package_photographs,
    prefetched,
    read_named,
)
from train.split import split


def only(kind: str, **settings: Any) -> CameraBlur:
    """A camera that blurs in one way and adds nothing else."""
    odds = tuple(float(k == kind) for k in KINDS)
    return CameraBlur(odds=odds, noise=(0.0, 0.0), sharpening=(0.0, 0.0), jpeg_share=0.0, **settings)


CLEAR = only("sharp")
CAMERA = CameraBlur()


def leaves(count: int, height: int = 72, width: int = 90) -> list[Picture]:
    return [Picture(f"{i}.png", dead_leaves(height, width, i)) for i in range(count)]


def fill(folder: Path, count: int, height: int = 72, width: int = 90, first_seed: int = 0) -> Path:
    for i in range(count):
        write_picture(folder / f"{i}.png", dead_leaves(height, width, first_seed + i))
    return folder


def patches(pictures: list[Picture], blur: CameraBlur = CAMERA, seed: int = 0, luma: bool = False) -> Patches:
    return Patches(pictures, blur, patch=32, batch=6, steps_per_epoch=5, seed=seed, luma=luma)


def names(pictures: list[Picture]) -> list[str]:
    return [p.name for p in pictures]


# split


@pytest.mark.parametrize(("count", "share", "held_out"), [(10, 0.2, 2), (10, 0.25, 2), (10, 0.01, 1), (2, 0.99, 1), (3, 0.9, 2)])
def test_the_split_is_by_picture_and_leaves_something_on_both_sides(count: int, share: float, held_out: int) -> None:
    pictures = leaves(count, 16, 16)
    train, validation = split(pictures, share, seed=4)
    assert len(validation) == held_out
    assert sorted(names(train) + names(validation)) == sorted(names(pictures))


def test_the_split_depends_on_the_seed_alone() -> None:
    pictures = leaves(12, 16, 16)
    assert names(split(pictures, 0.3, 5)[1]) == names(split(pictures, 0.3, 5)[1])
    assert len({tuple(names(split(pictures, 0.3, seed)[1])) for seed in range(8)}) > 1


def test_a_share_of_zero_validates_on_the_training_pictures() -> None:
    pictures = leaves(3, 16, 16)
    train, validation = split(pictures, 0, 0)
    assert names(train) == names(validation) == names(pictures)


# batches


def test_a_batch_depends_on_seed_and_step_only() -> None:
    pictures = leaves(3)
    forwards, backwards = patches(pictures), patches(pictures)
    first = [forwards.batch(step) for step in range(4)]
    second = [backwards.batch(step) for step in reversed(range(4))][::-1]
    for (blurred, sharp), (blurred_again, sharp_again) in zip(first, second, strict=True):
        np.testing.assert_array_equal(blurred, blurred_again)
        np.testing.assert_array_equal(sharp, sharp_again)
    assert not np.array_equal(first[0][1], first[1][1])
    assert not np.array_equal(first[0][1], patches(pictures, seed=1).batch(0)[1])


def test_prefetching_changes_neither_the_batches_nor_their_order() -> None:
    batches = patches(leaves(3))
    ahead = list(prefetched(batches, 3, 23))
    assert len(ahead) == 20
    for step, (blurred, sharp) in enumerate(ahead, start=3):
        np.testing.assert_array_equal(blurred, batches.batch(step)[0])
        np.testing.assert_array_equal(sharp, batches.batch(step)[1])


def test_an_error_while_a_batch_is_made_reaches_the_training() -> None:
    class Broken:
        steps_per_epoch = 3

        def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
            raise DataError(f"step {step}")

    with pytest.raises(DataError, match="step 0"):
        next(prefetched(Broken(), 0, 3))


def test_patches_have_the_asked_size_and_hold_values_from_zero_to_one() -> None:
    blurred, sharp = patches(leaves(3)).batch(0)
    for batch in (blurred, sharp):
        assert batch.shape == (6, 32, 32, 3)
        assert batch.dtype == np.float32
        assert batch.min() >= 0
        assert batch.max() <= 1
    assert not np.array_equal(blurred, sharp)


def test_patches_of_brightness_are_the_luma_of_the_colour_ones() -> None:
    colour, brightness = (patches(leaves(3), luma=luma).batch(2) for luma in (False, True))
    for rgb, luma in zip(colour, brightness, strict=True):
        assert luma.shape == (6, 32, 32, 1)
        np.testing.assert_allclose(luma, to_luma(rgb), atol=1e-6)


def test_without_blur_noise_and_jpeg_both_sides_of_a_pair_are_equal() -> None:
    batches = patches(leaves(3), CLEAR)
    for step in range(5):
        blurred, sharp = batches.batch(step)
        np.testing.assert_array_equal(blurred, sharp)


def test_a_blurred_patch_lies_on_its_sharp_one() -> None:
    soft = only("literature", sigma_px=(1.5, 1.5))
    for blurred, sharp in zip(*patches(leaves(3), soft).batch(0), strict=True):
        expected = cv2.GaussianBlur(sharp, (0, 0), 1.5)[8:-8, 8:-8]
        here = np.abs(blurred[8:-8, 8:-8] - expected).mean()
        beside = np.abs(blurred[8:-8, 9:-7] - expected).mean()
        assert here < 0.004
        assert beside > 2 * here


def test_the_pixels_round_a_patch_are_blurred_into_it() -> None:
    """A border that is mirrored where the picture goes on would teach the network a world with walls."""
    sharp = np.zeros((96, 96, 3), np.uint8)
    sharp[:, 48:] = 255
    soft = only("literature", sigma_px=(3.0, 3.0))
    dark_beside_bright = 0
    for blurred, clear in zip(
        *Patches([Picture("a", sharp)], soft, patch=16, batch=64, steps_per_epoch=1, seed=0).batch(0), strict=True
    ):
        if clear.max() == 0 and blurred.max() > 0.05:
            dark_beside_bright += 1
    assert dark_beside_bright > 0


def test_a_picture_exactly_as_large_as_the_patch_can_be_trained_on() -> None:
    blurred, sharp = patches([Picture("a", dead_leaves(32, 32, 0))], CLEAR).batch(0)
    assert sharp.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(blurred, sharp)


def test_patches_of_a_real_pair_come_from_one_place_with_one_turn() -> None:
    sharp = dead_leaves(64, 80, 0)
    batches = patches([Picture("a", sharp, 255 - sharp)])
    blurred, clear = batches.batch(0)
    np.testing.assert_allclose(blurred, 1 - clear, atol=1e-6)


def test_patches_are_turned_and_mirrored() -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[..., 0] = np.arange(40) * 5
    _, sharp = Patches([Picture("a", ramp)], CLEAR, patch=32, batch=64, steps_per_epoch=1, seed=0).batch(0)
    directions = {(int(np.sign(p[0, -1, 0] - p[0, 0, 0])), int(np.sign(p[-1, 0, 0] - p[0, 0, 0]))) for p in sharp}
    assert directions == {(1, 0), (-1, 0), (0, 1), (0, -1)}


def test_without_a_number_of_steps_an_epoch_is_one_pass_over_the_pictures() -> None:
    assert Patches(leaves(9), CAMERA, patch=32, batch=4, steps_per_epoch=0, seed=0).steps_per_epoch == 2
    assert Patches(leaves(2), CAMERA, patch=32, batch=4, steps_per_epoch=0, seed=0).steps_per_epoch == 1


def test_an_epoch_of_whole_pictures_meets_each_picture_once_in_a_new_order() -> None:
    pairs = fixed_pairs(leaves(7), CAMERA, side=32, whole=True, multiple=32, seed=0)
    batches = WholePictures(pairs, batch=3, seed=2)
    assert batches.steps_per_epoch == 3
    epochs = []
    for epoch in range(2):
        parts = [batches.batch(3 * epoch + step) for step in range(3)]
        assert [len(sharp) for _, sharp in parts] == [3, 3, 1]
        order = [int(np.flatnonzero([np.array_equal(s, known) for known in pairs[1]])[0]) for _, sharp in parts for s in sharp]
        assert sorted(order) == list(range(7))
        for (blurred, _), start in zip(parts, (0, 3, 6), strict=True):
            np.testing.assert_array_equal(blurred, pairs[0][order[start : start + len(blurred)]])
        epochs.append(order)
    assert epochs[0] != epochs[1]


# fixed pairs


def test_fixed_pairs_are_the_middle_of_each_picture_the_same_every_time() -> None:
    pictures = [Picture("a", dead_leaves(90, 110, 0)), Picture("b", dead_leaves(75, 200, 1))]
    blurred, sharp = fixed_pairs(pictures, CLEAR, side=256, whole=False, multiple=8, seed=3)
    assert sharp.shape == (2, 72, 72, 3)
    np.testing.assert_array_equal(sharp[0], to_float(pictures[0].sharp[9:81, 19:91]))
    np.testing.assert_array_equal(blurred, sharp)
    once, again = (fixed_pairs(pictures, CAMERA, side=64, whole=False, multiple=8, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_fixed_pairs_of_whole_pictures_are_resized_to_the_networks_size() -> None:
    sharp = dead_leaves(60, 100, 0)
    blurred, clear = fixed_pairs([Picture("a", sharp, 255 - sharp)], CAMERA, side=40, whole=True, multiple=40, seed=0)
    assert clear.shape == blurred.shape == (1, 40, 40, 3)
    np.testing.assert_allclose(blurred, 1 - clear, atol=1.5 / 255)


def test_a_crop_that_reaches_beyond_the_picture_is_mirrored_there() -> None:
    picture = dead_leaves(20, 30, 0)
    crop = crop_with_margin(picture, 0, 10, 20, 20, 5)
    assert crop.shape == (30, 30, 3)
    np.testing.assert_array_equal(crop[5:25, :25], picture[:, 5:])
    np.testing.assert_array_equal(crop[:5], crop[5:10][::-1])
    np.testing.assert_array_equal(crop[:, 25:], crop[:, 20:25][:, ::-1])


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
        found = load_photographs(tmp_path, 32)
    assert names(found) == ["0.png", "1.png", "2.png"]
    said = "\n".join(caplog.messages)
    assert "broken.jpg" in said
    assert "half.png" in said
    assert "tiny.png: 200x31 is smaller than the patch of 32 pixels" in said
    assert caplog.messages[-1] == "3 of 6 pictures were skipped"


def test_other_files_among_the_pictures_are_passed_over_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    with pytest.raises(DataError, match=r"0 usable pictures, at least 2 are needed \(no picture in it or below it\)"):
        load_photographs(tmp_path, 32)


def test_one_picture_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 usable pictures, at least 2 are needed"):
        load_photographs(fill(tmp_path, 1), 32)


def test_a_folder_of_pictures_below_the_patch_says_how_small_they_are(tmp_path: Path) -> None:
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


# the package's photographs


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


# growing patches


def test_growing_patches_serve_an_equal_share_of_the_epochs_each() -> None:
    sizes = ((16, 8), (32, 2))
    stages = [Patches(leaves(2), CLEAR, patch=p, batch=b, steps_per_epoch=3, seed=0) for p, b in sizes]
    growing = Growing(stages, epochs=4)
    assert growing.steps_per_epoch == 3
    assert [growing.batch(step)[1].shape for step in (0, 5, 6, 11)] == [(8, 16, 16, 3)] * 2 + [(2, 32, 32, 3)] * 2
    np.testing.assert_array_equal(growing.batch(7)[0], stages[1].batch(7)[0])
