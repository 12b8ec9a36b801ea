"""Finds near-duplicates: copies (resized or compressed again) and bursts (shots of one scene, slightly shifted).

Two steps. First, candidates: pairs whose low frequencies of the cosine transform have a high cosine similarity (the perceptual
hash of Zauner, 2010, before it is reduced to bits). Then the fine detail of both thumbnails is correlated at every small shift.
On 264 photographs of five collections the most similar pair of different pictures correlates at 0.58 there, copies at 0.88 or
more, and shots shifted by 1 to 5 % of the frame at 0.64 or more. Crops and mirrored copies are not detected.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.frame import Pixels

SIDE = 64  # of a thumbnail, pixels
_MAX_SHIFT = 6  # pixels of a thumbnail: 9 % of the frame
_CANDIDATE = 0.7  # cosine similarity of the low frequencies
_DUPLICATE, _COPY = 0.65, 0.92  # correlation of the fine detail
_ROWS = 512  # compared at once, to limit the memory

Thumbnail = NDArray[np.uint8]


class Pair(NamedTuple):
    """Two pictures that show the same, by index, the smaller index first."""

    first: int
    second: int
    is_copy: bool
    """True for copies, False for shots of one scene."""


def thumbnail(pixels: Pixels) -> Thumbnail:
    """(64, 64) uint8: the luma of the whole picture; its aspect ratio is not kept."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def find_pairs(thumbnails: list[Thumbnail]) -> list[Pair]:
    """All pairs of near-duplicates, in order. Pictures without detail (a sky, a wall) are never paired."""
    if not thumbnails:
        return []
    coarse = np.stack([_coarse(t) for t in thumbnails])
    fine = [_fine(t) for t in thumbnails]
    pairs = []
    for start in range(0, len(coarse), _ROWS):
        cosines = coarse[start : start + _ROWS] @ coarse.T
        for row, j in np.argwhere(cosines > _CANDIDATE):
            i = start + int(row)
            if i < j and _best_correlation(fine[i], fine[int(j)]) > _DUPLICATE:
                pairs.append(Pair(i, int(j), is_copy=_correlation(fine[i], fine[int(j)]) > _COPY))
    return pairs


def connected_groups(count: int, pairs: list[Pair]) -> list[list[int]]:
    """Group the pictures 0..count-1 that are connected by pairs, directly or through others; a single one is its own group.

    Ordered by the first index.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in pairs:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for i in range(count):
        members.setdefault(root(i), []).append(i)
    return list(members.values())


def _coarse(small: Thumbnail) -> NDArray[np.float32]:
    """(63,) float32 of length 1: the lowest frequencies without the mean; nearly zero for a picture without detail."""
    waves = cv2.dct(cv2.resize(small, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA).astype(np.float32))
    low: NDArray[np.float32] = np.asarray(waves, np.float32)[:8, :8].ravel()[1:]
    return low / np.float32(max(float(np.linalg.norm(low)), 1.0))


def _fine(small: Thumbnail) -> NDArray[np.float32]:
    """(64, 64) float32: the detail without the coarse shapes, which many skies and horizons have in common."""
    values = small.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), SIDE / 16)  # type: ignore[return-value]


def _best_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The highest correlation over all small shifts; 0 for a picture without detail."""
    centre = a[_MAX_SHIFT:-_MAX_SHIFT, _MAX_SHIFT:-_MAX_SHIFT]
    if min(float(centre.std()), float(b.std())) < 0.5:  # grey levels: no detail to compare
        return 0.0
    return float(cv2.matchTemplate(b, centre, cv2.TM_CCOEFF_NORMED).max())


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
