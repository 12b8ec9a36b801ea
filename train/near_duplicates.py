"""Pictures that show the same: copies (resized, compressed again) and bursts (shots of one scene, slightly shifted).

Two steps. The cosine of the low frequencies of the cosine transform (the perceptual hash of Zauner, 2010, before it is cut
down to bits) finds who may be alike; then the fine detail of both thumbnails is laid over each other at every small
shift. On 264 photographs of five collections the most alike pair of different pictures correlates at 0.58 there; copies at
0.88 or more, shots shifted by 1 to 5 % of the frame at 0.64 or more. Crops and mirrored copies are not found.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.frame import Pixels

SIDE = 64  # of a thumbnail, pixels
_SHIFT = 6  # at most, pixels of a thumbnail: 9 % of the frame
_LIKELY, _ALIKE, _COPY = 0.7, 0.65, 0.92
_ROWS = 512  # compared at once: bounds the memory

Thumbnail = NDArray[np.uint8]
Pair = tuple[int, int, bool]  # two indices, the smaller first, and whether they are copies rather than shots of one scene


def thumbnail(pixels: Pixels) -> Thumbnail:
    """(64, 64) uint8: the luma of the whole picture, whatever its shape."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def alike(thumbnails: list[Thumbnail]) -> list[Pair]:
    """All pairs of pictures that show the same, in order. Plain ones (a sky, a wall) are like nothing."""
    if not thumbnails:
        return []
    coarse = np.stack([_coarse(t) for t in thumbnails])
    fine = [_fine(t) for t in thumbnails]
    found = []
    for start in range(0, len(coarse), _ROWS):
        cosines = coarse[start : start + _ROWS] @ coarse.T
        for row, j in np.argwhere(cosines > _LIKELY):
            i = start + int(row)
            if i < j and _over_each_other(fine[i], fine[int(j)]) > _ALIKE:
                found.append((i, int(j), _aligned(fine[i], fine[int(j)]) > _COPY))
    return found


def groups(count: int, pairs: list[Pair]) -> list[list[int]]:
    """The pictures 0..count-1 with what is like them, directly or through others; singles are groups of one. In order."""
    first = list(range(count))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    for i, j, _ in pairs:
        low, high = sorted((root(i), root(j)))
        first[high] = low
    members: dict[int, list[int]] = {}
    for i in range(count):
        members.setdefault(root(i), []).append(i)
    return list(members.values())


def _coarse(small: Thumbnail) -> NDArray[np.float32]:
    """(63,) float32 of length 1: the lowest frequencies but the mean; zeros for a plain picture."""
    waves = cv2.dct(cv2.resize(small, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA).astype(np.float32))
    low: NDArray[np.float32] = np.asarray(waves, np.float32)[:8, :8].ravel()[1:]
    return low / np.float32(max(float(np.linalg.norm(low)), 1.0))


def _fine(small: Thumbnail) -> NDArray[np.float32]:
    """(64, 64) float32: what is left when the coarse shapes are taken away; they are alike in many skies and horizons."""
    values = small.astype(np.float32)
    return values - cv2.GaussianBlur(values, (0, 0), SIDE / 16)  # type: ignore[return-value]


def _over_each_other(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The highest correlation over all shifts."""
    middle = a[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT]
    if min(float(middle.std()), float(b.std())) < 0.5:  # grey levels: nothing to compare
        return 0.0
    return float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max())


def _aligned(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
