"""Batches from photographs: the same for the same seed and step. Needs no TensorFlow."""

from typing import Any

import cv2
import numpy as np
import pytest

from device.errors import DataError
from device.images.degrade import KINDS, CameraBlur, to_float, to_luma
from device.images.scenes import dead_leaves
from train.batches import GrowingPatches, Patches, WholePictures, crop_with_margin, fixed_pairs, prefetched
from train.photographs import MemoryPhotograph


def only(kind: str, **settings: Any) -> CameraBlur:
    """A camera that blurs in one way and adds nothing else."""
    odds = tuple(float(k == kind) for k in KINDS)
    return CameraBlur(odds=odds, noise=(0.0, 0.0), sharpening=(0.0, 0.0), jpeg_share=0.0, **settings)


CLEAR = only("sharp")
CAMERA = CameraBlur()


def leaves(count: int, height: int = 72, width: int = 90) -> list[MemoryPhotograph]:
    return [MemoryPhotograph(f"{i}.png", dead_leaves(height, width, i)) for i in range(count)]


def patches(pictures: list[MemoryPhotograph], blur: CameraBlur = CAMERA, seed: int = 0, luma: bool = False) -> Patches:
    return Patches(pictures, blur, patch=32, batch=6, steps_per_epoch=5, seed=seed, luma=luma)


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


def test_an_error_in_a_batch_thread_reaches_the_training() -> None:
    class Broken:
        steps_per_epoch = 3

        def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
            raise DataError(f"step {step}")

    with pytest.raises(DataError, match="step 0"):
        next(prefetched(Broken(), 0, 3))


def test_patches_have_the_requested_size_and_values_from_zero_to_one() -> None:
    blurred, sharp = patches(leaves(3)).batch(0)
    for batch in (blurred, sharp):
        assert batch.shape == (6, 32, 32, 3)
        assert batch.dtype == np.float32
        assert batch.min() >= 0
        assert batch.max() <= 1
    assert not np.array_equal(blurred, sharp)


def test_luma_patches_are_the_luma_of_the_colour_patches() -> None:
    colour, brightness = (patches(leaves(3), luma=luma).batch(2) for luma in (False, True))
    for rgb, luma in zip(colour, brightness, strict=True):
        assert luma.shape == (6, 32, 32, 1)
        np.testing.assert_allclose(luma, to_luma(rgb), atol=1e-6)


def test_without_blur_noise_and_jpeg_both_sides_of_a_pair_are_equal() -> None:
    batches = patches(leaves(3), CLEAR)
    for step in range(5):
        blurred, sharp = batches.batch(step)
        np.testing.assert_array_equal(blurred, sharp)


def test_a_blurred_patch_is_aligned_with_its_sharp_one() -> None:
    soft = only("literature", sigma_px=(1.5, 1.5))
    for blurred, sharp in zip(*patches(leaves(3), soft).batch(0), strict=True):
        expected = cv2.GaussianBlur(sharp, (0, 0), 1.5)[8:-8, 8:-8]
        here = np.abs(blurred[8:-8, 8:-8] - expected).mean()
        beside = np.abs(blurred[8:-8, 9:-7] - expected).mean()
        assert here < 0.004
        assert beside > 2 * here


def test_the_pixels_around_a_patch_are_blurred_into_it() -> None:
    """If patches were mirrored at borders inside the picture, the network would learn edges that do not exist."""
    sharp = np.zeros((96, 96, 3), np.uint8)
    sharp[:, 48:] = 255
    soft = only("literature", sigma_px=(3.0, 3.0))
    dark_beside_bright = 0
    for blurred, clear in zip(
        *Patches([MemoryPhotograph("a", sharp)], soft, patch=16, batch=64, steps_per_epoch=1, seed=0).batch(0), strict=True
    ):
        if clear.max() == 0 and blurred.max() > 0.05:
            dark_beside_bright += 1
    assert dark_beside_bright > 0


def test_a_picture_may_be_exactly_as_large_as_the_patch() -> None:
    blurred, sharp = patches([MemoryPhotograph("a", dead_leaves(32, 32, 0))], CLEAR).batch(0)
    assert sharp.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(blurred, sharp)


def test_both_patches_of_a_real_pair_have_the_same_place_and_turn() -> None:
    sharp = dead_leaves(64, 80, 0)
    batches = patches([MemoryPhotograph("a", sharp, 255 - sharp)])
    blurred, clear = batches.batch(0)
    np.testing.assert_allclose(blurred, 1 - clear, atol=1e-6)


def test_patches_are_turned_and_mirrored() -> None:
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[..., 0] = np.arange(40) * 5
    _, sharp = Patches([MemoryPhotograph("a", ramp)], CLEAR, patch=32, batch=64, steps_per_epoch=1, seed=0).batch(0)
    directions = {(int(np.sign(p[0, -1, 0] - p[0, 0, 0])), int(np.sign(p[-1, 0, 0] - p[0, 0, 0]))) for p in sharp}
    assert directions == {(1, 0), (-1, 0), (0, 1), (0, -1)}


def test_without_a_number_of_steps_an_epoch_is_one_pass_over_the_pictures() -> None:
    assert Patches(leaves(9), CAMERA, patch=32, batch=4, steps_per_epoch=0, seed=0).steps_per_epoch == 2
    assert Patches(leaves(2), CAMERA, patch=32, batch=4, steps_per_epoch=0, seed=0).steps_per_epoch == 1


def test_an_epoch_of_whole_pictures_has_each_picture_once_in_a_new_order() -> None:
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


# growing patches


def test_each_stage_of_growing_patches_has_an_equal_share_of_the_epochs() -> None:
    sizes = ((16, 8), (32, 2))
    stages = [Patches(leaves(2), CLEAR, patch=p, batch=b, steps_per_epoch=3, seed=0) for p, b in sizes]
    growing = GrowingPatches(stages, epochs=4)
    assert growing.steps_per_epoch == 3
    assert [growing.batch(step)[1].shape for step in (0, 5, 6, 11)] == [(8, 16, 16, 3)] * 2 + [(2, 32, 32, 3)] * 2
    np.testing.assert_array_equal(growing.batch(7)[0], stages[1].batch(7)[0])


# fixed pairs


def test_fixed_pairs_are_the_centre_of_each_picture_the_same_every_time() -> None:
    pictures = [MemoryPhotograph("a", dead_leaves(90, 110, 0)), MemoryPhotograph("b", dead_leaves(75, 200, 1))]
    blurred, sharp = fixed_pairs(pictures, CLEAR, side=256, whole=False, multiple=8, seed=3)
    assert sharp.shape == (2, 72, 72, 3)
    np.testing.assert_array_equal(sharp[0], to_float(pictures[0].sharp[9:81, 19:91]))
    np.testing.assert_array_equal(blurred, sharp)
    once, again = (fixed_pairs(pictures, CAMERA, side=64, whole=False, multiple=8, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_fixed_pairs_of_whole_pictures_are_resized_to_the_networks_size() -> None:
    sharp = dead_leaves(60, 100, 0)
    blurred, clear = fixed_pairs([MemoryPhotograph("a", sharp, 255 - sharp)], CAMERA, side=40, whole=True, multiple=40, seed=0)
    assert clear.shape == blurred.shape == (1, 40, 40, 3)
    np.testing.assert_allclose(blurred, 1 - clear, atol=1.5 / 255)


def test_a_crop_is_mirrored_beyond_the_edges_of_the_picture() -> None:
    picture = dead_leaves(20, 30, 0)
    crop = crop_with_margin(picture, 0, 10, 20, 20, 5)
    assert crop.shape == (30, 30, 3)
    np.testing.assert_array_equal(crop[5:25, :25], picture[:, 5:])
    np.testing.assert_array_equal(crop[:5], crop[5:10][::-1])
    np.testing.assert_array_equal(crop[:, 25:], crop[:, 20:25][:, ::-1])
