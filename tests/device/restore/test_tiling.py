from collections.abc import Callable

import cv2
import numpy as np
import pytest

from device.errors import UsageError
from device.images.frame import Pixels
from device.restore.tiling import plan, run_tiled, tile_hw

SIZES = [(1, 1), (1, 700), (700, 1), (7, 9), (64, 64), (65, 63), (48, 129), (131, 257), (20, 8191), (8191, 3)]
RADIUS = 5


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(height * 10007 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def identity(tile: Pixels) -> Pixels:
    return tile.copy()


def local_filter(tile: Pixels) -> Pixels:
    """A filter with receptive field RADIUS and uneven weights.

    The weights are integers, so that sums are exact. A two-dimensional kernel, which OpenCV applies with Fourier transforms
    on Arm, or fractional weights would round differently at different positions.
    """
    rows, columns = np.random.default_rng(1).integers(1, 12, (2, 2 * RADIUS + 1)).astype(np.float32)
    total = cv2.sepFilter2D(tile.astype(np.float32), -1, rows, columns, borderType=cv2.BORDER_REFLECT_101)
    return (total / (rows.sum() * columns.sum())).astype(np.uint8)


def strided_filter(tile: Pixels) -> Pixels:
    """Like a network with stride 8: the value of each 8x8 block depends on the neighbouring blocks."""
    blocks = cv2.resize(tile, (tile.shape[1] // 8, tile.shape[0] // 8), interpolation=cv2.INTER_AREA)
    blocks = cv2.blur(blocks, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(blocks, (tile.shape[1], tile.shape[0]), interpolation=cv2.INTER_NEAREST)


@pytest.mark.parametrize(("largest_hw", "fixed"), [((64, 96), False), ((64, 96), True), ((60, 90), False)], ids=str)
@pytest.mark.parametrize(("halo", "multiple"), [(0, 1), (5, 1), (0, 8), (5, 8), (16, 8)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_cover_every_pixel_once_on_the_models_grid(
    size: tuple[int, int], halo: int, multiple: int, largest_hw: tuple[int, int], fixed: bool
) -> None:
    height, width = size
    tiling = plan(height, width, largest_hw, halo, multiple, fixed)
    written = np.zeros(tiling.padded_hw, int)
    for tile in tiling.tiles:
        assert tile.y % multiple == 0
        assert tile.x % multiple == 0
        written[tile.top : tile.bottom, tile.left : tile.right] += 1
        for start, first, end, side, length in (
            (tile.y, tile.top, tile.bottom, tiling.tile_hw[0], tiling.padded_hw[0]),
            (tile.x, tile.left, tile.right, tiling.tile_hw[1], tiling.padded_hw[1]),
        ):
            assert first - start >= (halo if start > 0 else 0)
            assert start + side - end >= (halo if end < length else 0)
    assert (written == 1).all()
    assert tiling.padded_hw[0] >= height
    assert tiling.padded_hw[1] >= width


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("halo", "multiple"), [(0, 1), (5, 8), (16, 8)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_identity_returns_the_same_picture(size: tuple[int, int], halo: int, multiple: int, fixed: bool) -> None:
    pixels = noise(*size)
    out = run_tiled(pixels, plan(*size, (64, 64), halo, multiple, fixed), identity)
    assert out.dtype == np.uint8
    assert np.array_equal(out, pixels)


@pytest.mark.parametrize(
    ("local", "halo", "multiple"), [(local_filter, RADIUS, 1), (local_filter, RADIUS, 8), (strided_filter, 8, 8)]
)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiled_equals_untiled_if_the_halo_covers_the_receptive_field(
    size: tuple[int, int], local: Callable[[Pixels], Pixels], halo: int, multiple: int
) -> None:
    pixels = noise(*size)
    untiled = plan(*size, (10000, 10000), halo, multiple)
    tiled = plan(*size, (48, 64), halo, multiple)
    assert len(untiled.tiles) == 1
    assert np.array_equal(run_tiled(pixels, tiled, local), run_tiled(pixels, untiled, local))


def test_without_its_halo_a_filter_leaves_seams() -> None:
    pixels = noise(131, 257)
    seamed = run_tiled(pixels, plan(131, 257, (48, 64), 0, 8), local_filter)
    assert not np.array_equal(seamed, run_tiled(pixels, plan(131, 257, (512, 512), 0, 8), local_filter))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_model_of_one_size_gets_tiles_of_that_size_only(size: tuple[int, int]) -> None:
    seen = set()

    def restore(tile: Pixels) -> Pixels:
        seen.add(tile.shape)
        return tile

    run_tiled(noise(*size), plan(*size, (64, 96), 8, 8, fixed=True), restore)
    assert seen == {(64, 96, 3)}


def test_fixed_tiles_equal_one_large_tile() -> None:
    pixels = noise(200, 300)
    fixed = run_tiled(pixels, plan(200, 300, (64, 96), RADIUS, 8, fixed=True), local_filter)
    assert np.array_equal(fixed, run_tiled(pixels, plan(200, 300, (512, 512), RADIUS, 8), local_filter))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_of_free_size_are_multiples_and_never_larger_than_allowed(size: tuple[int, int]) -> None:
    def restore(tile: Pixels) -> Pixels:
        assert tile.shape[0] % 8 == tile.shape[1] % 8 == 0
        assert tile.shape[0] <= 64
        assert tile.shape[1] <= 96
        return tile

    run_tiled(noise(*size), plan(*size, (64, 96), 8, 8), restore)


def test_a_picture_that_fits_goes_through_in_one_tile_without_waste() -> None:
    tiling = plan(50, 60, (1024, 1024), 8, 8)
    assert len(tiling.tiles) == 1
    assert tiling.tile_hw == (56, 64)


def test_padding_mirrors_the_picture() -> None:
    seen = []
    run_tiled(noise(5, 8), plan(5, 8, (64, 64), 0, 8), lambda tile: seen.append(tile) or tile)
    assert np.array_equal(seen[0][5:], seen[0][1:4][::-1])


@pytest.mark.parametrize("halo", [29, 32, 1000])
def test_a_halo_that_leaves_nothing_of_a_tile_is_refused(halo: int) -> None:
    with pytest.raises(UsageError, match="tiles of 64 pixels leave nothing inside halos"):
        plan(200, 50, (64, 64), halo, 8)


def test_the_halo_does_not_matter_if_one_tile_is_enough() -> None:
    assert len(plan(64, 64, (64, 64), 1000, 8).tiles) == 1


@pytest.mark.parametrize("halo", [0, 16, 144])
def test_a_picture_that_fits_is_one_tile(halo: int) -> None:
    assert tile_hw(256, 250, 1_500_000, halo, 8) == (256, 256)


@pytest.mark.parametrize("size", [(1, 1), (3000, 4000), (4320, 7680), (1, 300_000), (2000, 2000)], ids=str)
def test_tiles_are_as_large_as_allowed_and_cover_little_twice(size: tuple[int, int]) -> None:
    tile = tile_hw(*size, 1_500_000, 144, 8)
    assert tile[0] * tile[1] <= 1_500_000
    tiles = plan(*size, tile, 144, 8).tiles
    assert len(tiles) * tile[0] * tile[1] <= 1.75 * max(64, size[0]) * max(64, size[1])


def test_tiles_too_small_for_their_halos_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"at least 87616"):
        tile_hw(1000, 1000, 80_000, 144, 8)
