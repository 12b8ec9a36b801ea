"""Example pictures for the report: the input, the restored pictures and the ground truth, side by side."""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import workload
from benchmarks.measure import EXAMPLE_CASES
from benchmarks.records import Example
from benchmarks.rounds import Measurements
from device.images.frame import Pixels
from device.images.picture import encode_picture
from device.images.quality import psnr

INPUT, GROUND_TRUTH = "input", "ground truth"


def examples(measured: Measurements, folder: Path, chosen: Sequence[int], side_px: int = 192) -> tuple[Example, ...]:
    """Cut the centre out of the first picture of some cases: the input, the output of each `chosen` combination, the truth."""
    cut: list[Example] = []
    seen: Counter[str] = Counter()
    for number, (picture, blurred, sharp) in enumerate(workload.scored_pictures(folder)):
        seen[picture.case] += 1
        if picture.case not in EXAMPLE_CASES or seen[picture.case] > 1:
            continue
        shown = [(INPUT, blurred), *_restored(measured, folder, chosen, number), (GROUND_TRUTH, sharp)]
        cut += [_example(label, picture.case, pixels, sharp, side_px) for label, pixels in shown]
    return tuple(cut)


def _restored(measured: Measurements, folder: Path, chosen: Sequence[int], number: int) -> Iterator[tuple[str, Pixels]]:
    for i in chosen:
        key = measured.planned[i].quality_key
        same_output = (k for k, plan in enumerate(measured.planned) if plan.quality_key == key)
        for path in (folder / f"answer-{k}" / f"{number}-restored.npy" for k in same_output):
            if path.is_file():
                yield measured.planned[i].row.label, np.load(path)
                break


def _example(label: str, case: str, pixels: Pixels, sharp: Pixels, side_px: int) -> Example:
    top, left = (max(0, pixels.shape[axis] - side_px) // 2 for axis in (0, 1))
    centre = pixels[top : top + side_px, left : left + side_px]
    png = base64.b64encode(encode_picture(centre, ".png")).decode()
    return Example(label=label, case=case, psnr_db=min(99.0, psnr(pixels, sharp)), png=png)
