"""Pictures for the quantiser and for the gate: the run's own, through the run's own degradations."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from device.degrade import to_pixels
from device.errors import DataError
from device.frame import PixelCodec, Pixels, TensorSpec
from train.data import Batch, Picture, fixed_pairs, load_photographs, read_named
from train.run_folder import RunRecord
from train.store import Photograph

CALIBRATION_PICTURES = 48  # a choice, not measured: how many are enough is still to be found


def calibration_pictures(record: RunRecord, folder: Path | None, side: int) -> list[np.ndarray]:
    """(1, side, side, 3 or 1) float32, blurred: from `folder` or the run's training pictures; never its validation ones.

    A ramp from black to white comes first, so that input and output span exactly 0..1 and their scale is 1/255.
    """
    if folder is not None:
        pictures: Sequence[Photograph] = load_photographs(folder, 32)
    else:
        pictures = _read(record, _spread(record.data.train, CALIBRATION_PICTURES))
    blurred, _ = _pairs(record, pictures[:CALIBRATION_PICTURES], side, seed=record.seed + 7)
    ramp = np.linspace(0, 1, side, dtype=np.float32)[None, :, None] * np.ones((side, 1, 3), np.float32)
    return [network_input(picture, record.network.colour) for picture in (ramp, *blurred)]


def held_out_pairs(record: RunRecord, side: int, most: int = 24) -> Batch:
    """Blurred and sharp pictures that training never saw, as uint8-exact floats (n, side, side, 3)."""
    return _pairs(record, _read(record, _spread(record.data.validation, most)), side, seed=record.seed)


def network_input(picture: np.ndarray, colour: str) -> np.ndarray:
    """(h, w, 3) in 0..1 -> (1, h, w, 3 or 1) float32, through the codec that the board uses."""
    plain = TensorSpec("", "float32")
    return PixelCodec(plain, plain, colour).to_tensor(to_pixels(picture))


def _pairs(record: RunRecord, pictures: Sequence[Photograph], side: int, seed: int) -> Batch:
    whole = record.network.fixed_hw is not None
    if not whole:
        pictures = [Picture(p.name, *(_filled(v, side) for v in (p.sharp, p.blurred) if v is not None)) for p in pictures]
    return fixed_pairs(pictures, record.blur, side=side, whole=whole, multiple=record.network.pad_multiple, seed=seed)


def _filled(pixels: Pixels, side: int) -> Pixels:
    """A picture smaller than `side` is mirrored at its borders until it fills it: converters want one size."""
    below, beside = (max(0, side - length) for length in pixels.shape[:2])
    return cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_REFLECT)  # type: ignore[return-value]


def _spread(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    """At most `most` names, evenly over the list, so that every folder is met."""
    chosen = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return tuple(names[i] for i in chosen)


def _read(record: RunRecord, names: tuple[str, ...]) -> list[Picture]:
    try:
        return read_named(record.data.kind, record.data.folders, names)
    except DataError as error:
        raise DataError(f"the run's own pictures are needed to calibrate and to compare: {error}") from error
