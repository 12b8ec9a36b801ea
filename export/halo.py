"""How far a network sees, measured: what must be thrown away at the borders of a tile."""

from collections.abc import Callable

import numpy as np

Reference = Callable[[np.ndarray], np.ndarray]


def measure_halo(reference: Reference, pictures: np.ndarray, multiple: int, level: float = 3e-6) -> int:
    """How far from a tile's inner border the result still differs by more than `level` from the untiled one, in pixels.

    The default level is just above the noise of float arithmetic. Half a grey level would do for fp32, but in int8 a small
    difference grows to several levels where it crosses a rounding border (`small`: 56 pixels, and seams of 13 levels).
    Measured with `reference` on (n, side, side, c) pictures, tiles of half the side cut from the middle of each; a multiple
    of `multiple`. A halo of a quarter of the side cannot be told from a larger one.
    """
    size = pictures.shape[1]
    tile = size // 2 // multiple * multiple
    start = (size - tile) // 2 // multiple * multiple
    inside = np.s_[start : start + tile, start : start + tile]
    y, x = np.mgrid[:tile, :tile]
    depth = np.minimum(np.minimum(y, tile - 1 - y), np.minimum(x, tile - 1 - x))
    deepest = 0
    for picture in pictures:
        whole = reference(picture[None])[0][inside]
        alone = reference(picture[inside][None])[0]
        differs = np.abs(whole - alone).max(-1) > level
        if differs.any():
            deepest = max(deepest, int(depth[differs].max()) + 1)
    return -(-deepest // multiple) * multiple


def measure_fixed_halo(
    reference: Reference, pictures: np.ndarray, size: tuple[int, int], multiple: int, level: float = 3e-6
) -> int:
    """The same for a network that takes `size` (height, width) only: two tiles that overlap by three quarters of each side.

    Where they differ, the nearer of their inner borders has been seen. `pictures` are (n, h, w, c), half as large again as
    `size` or more. 0 for a network that sees its whole tile, such as one with a dense bottleneck: there are no halos that
    would help.
    """
    height, width = size
    down, across = (max(multiple, length // 4 // multiple * multiple) for length in size)
    deepest = 0
    for picture in pictures:
        one = reference(picture[None, :height, :width])[0][down:, across:]
        other = reference(picture[None, down : down + height, across : across + width])[0][: height - down, : width - across]
        y, x = np.mgrid[: height - down, : width - across]
        # Of the first tile the lower and right borders are inner ones, of the second the upper and left ones.
        depth = np.minimum(np.minimum(y, x), np.minimum(height - down - 1 - y, width - across - 1 - x))
        differs = np.abs(one - other).max(-1) > level
        if differs.any():
            deepest = max(deepest, int(depth[differs].max()) + 1)
    halo = -(-deepest // multiple) * multiple
    return halo if 2 * halo + multiple <= min(height, width) and deepest < min(height - down, width - across) // 2 else 0


def mosaics(pictures: np.ndarray, at_least: int = 1024, most: int = 4) -> np.ndarray:
    """(n, h, w, c) -> up to `most` square pictures of `at_least` pixels or more a side, made of the given ones side by side.

    There is content on both sides of every border, which a smaller picture could not show.
    """
    count, (height, width) = len(pictures), pictures.shape[1:3]
    down, across = -(-at_least // height), -(-at_least // width)
    side = min(down * height, across * width)

    def row(first: int) -> np.ndarray:
        return np.concatenate([pictures[(first + k) % count] for k in range(across)], 1)

    made = [np.concatenate([row(i + k) for k in range(down)], 0)[:side, :side] for i in range(min(most, count))]
    return np.stack(made)
