"""The split into training and validation pictures keeps near-duplicates on one side. Needs no TensorFlow."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import UsageError
from device.images.frame import Pixels
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from train.photographs import MemoryPhotograph, load_pairs, load_photographs
from train.split import scene_groups, split, split_by_names


def half(pixels: Pixels) -> Pixels:
    return cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def shots(seed: int, count: int = 2, step: int = 4) -> list[Pixels]:
    """Windows of one scene, each `step` pixels further: 2 % of the frame."""
    scene = dead_leaves(200 + step * count, 240 + step * count, seed)
    return [scene[step * i : step * i + 200, step * i : step * i + 240] for i in range(count)]


def leaves(count: int, height: int = 72, width: int = 90) -> list[MemoryPhotograph]:
    return [MemoryPhotograph(f"{i}.png", dead_leaves(height, width, i)) for i in range(count)]


def names(pictures: list[MemoryPhotograph]) -> list[str]:
    return [p.name for p in pictures]


@pytest.mark.parametrize(("count", "share", "held_out"), [(10, 0.2, 2), (10, 0.25, 2), (10, 0.01, 1), (2, 0.99, 1), (3, 0.9, 2)])
def test_the_split_is_by_picture_and_leaves_something_on_both_sides(count: int, share: float, held_out: int) -> None:
    pictures = leaves(count, 16, 16)
    train, validation = split(pictures, share, seed=4)
    assert len(validation) == held_out
    assert sorted(names(train) + names(validation)) == sorted(names(pictures))


def test_the_split_depends_on_the_seed_alone() -> None:
    pictures = leaves(12, 16, 16)
    assert names(split(pictures, 0.3, 5)[1]) == names(split(pictures, 0.3, 5)[1])
    assert len({tuple(names(split(pictures, 0.3, seed)[1])) for seed in range(8)}) > 1


def test_a_share_of_zero_validates_on_the_training_pictures() -> None:
    pictures = leaves(3, 16, 16)
    train, validation = split(pictures, 0, 0)
    assert names(train) == names(validation) == names(pictures)


# near-duplicates


def test_groups_of_one_picture_do_not_change_the_split() -> None:
    for count in (2, 3, 17, 264):
        names = [f"{i}.png" for i in range(count)]
        order = np.random.default_rng(5).permutation(count)  # the rule of runs from before groups existed
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


def test_if_all_groups_exceed_the_share_the_smallest_is_held_out() -> None:
    train, validation = split(range(9), 0.1, 0, [[0, 1, 2, 3], [4, 5], [6, 7, 8]])
    assert validation == [4, 5]
    assert len(train) == 7


def test_a_data_set_of_one_scene_is_split_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_resumed_run_keeps_its_stored_split(tmp_path: Path) -> None:
    pictures = [MemoryPhotograph(f"{i}.png", dead_leaves(20, 20, i)) for i in range(5)]
    stored = ["0.png", "3.png", "4.png"], ["1.png", "2.png"]
    train, validation = split_by_names(pictures, *stored, tmp_path)
    assert ([p.name for p in train], [p.name for p in validation]) == stored
    for others in (pictures[:4], [*pictures, MemoryPhotograph("5.png", pictures[0].sharp)]):
        with pytest.raises(UsageError, match=rf"its pictures have changed since it started \({len(others)} now\)"):
            split_by_names(others, *stored, tmp_path)
