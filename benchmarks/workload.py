"""The input of every combination: one frame to time and pictures to score, written to a folder once for all processes."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases
from benchmarks.records import CaseQuality
from device.blur.estimate import estimate_picture
from device.blur.psf import Psf
from device.blur.psf_file import read_psf, write_psf
from device.images.frame import Pixels, luma_of
from device.images.quality import psnr, ssim
from device.images.scenes import chart, dead_leaves

MAX_SIDE_PX = 768
FRAME_PSF = Psf("gaussian", 2.0, linear=False)
"""Of the frame that is timed: networks undo it, as they do in `run` where a blur is clear."""
_GENERATED_HW = (256, 384)


@dataclass(frozen=True)
class ScoredPicture:
    """One picture of a case, with the quality of its blurred version."""

    case: str
    name: str
    input_psnr_db: float
    input_ssim: float
    kernel_known: bool
    """Whether `cases.true_kernel` blurred it."""


def write(folder: Path, size_wh: tuple[int, int], data: Path | None, most: int) -> str:
    """Write the frame and the pictures; return a description of the pictures.

    Takes at most `most` pictures of `data` (sharp ones, or ready-made pairs), evenly spaced, and of each the centre of at most
    768x768; without `data`, four generated scenes. Raises DataError for a folder without pictures or with an unreadable one.
    """
    write_frame(folder, size_wh)
    index: list[dict[str, Any]] = []
    for case in cases.CASES if data is None else cases.cases_in(data):
        known = data is None or cases.kernel_is_known(data, case)
        for pair in _generated(case) if data is None else cases.pairs(data, case, most):
            blurred, sharp = _centre(pair.blurred), _centre(pair.sharp)
            np.save(folder / f"{len(index)}-blurred.npy", blurred)
            np.save(folder / f"{len(index)}-sharp.npy", sharp)
            write_psf(folder / f"{len(index)}-psf.json", estimate_picture(luma_of(blurred)), None)
            index.append(asdict(ScoredPicture(case, pair.name, psnr(blurred, sharp), ssim(blurred, sharp), known)))
    (folder / "index.json").write_text(json.dumps(index))
    names = len({entry["name"] for entry in index})
    words = f"{names} generated scenes of 384x256" if data is None else f"{names} pictures of {data.name}"
    return f"{words}, {len({entry['case'] for entry in index})} cases"


def write_frame(folder: Path, size_wh: tuple[int, int]) -> None:
    """Write the frame that is timed: a blurred one, because the outputs of all networks match on a sharp one."""
    np.save(folder / "frame.npy", cases.degrade(chart(size_wh[1], size_wh[0]), "gauss-2.0", "frame"))


def frame(folder: Path) -> Pixels:
    """(height, width, 3) uint8: the frame that is timed."""
    return np.load(folder / "frame.npy")


def estimated_psf(folder: Path, number: int) -> Psf:
    """The blur of the picture of this number as `run` estimates it; once for all combinations, which all restore with it."""
    return read_psf(folder / f"{number}-psf.json")


def scored_pictures(folder: Path) -> Iterator[tuple[ScoredPicture, Pixels, Pixels]]:
    """Yield every picture with its blurred and its sharp pixels."""
    for number, entry in enumerate(json.loads((folder / "index.json").read_text())):
        yield ScoredPicture(**entry), np.load(folder / f"{number}-blurred.npy"), np.load(folder / f"{number}-sharp.npy")


def summarise(scores: dict[str, list[tuple[ScoredPicture, float, float]]]) -> tuple[dict[str, CaseQuality], float | None]:
    """Return (means by case, mean gain over the blurred cases); `scores` has (picture, PSNR, SSIM) of restored pictures."""
    by_case = {}
    for case, rows in scores.items():
        gains = [after - picture.input_psnr_db for picture, after, _ in rows]
        by_case[case] = CaseQuality(
            input_psnr_db=float(np.mean([picture.input_psnr_db for picture, _, _ in rows])),
            psnr_db=float(np.mean([after for _, after, _ in rows])),
            gain_db=float(np.mean(gains)),
            worst_gain_db=float(np.min(gains)),
            ssim=float(np.mean([similarity for _, _, similarity in rows])),
            ssim_gain=float(np.mean([similarity - picture.input_ssim for picture, _, similarity in rows])),
        )
    blurred = [quality.gain_db for case, quality in by_case.items() if not case.startswith("sharp")]
    return by_case, float(np.mean(blurred)) if blurred else None


def _generated(case: str) -> Iterator[cases.Pair]:
    for name, sharp in _scenes().items():
        yield cases.Pair(name, cases.degrade(sharp, case, name), sharp)


@cache  # each takes a while, and all cases have the same
def _scenes() -> dict[str, Pixels]:
    height, width = _GENERATED_HW
    return {f"leaves-{seed}": dead_leaves(height, width, seed) for seed in (11, 12, 13)} | {"chart": chart(height, width, 14)}


def _centre(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    top, left = max(0, height - MAX_SIDE_PX) // 2, max(0, width - MAX_SIDE_PX) // 2
    return np.ascontiguousarray(pixels[top : top + MAX_SIDE_PX, left : left + MAX_SIDE_PX])
