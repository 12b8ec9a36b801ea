"""Copies and bursts are detected. Needs no TensorFlow."""

import cv2
import numpy as np
import pytest

from device.images.degrade import jpeg
from device.images.frame import Pixels
from device.images.scenes import dead_leaves
from train.near_duplicates import Thumbnail, connected_groups, find_pairs, thumbnail
from train.photographs import package_photographs


def half(pixels: Pixels) -> Pixels:
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def brighter(pixels: Pixels) -> Pixels:
    return cv2.convertScaleAbs(pixels, alpha=1.1, beta=8)  # type: ignore[return-value]


def shots(seed: int, count: int = 2, step: int = 4) -> list[Pixels]:
    """Windows of one scene, each `step` pixels further: 2 % of the frame."""
    scene = dead_leaves(200 + step * count, 240 + step * count, seed)
    return [scene[step * i : step * i + 200, step * i : step * i + 240] for i in range(count)]


def thumbnails(*pictures: Pixels) -> list[Thumbnail]:
    return [thumbnail(p) for p in pictures]


@pytest.fixture(scope="module")
def package() -> list[Pixels]:
    """Fourteen different photographs."""
    pytest.importorskip("skimage")
    return [p.sharp for p in package_photographs()]


@pytest.mark.parametrize("change", [lambda p: jpeg(p, 30), half, lambda p: jpeg(half(p), 60), brighter])
def test_only_copies_are_paired(change: object, package: list[Pixels]) -> None:
    pairs = find_pairs(thumbnails(*package, *(change(p) for p in package)))  # type: ignore[operator]
    count = len(package)
    assert pairs == [(i, count + i, True) for i in range(count)]


def test_shots_of_one_scene_are_paired_but_not_as_copies(package: list[Pixels]) -> None:
    def window(pixels: Pixels, share: float) -> Pixels:
        height, width = (round(0.95 * side) for side in pixels.shape[:2])
        top, left = (round(share * side) for side in pixels.shape[:2])
        return pixels[top : top + height, left : left + width]

    natural = [p for p in package if p.std() > 20]
    pairs = find_pairs(thumbnails(*(window(p, 0) for p in natural), *(window(p, 0.03) for p in natural)))
    partners = {(i, j) for i, j, _ in pairs}
    assert not [pair for pair in partners if pair[1] - pair[0] != len(natural)]
    assert len(partners) >= 0.8 * len(natural)
    assert not any(copy for _, _, copy in pairs)


def test_different_pictures_are_not_paired(package: list[Pixels]) -> None:
    assert find_pairs(thumbnails(*package, *(dead_leaves(144, 176, i) for i in range(30)))) == []


def test_pictures_without_detail_are_not_paired() -> None:
    wall = np.full((80, 80, 3), 90, np.uint8)
    sky, other_sky = (np.repeat(np.linspace(top, 220, 80)[:, None, None], 80, 1).repeat(3, 2) for top in (120, 140))
    assert find_pairs(thumbnails(wall, wall, sky.astype(np.uint8), other_sky.astype(np.uint8))) == []
    assert find_pairs([]) == []


def test_groups_connect_pictures_through_others() -> None:
    assert connected_groups(6, [(1, 3, True), (3, 5, False), (0, 2, False)]) == [[0, 2], [1, 3, 5], [4]]
    assert connected_groups(3, []) == [[0], [1], [2]]
