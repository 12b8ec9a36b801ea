"""Cut a picture into tiles of one size for the model, and join the results without seams.

Neighbouring tiles overlap by a halo: pixels that the model needs as input but whose output is discarded. If the halo is as
wide as the model's receptive field, the tiled result equals the untiled one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from device.errors import UsageError
from device.images.frame import Pixels


@dataclass(frozen=True)
class Tile:
    """Where one tile starts and which part of its output is kept, in pixels of the padded picture."""

    y: int
    x: int
    top: int
    bottom: int
    left: int
    right: int
    """`top`, `bottom`, `left`, `right`: the kept part."""


@dataclass(frozen=True)
class Plan:
    """How a picture of one size goes through the model: padded to `padded_hw`, in tiles of `tile_hw`."""

    height: int
    width: int
    padded_hw: tuple[int, int]
    tile_hw: tuple[int, int]
    tiles: tuple[Tile, ...]


def plan(height: int, width: int, largest_hw: tuple[int, int], halo: int, multiple: int, fixed: bool = False) -> Plan:
    """Cover a picture of `height` x `width` with tiles.

    `largest_hw` is the largest tile that memory allows, or, if `fixed`, the only size that the model takes. `halo` pixels are
    discarded at inner borders. Tiles start at multiples of `multiple`, so that strided layers see the same grid as untiled.
    Raises UsageError if the halos leave nothing of a tile.
    """
    halo = _up(halo, multiple)
    padded, tile = [], []
    for length, largest in zip((height, width), largest_hw, strict=True):
        need = _up(length, multiple)
        tile.append(largest if fixed or need > largest else need)
        padded.append(max(need, tile[-1]))
        if padded[-1] > tile[-1] and tile[-1] - 2 * halo < multiple:
            raise UsageError(f"tiles of {tile[-1]} pixels leave nothing inside halos of {halo}; use tiles > {2 * halo}")
    rows = _cuts(padded[0], tile[0], halo, multiple)
    columns = _cuts(padded[1], tile[1], halo, multiple)
    tiles = tuple(Tile(y, x, top, bottom, left, right) for y, top, bottom in rows for x, left, right in columns)
    return Plan(height, width, (padded[0], padded[1]), (tile[0], tile[1]), tiles)


def tile_hw(height: int, width: int, most_pixels: int, halo: int, multiple: int) -> tuple[int, int]:
    """The tile size, at most `most_pixels`, for a picture of `height` x `width`: fewest pixels in total, then fewest tiles.

    Tiles are spread evenly: with halos of 144 pixels a 4000x3000 picture is computed 1.46 times in 4 x 3 tiles of 1224x1192,
    but 2.1 times in tiles of 1024x1024. Raises UsageError if the halos leave nothing of a tile.
    """
    halo = _up(halo, multiple)
    sides = [_sides(length, halo, multiple) for length in (height, width)]
    fitting = [(ny * h * nx * w, ny * nx, h, w) for ny, h in sides[0] for nx, w in sides[1] if h * w <= most_pixels]
    if not fitting:
        least = (2 * halo + multiple) ** 2
        raise UsageError(f"tiles of {most_pixels} pixels leave nothing inside halos of {halo}; at least {least} are needed")
    _, _, h, w = min(fitting)
    return h, w


def _sides(length: int, halo: int, multiple: int) -> list[tuple[int, int]]:
    """(number of tiles, their side) along one side of a picture, from one tile to the smallest that the halos allow."""
    padded = _up(length, multiple)
    sides: list[tuple[int, int]] = []
    for n in range(1, padded // multiple + 1):
        side = _up(-(-(padded + 2 * halo * (n - 1)) // n), multiple)
        if n > 1 and side - 2 * halo < multiple:
            break
        if n == 1 or side < sides[-1][1]:
            sides.append((n, side))
    return sides


def run_tiled(pixels: Pixels, layout: Plan, restore: Callable[[Pixels], Pixels]) -> Pixels:
    """Restore (height, width, 3) or (height, width) `pixels` tile by tile. Memory beyond input and output is one tile's."""
    height, width = layout.height, layout.width
    if len(layout.tiles) == 1:
        return restore(_cut_out(pixels, layout, layout.tiles[0]))[:height, :width]
    out = np.empty_like(pixels)
    for tile in layout.tiles:
        bottom, right = min(tile.bottom, height), min(tile.right, width)
        if tile.top < bottom and tile.left < right:
            done = restore(_cut_out(pixels, layout, tile))
            out[tile.top : bottom, tile.left : right] = done[
                tile.top - tile.y : bottom - tile.y, tile.left - tile.x : right - tile.x
            ]
    return out


def _cut_out(pixels: Pixels, layout: Plan, tile: Tile) -> Pixels:
    """The pixels of a tile; outside the picture they are mirrored, so that padding adds no edge."""
    height, width = layout.tile_hw
    part = pixels[tile.y : tile.y + height, tile.x : tile.x + width]
    below, beside = height - part.shape[0], width - part.shape[1]
    if below or beside:
        return cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REFLECT_101)  # type: ignore[return-value]
    return part


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _cuts(length: int, tile: int, halo: int, multiple: int) -> list[tuple[int, int, int]]:
    """(start of the tile, first kept, end of kept) along one side; the last tile is moved back to end at the border."""
    kept_to, cuts = 0, []
    while kept_to < length:
        start = max(0, kept_to - halo) // multiple * multiple
        start = min(start, _up(max(0, length - tile), multiple))
        end = length if start + tile >= length else start + tile - halo
        cuts.append((start, kept_to, end))
        kept_to = end
    return cuts
