"""Cut a picture into windows of one size for the model, and put the results together without seams.

A window carries a halo: pixels that the model needs to see but whose result is thrown away. With a halo of the model's
receptive field the tiled picture equals the untiled one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from device.errors import UsageError
from device.images.frame import Pixels


@dataclass(frozen=True)
class Tile:
    """Where one window is read from and which part of its result is kept. Pixels of the padded picture."""

    y: int
    x: int
    top: int
    bottom: int
    left: int
    right: int
    """`top`, `bottom`, `left`, `right`: the kept part, in coordinates of the padded picture."""


@dataclass(frozen=True)
class Plan:
    """How a picture of one size goes through the model: padded to `padded_hw`, in windows of `window_hw`."""

    height: int
    width: int
    padded_hw: tuple[int, int]
    window_hw: tuple[int, int]
    tiles: tuple[Tile, ...]


def plan(height: int, width: int, largest_hw: tuple[int, int], halo: int, multiple: int, fixed: bool = False) -> Plan:
    """Plan windows over a picture of `height` x `width`.

    `largest_hw` is the largest window that memory allows, or the model's only size when `fixed`. `halo` pixels are thrown
    away at inner borders. Windows start at multiples of `multiple`, so that strided layers see the grid they would see
    untiled. Raises UsageError if halos leave nothing of a window.
    """
    halo = _up(halo, multiple)
    padded, window = [], []
    for length, largest in zip((height, width), largest_hw, strict=True):
        need = _up(length, multiple)
        window.append(largest if fixed or need > largest else need)
        padded.append(max(need, window[-1]))
        if padded[-1] > window[-1] and window[-1] - 2 * halo < multiple:
            raise UsageError(f"tiles of {window[-1]} pixels leave nothing inside halos of {halo}; use tiles > {2 * halo}")
    rows = _cuts(padded[0], window[0], halo, multiple)
    columns = _cuts(padded[1], window[1], halo, multiple)
    tiles = tuple(Tile(y, x, top, bottom, left, right) for y, top, bottom in rows for x, left, right in columns)
    return Plan(height, width, (padded[0], padded[1]), (window[0], window[1]), tiles)


def window_hw(height: int, width: int, most_pixels: int, halo: int, multiple: int) -> tuple[int, int]:
    """The window, at most `most_pixels` large, for a picture of `height` x `width`: fewest pixels in all, then fewest windows.

    Windows are spread evenly: with halos of 144 pixels a 4000x3000 picture in 4 x 3 windows of 1224x1192 is computed 1.46 times,
    in windows of 1024x1024 it was 2.1 times. Raises UsageError if halos leave nothing of a window.
    """
    halo = _up(halo, multiple)
    sides = [_sides(length, halo, multiple) for length in (height, width)]
    fitting = [(ny * h * nx * w, ny * nx, h, w) for ny, h in sides[0] for nx, w in sides[1] if h * w <= most_pixels]
    if not fitting:
        least = (2 * halo + multiple) ** 2
        raise UsageError(f"windows of {most_pixels} pixels leave nothing inside halos of {halo}; at least {least} are needed")
    _, _, h, w = min(fitting)
    return h, w


def _sides(length: int, halo: int, multiple: int) -> list[tuple[int, int]]:
    """(number of windows, their side) along one side of a picture, from one window to the smallest that halos allow."""
    padded = _up(length, multiple)
    found: list[tuple[int, int]] = []
    for n in range(1, padded // multiple + 1):
        side = _up(-(-(padded + 2 * halo * (n - 1)) // n), multiple)
        if n > 1 and side - 2 * halo < multiple:
            break
        if n == 1 or side < found[-1][1]:
            found.append((n, side))
    return found


def run_tiled(pixels: Pixels, tiling: Plan, restore: Callable[[Pixels], Pixels]) -> Pixels:
    """Restore (height, width, 3) `pixels` window by window. Memory beyond input and output is one window's."""
    height, width = tiling.height, tiling.width
    if len(tiling.tiles) == 1:
        return restore(_window(pixels, tiling, tiling.tiles[0]))[:height, :width]
    out = np.empty_like(pixels)
    for tile in tiling.tiles:
        bottom, right = min(tile.bottom, height), min(tile.right, width)
        if tile.top < bottom and tile.left < right:
            done = restore(_window(pixels, tiling, tile))
            out[tile.top : bottom, tile.left : right] = done[
                tile.top - tile.y : bottom - tile.y, tile.left - tile.x : right - tile.x
            ]
    return out


def _window(pixels: Pixels, tiling: Plan, tile: Tile) -> Pixels:
    """The tile's window; what lies outside the picture is mirrored, so that padding makes no edge of its own."""
    height, width = tiling.window_hw
    part = pixels[tile.y : tile.y + height, tile.x : tile.x + width]
    below, beside = height - part.shape[0], width - part.shape[1]
    if below or beside:
        return cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REFLECT_101)  # type: ignore[return-value]
    return part


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _cuts(length: int, window: int, halo: int, multiple: int) -> list[tuple[int, int, int]]:
    """(window start, first kept, end of kept) along one side; the last window is moved back to end at the border."""
    kept_to, cuts = 0, []
    while kept_to < length:
        start = max(0, kept_to - halo) // multiple * multiple
        start = min(start, _up(max(0, length - window), multiple))
        end = length if start + window >= length else start + window - halo
        cuts.append((start, kept_to, end))
        kept_to = end
    return cuts
