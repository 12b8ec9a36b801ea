"""How far a network sees, measured: the border of a tile whose result must be thrown away."""

import logging
from collections.abc import Callable

import numpy as np

from device.errors import ExportError, UsageError
from device.restore.self_check import scene_pairs
from export.export_source import ExportSource

Reference = Callable[[np.ndarray], np.ndarray]
log = logging.getLogger(__name__)


def halo_of(source: ExportSource, inputs: np.ndarray, size: tuple[int, int] | None) -> int:
    """The network's halo in pixels, measured on mosaics of `inputs` (n, h, w, c); its files are for `size` (height, width).

    Raises ExportError for a network that sees farther than tiles can hold, UsageError for too small a `size`.
    """
    multiple, fixed = source.manifest.pad_multiple, source.manifest.fixed_hw
    if fixed:
        pictures = mosaics(inputs, at_least=2 * max(fixed))
        halo = measure_fixed_halo(source.reference, pictures, (fixed[0], fixed[1]), multiple)
        if not halo:
            log.warning("the network sees its whole tile: pictures larger than %dx%d may show seams", fixed[1], fixed[0])
        return halo
    pictures = mosaics(inputs)
    halo = measure_halo(source.reference, pictures, multiple)
    if halo >= pictures.shape[1] // 4 // multiple * multiple:
        raise ExportError(
            f"the network sees {halo} pixels far or more, so a picture restored in tiles would differ from one restored whole "
            "(means over the whole picture have this effect); give a network that sees less, or one of a fixed size"
        )
    if size and min(size) - 2 * halo < multiple:
        height, width = np.max([blurred.shape[:2] for blurred, _ in scene_pairs()], 0)
        if size[0] < height or size[1] < width:  # not even the board's self-check fits
            least = -(-(2 * halo + multiple) // multiple) * multiple
            raise UsageError(f"--size {size[1]}x{size[0]}: halos of {halo} pixels leave nothing of it; at least {least}x{least}")
        log.warning("pictures larger than %dx%d cannot be restored: the halo is %d pixels", *size[::-1], halo)
    return halo


def measure_halo(reference: Reference, pictures: np.ndarray, multiple: int, level: float = 3e-6) -> int:
    """How far from a tile's inner border, in pixels, the result still differs by more than `level` from the untiled one.

    Measured with `reference` on pictures (n, side, side, c), in tiles of half the side cut from the middle of each. The
    result is a multiple of `multiple`; a halo of a quarter of the side cannot be distinguished from a larger one.
    The default level is just above the noise of float arithmetic. Half a grey level would be enough for fp32, but in int8 a
    small difference grows to several levels where it crosses a rounding border (`small`: 56 pixels, and seams of 13 levels).
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
    """The same for a network that takes only `size` (height, width), from two tiles that overlap by 3/4 of each side.

    Where they differ, the network has seen the nearer one of their inner borders. `pictures` are (n, h, w, c), at least half
    as large again as `size`. Returns 0 for a network that sees its whole tile, such as one with a dense bottleneck: no halo
    would help there.
    """
    height, width = size
    down, across = (max(multiple, length // 4 // multiple * multiple) for length in size)
    deepest = 0
    for picture in pictures:
        one = reference(picture[None, :height, :width])[0][down:, across:]
        other = reference(picture[None, down : down + height, across : across + width])[0][: height - down, : width - across]
        y, x = np.mgrid[: height - down, : width - across]
        # The first tile's inner borders are its lower and right ones, the second's its upper and left ones.
        depth = np.minimum(np.minimum(y, x), np.minimum(height - down - 1 - y, width - across - 1 - x))
        differs = np.abs(one - other).max(-1) > level
        if differs.any():
            deepest = max(deepest, int(depth[differs].max()) + 1)
    halo = -(-deepest // multiple) * multiple
    return halo if 2 * halo + multiple <= min(height, width) and deepest < min(height - down, width - across) // 2 else 0


def mosaics(pictures: np.ndarray, at_least: int = 1024, most: int = 4) -> np.ndarray:
    """Up to `most` square pictures of `at_least` pixels or more a side, from pictures (n, h, w, c) laid side by side.

    So there is content on both sides of every tile's border, which a smaller picture could not have.
    """
    count, (height, width) = len(pictures), pictures.shape[1:3]
    down, across = -(-at_least // height), -(-at_least // width)
    side = min(down * height, across * width)

    def row(first: int) -> np.ndarray:
        return np.concatenate([pictures[(first + k) % count] for k in range(across)], 1)

    squares = [np.concatenate([row(i + k) for k in range(down)], 0)[:side, :side] for i in range(min(most, count))]
    return np.stack(squares)
