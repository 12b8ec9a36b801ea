"""Distillation: a finished run teaches another one with its own output for each blurred batch."""

from pathlib import Path

import numpy as np

from device.bundle.manifest import file_facts
from device.errors import BundleError, UsageError
from device.images.degrade import to_luma
from train.accelerator import Devices
from train.architectures import Architecture
from train.batches import Batch
from train.run_folder import WEIGHTS, read_run
from train.weights import load_network


class Teacher:
    """The frozen network of a finished run, which adds its output to rgb batches as a second target for the student.

    It computes in the thread that trains, in the precision that was set when it was created.
    """

    def __init__(self, folder: Path, sha256: str, student: Architecture) -> None:
        if teacher_sha256(folder) != sha256:
            raise BundleError(
                f"{folder}: the teacher's weights have changed since this run started; restore them, or start a new run"
            )
        self._network = load_network(folder)
        self._network.trainable = False
        self._colour, self._student = read_run(folder).parse_architecture().colour, student.colour

    def add_targets(self, batch: Batch, devices: Devices) -> Batch:
        """(blurred, sharp) in rgb -> (blurred, sharp and the teacher's output stacked as channels), in the student's colour."""
        blurred, sharp = batch
        inputs = to_luma(blurred) if self._colour == "luma" else blurred
        taught = devices.predict(self._network, inputs)
        if self._student == "luma":
            blurred, sharp = to_luma(blurred), to_luma(sharp)
            taught = taught if self._colour == "luma" else to_luma(taught)
        return blurred, np.concatenate([sharp, taught], axis=-1)


def teacher_sha256(folder: Path) -> str:
    """The hash of the weights of a finished run. Raises BundleError if there is no run, or it has not finished."""
    try:
        finished = read_run(folder).finished
    except BundleError as error:
        raise BundleError(f"--teacher: {error}") from error
    if not finished or not (folder / WEIGHTS).is_file():
        raise BundleError(
            f"--teacher {folder}: the run has not finished; finish it with `deblurkit train --out {folder} --resume` first"
        )
    return str(file_facts(folder / WEIGHTS)["sha256"])


def require_compatible(folder: Path, student: Architecture, sides: tuple[int, ...]) -> None:
    """Raise UsageError if the teacher cannot teach `student` on patches with these sides, pixels."""
    teacher = read_run(folder).parse_architecture()
    if teacher.colour == "luma" and student.colour != "luma":
        raise UsageError(f"--teacher {folder}: it restores luma only and the student also colours; choose an rgb teacher")
    for side in sides:
        if (teacher.fixed_hw or (side, side)) != (side, side):
            raise UsageError(f"--teacher {folder}: it takes squares of {teacher.pad_multiple} pixels only, not patches of {side}")
        if side % teacher.pad_multiple:
            raise UsageError(
                f"--teacher {folder}: it needs patches of a multiple of {teacher.pad_multiple} pixels, not of {side}"
            )
