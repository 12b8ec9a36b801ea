"""Distillation: a finished run teaches another one, by showing what it makes of each blurred batch."""

from pathlib import Path

import numpy as np

from device.bundle.manifest import file_facts
from device.errors import BundleError, UsageError
from device.images.degrade import to_luma
from train.accelerator import Devices
from train.architectures import Architecture
from train.data import Batch
from train.run_folder import WEIGHTS, read_run
from train.weights import load_network


class Teacher:
    """The frozen network of a finished run. Gets rgb batches and hands on what the student is to see.

    It computes in the thread that trains, and in the precision that is set when it is made.
    """

    def __init__(self, folder: Path, sha256: str, student: Architecture) -> None:
        if teacher_sha256(folder) != sha256:
            raise BundleError(f"{folder}: the teacher's weights have changed since this run began; put them back, or train anew")
        self._network = load_network(folder)
        self._network.trainable = False
        self._colour, self._student = read_run(folder).parse_architecture().colour, student.colour

    def show(self, batch: Batch, devices: Devices) -> Batch:
        """(blurred, sharp), rgb -> (blurred, sharp and taught as channels), both in the student's colour."""
        blurred, sharp = batch
        seen = to_luma(blurred) if self._colour == "luma" else blurred
        taught = devices.predict(self._network, seen)
        if self._student == "luma":
            blurred, sharp = to_luma(blurred), to_luma(sharp)
            taught = taught if self._colour == "luma" else to_luma(taught)
        return blurred, np.concatenate([sharp, taught], axis=-1)


def teacher_sha256(folder: Path) -> str:
    """The hash of the weights of a finished run. Raises BundleError where there is no run, or one that has not finished."""
    try:
        finished = read_run(folder).finished
    except BundleError as error:
        raise BundleError(f"--teacher: {error}") from error
    if not finished or not (folder / WEIGHTS).is_file():
        raise BundleError(
            f"--teacher {folder}: the run has not finished; go on with `deblurkit train --out {folder} --resume` first"
        )
    return str(file_facts(folder / WEIGHTS)["sha256"])


def require_fitting(folder: Path, student: Architecture, sides: tuple[int, ...]) -> None:
    """Raise UsageError when the teacher cannot show a `student` what to make of patches of these sides, pixels."""
    teacher = read_run(folder).parse_architecture()
    if teacher.colour == "luma" and student.colour != "luma":
        raise UsageError(f"--teacher {folder}: it restores brightness only, the student colours too; take an rgb teacher")
    for side in sides:
        if (teacher.fixed_hw or (side, side)) != (side, side):
            raise UsageError(f"--teacher {folder}: it takes {teacher.pad_multiple} pixel squares only, not patches of {side}")
        if side % teacher.pad_multiple:
            raise UsageError(f"--teacher {folder}: it needs patches of a multiple of {teacher.pad_multiple} pixels, not {side}")
