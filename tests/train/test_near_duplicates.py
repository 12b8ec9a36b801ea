"""Copies and bursts are found, and stay on one side of the split. Needs no TensorFlow."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import UsageError
from device.images.degrade import jpeg
from device.images.frame import Pixels
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from train.near_duplicates import Thumbnail, connected_groups, find_pairs, thumbnail
from train.photographs import MemoryPhotograph, load_pairs, load_photographs, package_photographs
from train.split import scene_groups, split, split_by_names


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
def test_copies_are_found_and_nothing_else(change: object, package: list[Pixels]) -> None:
    found = find_pairs(thumbnails(*package, *(change(p) for p in package)))  # type: ignore[operator]
    count = len(package)
    assert found == [(i, count + i, True) for i in range(count)]


def test_shots_of_one_scene_are_found_and_are_no_copies(package: list[Pixels]) -> None:
    def window(pixels: Pixels, share: float) -> Pixels:
        height, width = (round(0.95 * side) for side in pixels.shape[:2])
        top, left = (round(share * side) for side in pixels.shape[:2])
        return pixels[top : top + height, left : left + width]

    natural = [p for p in package if p.std() > 20]
    found = find_pairs(thumbnails(*(window(p, 0) for p in natural), *(window(p, 0.03) for p in natural)))
    partners = {(i, j) for i, j, _ in found}
    assert not [pair for pair in partners if pair[1] - pair[0] != len(natural)]
    assert len(partners) >= 0.8 * len(natural)
    assert not any(copy for _, _, copy in found)


def test_different_pictures_are_not_alike(package: list[Pixels]) -> None:
    assert find_pairs(thumbnails(*package, *(dead_leaves(144, 176, i) for i in range(30)))) == []


def test_plain_pictures_are_like_nothing() -> None:
    wall = np.full((80, 80, 3), 90, np.uint8)
    sky, other_sky = (np.repeat(np.linspace(top, 220, 80)[:, None, None], 80, 1).repeat(3, 2) for top in (120, 140))
    assert find_pairs(thumbnails(wall, wall, sky.astype(np.uint8), other_sky.astype(np.uint8))) == []
    assert find_pairs([]) == []


def test_groups_join_what_is_alike_through_others() -> None:
    assert connected_groups(6, [(1, 3, True), (3, 5, False), (0, 2, False)]) == [[0, 2], [1, 3, 5], [4]]
    assert connected_groups(3, []) == [[0], [1], [2]]


# the split


def test_single_pictures_are_split_as_without_groups() -> None:
    for count in (2, 3, 17, 264):
        names = [f"{i}.png" for i in range(count)]
        order = np.random.default_rng(5).permutation(count)  # what runs before groups were known did
        held_out = min(max(1, round(count * 0.2)), count - 1)
        before = [names[i] for i in sorted(order[held_out:])], [names[i] for i in sorted(order[:held_out])]
        assert split(names, 0.2, 5) == split(names, 0.2, 5, [[i] for i in range(count)]) == before


def test_a_group_stays_on_one_side() -> None:
    together = [[0, 1, 2], [3, 4], *([i] for i in range(5, 20))]
    sides = set()
    for seed in range(40):
        train, validation = split(range(20), 0.25, seed, together)
        assert sorted(train + validation) == list(range(20))
        assert len(validation) == 5
        for group in together:
            assert len({i in validation for i in group}) == 1
        sides.add((0 in validation, 3 in validation))
    assert len(sides) >= 3  # groups are drawn, too


def test_groups_larger_than_the_share_leave_the_smallest_to_validate_on() -> None:
    train, validation = split(range(9), 0.1, 0, [[0, 1, 2, 3], [4, 5], [6, 7, 8]])
    assert validation == [4, 5]
    assert len(train) == 7


def test_pictures_of_one_scene_only_are_split_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    train, validation = split(range(10), 0.2, 0, [list(range(10))])
    assert (len(train), len(validation)) == (8, 2)
    assert "all pictures show the same scene" in caplog.text


def test_copies_and_bursts_in_a_folder_are_on_one_side(tmp_path: Path) -> None:
    for i in range(12):
        write_picture(tmp_path / f"single{i:02}.png", dead_leaves(200, 240, i))
    for i, shot in enumerate(shots(100, 3)):
        write_picture(tmp_path / f"burst{i}.png", shot)
    write_picture(tmp_path / "sub" / "copy.jpg", half(dead_leaves(200, 240, 4)))
    pictures = load_photographs(tmp_path, 32)
    together = scene_groups(pictures)
    assert [[pictures[i].name for i in g] for g in together if len(g) > 1] == [
        ["burst0.png", "burst1.png", "burst2.png"],
        ["single04.png", "sub/copy.jpg"],
    ]
    for seed in range(20):
        held_out = {p.name for p in split(pictures, 0.3, seed, together)[1]}
        assert len(held_out & {"burst0.png", "burst1.png", "burst2.png"}) in (0, 3)
        assert len(held_out & {"single04.png", "sub/copy.jpg"}) in (0, 2)


def test_pairs_are_grouped_by_their_sharp_pictures(tmp_path: Path) -> None:
    sharp = [*(dead_leaves(200, 240, i) for i in range(3)), *shots(100)]
    for i, pixels in enumerate(sharp):
        write_picture(tmp_path / "sharp" / f"{i}.png", pixels)
        write_picture(tmp_path / "blurred" / f"{i}.png", cv2.GaussianBlur(pixels, (0, 0), 2))  # type: ignore[arg-type]
    assert scene_groups(load_pairs(tmp_path / "blurred", tmp_path / "sharp", 32)) == [[0], [1], [2], [3, 4]]


def test_a_run_that_goes_on_keeps_the_split_it_stored(tmp_path: Path) -> None:
    pictures = [MemoryPhotograph(f"{i}.png", dead_leaves(20, 20, i)) for i in range(5)]
    stored = ["0.png", "3.png", "4.png"], ["1.png", "2.png"]
    train, validation = split_by_names(pictures, *stored, tmp_path)
    assert ([p.name for p in train], [p.name for p in validation]) == stored
    for others in (pictures[:4], [*pictures, MemoryPhotograph("5.png", pictures[0].sharp)]):
        with pytest.raises(UsageError, match=rf"its pictures have changed since it started \({len(others)} now\)"):
            split_by_names(others, *stored, tmp_path)
