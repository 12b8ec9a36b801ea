"""Data sets larger than the memory: the cache never changes the batches. Needs no TensorFlow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import DataError
from device.images.degrade import BLURS
from device.images.picture import read_picture, write_picture
from device.images.scenes import dead_leaves
from train.batches import Patches, fixed_pairs, prefetched
from train.photographs import FilePhotograph, load_pairs, load_photographs
from train.picture_cache import PixelCache, available_bytes, default_cache_bytes

COUNT, HEIGHT, WIDTH = 6, 300, 340  # larger than a crop, so that a crop is a part of its picture
ONE = 3 * HEIGHT * WIDTH  # bytes of a decoded picture
PLENTY = PixelCache(1 << 30).limit_bytes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six generated pictures, blurred and sharp."""
    root = tmp_path_factory.mktemp("pairs")
    for i in range(COUNT):
        sharp = dead_leaves(HEIGHT, WIDTH, i)
        write_picture(root / "sharp" / f"{i}.png", sharp)
        write_picture(root / "blurred" / f"{i}.png", cv2.GaussianBlur(sharp, (0, 0), 2))  # type: ignore[arg-type]
    return root / "blurred", root / "sharp"


def load(kind: str, folders: tuple[Path, Path], limit_bytes: int) -> tuple[list[FilePhotograph], PixelCache]:
    cache = PixelCache(limit_bytes)
    if kind == "pairs":
        return load_pairs(*folders, 32, cache), cache
    return load_photographs(folders[1], 32, cache), cache


@pytest.mark.parametrize("kind", ["photographs", "pairs"])
@pytest.mark.parametrize("limit_bytes", [0, ONE, 3 * ONE - 1])
def test_batches_are_the_same_with_little_memory_as_with_plenty(kind: str, limit_bytes: int, folders: tuple[Path, Path]) -> None:
    drawn = []
    for limit in (PLENTY, limit_bytes):
        pictures, _ = load(kind, folders, limit)
        batches = Patches(pictures, BLURS["camera"], patch=64, batch=8, steps_per_epoch=20, seed=3)
        drawn.append(list(prefetched(batches, 2, 12)))
    for (blurred, sharp), (blurred_again, sharp_again) in zip(*drawn, strict=True):
        np.testing.assert_array_equal(blurred, blurred_again)
        np.testing.assert_array_equal(sharp, sharp_again)


@pytest.mark.parametrize("kind", ["photographs", "pairs"])
def test_fixed_pairs_are_the_same_with_little_memory_as_with_plenty(kind: str, folders: tuple[Path, Path]) -> None:
    with_plenty, with_little = (
        fixed_pairs(load(kind, folders, limit)[0], BLURS["camera"], side=64, whole=False, multiple=8, seed=0)
        for limit in (PLENTY, 0)
    )
    np.testing.assert_array_equal(with_plenty, with_little)


def test_decoded_pictures_never_exceed_the_limit(folders: tuple[Path, Path]) -> None:
    limit = 3 * ONE - 1
    pictures, cache = load("photographs", folders, limit)
    batches = Patches(pictures, BLURS["gaussian"], patch=64, batch=8, steps_per_epoch=20, seed=3)
    for _ in prefetched(batches, 0, 20):
        assert sum(p.nbytes for p in cache._pictures.values()) <= limit
    assert cache.peak_bytes == 2 * ONE
    assert cache.decoded > 2 * COUNT  # the others were decoded again
    assert cache.evicted > 0


def test_with_enough_memory_each_picture_is_decoded_once(folders: tuple[Path, Path]) -> None:
    pictures, cache = load("pairs", folders, 2 * COUNT * ONE)
    list(prefetched(Patches(pictures, BLURS["camera"], patch=64, batch=8, steps_per_epoch=20, seed=3), 0, 10))
    assert (cache.decoded, cache.evicted, cache.cached_bytes) == (2 * COUNT, 0, 2 * COUNT * ONE)


@pytest.mark.parametrize("kind", ["photographs", "pairs"])
def test_a_crop_does_not_keep_its_picture_in_memory(kind: str, folders: tuple[Path, Path]) -> None:
    pictures, _ = load(kind, folders, PLENTY)
    batches = Patches(pictures, BLURS["camera"], patch=64, batch=8, steps_per_epoch=20, seed=3)
    batches.batch(0)
    kept = [crop for future in batches._crops.values() for crop in future.result()]
    assert kept
    for crop in kept:
        whole = crop if crop.base is None else crop.base
        assert whole.nbytes <= 3 * 256 * 256


def test_the_least_recently_used_picture_is_evicted(folders: tuple[Path, Path]) -> None:
    cache = PixelCache(2 * ONE)
    paths = [folders[1] / f"{i}.png" for i in range(3)]
    for path in (paths[0], paths[1], paths[0], paths[2], paths[0]):
        cache.read(path)
    assert cache.decoded == 3
    cache.read(paths[1])
    assert cache.decoded == 4


def test_a_picture_larger_than_the_limit_is_read_and_evicts_no_other(folders: tuple[Path, Path], tmp_path: Path) -> None:
    cache = PixelCache(ONE)
    cache.read(folders[1] / "0.png")
    write_picture(tmp_path / "large.png", dead_leaves(400, 400, 0))
    assert cache.read(tmp_path / "large.png").shape == (400, 400, 3)
    assert cache.cached_bytes == ONE
    cache.read(folders[1] / "0.png")
    assert cache.decoded == 2


def test_threads_share_a_cache_within_its_limit(folders: tuple[Path, Path]) -> None:
    cache = PixelCache(2 * ONE)
    expected = [read_picture(folders[1] / f"{i}.png") for i in range(COUNT)]

    def read(k: int) -> None:
        for i in np.random.default_rng(k).integers(0, COUNT, 40):
            np.testing.assert_array_equal(cache.read(folders[1] / f"{i}.png"), expected[i])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))
    assert cache.peak_bytes <= 2 * ONE
    assert cache.cached_bytes == sum(p.nbytes for p in cache._pictures.values())


def test_a_picture_that_changes_its_size_during_training_is_refused(tmp_path: Path) -> None:
    for i in range(2):
        write_picture(tmp_path / f"{i}.png", dead_leaves(72, 90, i))
    pictures = load_photographs(tmp_path, 32, PixelCache(0))
    write_picture(tmp_path / "1.png", dead_leaves(80, 90, 1))
    with pytest.raises(DataError, match=r"1\.png: 90x80 now, 90x72 when the training started"):
        _ = pictures[1].sharp


def test_a_picture_that_disappears_ends_the_training(tmp_path: Path) -> None:
    for i in range(2):
        write_picture(tmp_path / f"{i}.png", dead_leaves(72, 90, i))
    pictures = load_photographs(tmp_path, 32, PixelCache(0))
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        next(prefetched(Patches(pictures, BLURS["camera"], patch=32, batch=2, steps_per_epoch=2, seed=0), 0, 2))


def test_the_default_limit_is_half_of_the_free_memory() -> None:
    assert (64 << 20) < default_cache_bytes() <= 0.6 * available_bytes()
