"""The split into training and validation pictures; copies and shots of one scene stay on one side."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from device.errors import UsageError
from train import near_duplicates
from train.photographs import Photograph

log = logging.getLogger(__name__)
AnyPicture = TypeVar("AnyPicture", bound=Photograph)
Item = TypeVar("Item")


def split(
    pictures: Sequence[Item], val_share: float, seed: int, groups: Sequence[Sequence[int]] = ()
) -> tuple[list[Item], list[Item]]:
    """Split by picture into (training, validation). With a share of 0 both are all pictures, as in tutorials.

    `groups` are indices of pictures that must stay on one side (`train.near_duplicates`). Pictures without a group, or alone in
    one, are drawn as if there were no groups. If every group is larger than the share, the smallest group is held out.
    """
    if val_share == 0:
        return list(pictures), list(pictures)
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(pictures))]
    wanted = min(max(1, round(len(pictures) * val_share)), len(pictures) - 1)
    group_of = {i: group for group in groups for i in group}
    held_out: set[int] = set()
    for i in order:
        group = group_of.get(i, [i])
        if i not in held_out and len(held_out) + len(group) <= wanted:
            held_out.update(group)
    if not held_out:
        smallest = min((group_of.get(i, [i]) for i in order), key=len)
        if len(smallest) == len(pictures):
            log.warning("all pictures show the same scene, so the validation figures say little about other scenes")
            smallest = order[:wanted]
        held_out.update(smallest)
    return [p for i, p in enumerate(pictures) if i not in held_out], [p for i, p in enumerate(pictures) if i in held_out]


def split_by_names(
    pictures: Sequence[AnyPicture], train: Sequence[str], validation: Sequence[str], run: Path
) -> tuple[list[AnyPicture], list[AnyPicture]]:
    """The split that the resumed `run` stored, by the names of its pictures. Raises UsageError if the pictures have changed."""
    by_name = {p.name: p for p in pictures}
    if by_name.keys() != {*train, *validation}:
        raise UsageError(
            f"{run}: its pictures have changed since it started ({len(pictures)} now); restore them, or "
            "start a new run with another --out"
        )
    return [by_name[name] for name in train], [by_name[name] for name in validation]


def scene_groups(pictures: Sequence[Photograph]) -> list[list[int]]:
    """The groups of pictures that `split` keeps on one side: copies of each other, or shots of one scene."""
    pairs = near_duplicates.find_pairs([p.thumbnail for p in pictures])
    return near_duplicates.connected_groups(len(pictures), pairs)
