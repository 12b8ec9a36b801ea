"""The network of a finished training run, to be exported."""

import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import onnx

from device.bundle.manifest import SCHEMA, Manifest, Training
from device.errors import BundleError, ExportError
from export import to_onnx, to_tflite
from export.calibration import METHODS, layer_ranges, pictures_of
from export.export_source import Calibration, concrete_size, keras_outputs, versions
from train import quantise, run_folder, weights
from train.architectures import NAFNet
from train.run_folder import RunRecord


class TrainedRun:
    """See `export.export_source.ExportSource`. All seven files; int8 ranges are the run's own where it learned them."""

    offers = tuple(("tflite", v) for v in to_tflite.VARIANTS) + tuple(("onnx", v) for v in to_onnx.VARIANTS)

    def __init__(self, run: Path, calibration_folder: Path | None = None, size: tuple[int, int] | None = None) -> None:
        """`size`: (height, width) of the pictures and of concrete files; None: the network's only one, or `SIDE` squared.

        Raises BundleError for a run that cannot be loaded, DataError for missing pictures, ExportError for a teacher,
        UsageError for a size that the network cannot have.
        """
        self._run, record = run, run_folder.read_run(run)
        architecture = record.parse_architecture()
        if isinstance(architecture, NAFNet):
            raise ExportError(
                f"{run}: a {record.preset} is not exported: it scales its channels by means over the whole picture, so tiles "
                f"of a picture come out otherwise than the picture; teach a small one with `deblurkit train --teacher {run}`"
            )
        self.size = concrete_size(size, architecture.fixed_hw, architecture.pad_multiple)
        self._concrete = weights.load_network(run, *self.size, batch=1)
        self._any = self._concrete if architecture.fixed_hw else weights.load_network(run)
        self.layers = tuple(layer.name for layer in self._concrete.layers)
        self.pictures = pictures_of(record, calibration_folder, *self.size)
        self.weights: Path | None = run / run_folder.WEIGHTS
        self.manifest = _manifest(record)

    def reference(self, tensors: np.ndarray) -> np.ndarray:
        """See ExportSource.reference."""
        return keras_outputs(self._any, tensors)

    @cached_property
    def _learned(self) -> quantise.Ranges | None:
        return quantise.read_ranges(self._run)

    def learned_ranges(self) -> bool:
        """Whether the run was fine-tuned for int8, so that calibration pictures change nothing."""
        return self._learned is not None

    def calibrations(self, format_: str) -> list[Calibration]:
        """See ExportSource.calibrations. Both formats get the same ranges where the network is one of convolutions."""
        tensors = self.pictures.calibration
        if self._learned is not None:
            return [Calibration("learned", tensors, self._learned)]
        if quantise.can_quantise(self._concrete):
            return self._of_ranges
        return [Calibration(method, tensors) for method in (METHODS if format_ == "onnx" else ("minmax",))]

    @cached_property
    def _of_ranges(self) -> list[Calibration]:
        tensors, graph = self.pictures.calibration, to_onnx.to_onnx_fp32(self._unclipped())
        lowest = quantise.calibrated_ranges(self._concrete, list(tensors))
        found = {m: lowest if m == "minmax" else layer_ranges(graph, lowest, tensors, m) for m in METHODS}
        return [Calibration(method, tensors, ranges) for method, ranges in found.items()]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See ExportSource.convert."""
        if format_ == "tflite":
            if calibration and calibration.ranges:
                return to_tflite.to_tflite_int8(self._unclipped(*self.size, batch=1), calibration.ranges, in_float)
            return to_tflite.to_tflite(self._concrete, variant, calibration, in_float)
        if calibration and calibration.ranges:
            return to_onnx.to_onnx_int8(self._unclipped(), calibration)
        return to_onnx.to_onnx(self._onnx_fp32, variant, calibration)

    def before_int8(self, calibration: Calibration) -> bytes:
        """See ExportSource.before_int8."""
        graph = to_onnx.to_onnx_fp32(self._unclipped()) if calibration.ranges else self._onnx_fp32
        return graph.SerializeToString()

    @cached_property
    def _onnx_fp32(self) -> onnx.ModelProto:
        return to_onnx.to_onnx_fp32(self._any)

    def _unclipped(self, height: int | None = None, width: int | None = None, batch: int | None = None) -> keras.Model:
        return weights.load_network(self._run, height, width, batch, clip=False)


def _without_folders(word: str) -> str:
    """A word of a command line; of an absolute path its last part, since a bundle travels to other people."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name if value.startswith("/") else value)


def _runs_before(record: RunRecord) -> list[RunRecord]:
    """The runs whose weights it began with, oldest first, as far as their folders can still be read."""
    found: list[RunRecord] = []
    seen: set[str] = set()
    while record.init and record.init not in seen:
        seen.add(record.init)
        try:
            record = run_folder.read_run(Path(record.init))
        except BundleError:  # a bundle, or no longer there
            break
        found.insert(0, record)
    return found


def _steps(record: RunRecord) -> int:
    pictures, recipe = len(record.data.train), record.recipe
    a_pass = pictures // recipe.batch if recipe.patch else -(-pictures // recipe.batch)
    return recipe.epochs * (recipe.steps_per_epoch if recipe.patch and recipe.steps_per_epoch else max(1, a_pass))


def _manifest(record: RunRecord) -> Manifest:
    architecture = record.parse_architecture()
    folders = ", ".join(Path(f).name for f in record.data.folders) or "the scikit-image package"
    blur = {key: getattr(record.blur, key) for key in record.blur.__dataclass_fields__}
    runs = [*_runs_before(record), record]
    return Manifest(
        schema=SCHEMA,
        name="",
        preset=record.preset,
        architecture=record.architecture,
        colour=architecture.colour,
        pad_multiple=architecture.pad_multiple,
        halo=0,
        fixed_hw=architecture.fixed_hw,
        macs_per_pixel=record.macs_per_pixel,
        parameters=record.parameters,
        trained=Training(
            command=" && ".join(shlex.join(_without_folders(word) for word in shlex.split(run.command)) for run in runs),
            pictures=len(record.data.train),
            data=f"{record.data.kind} from {folders}",
            licence=record.data.licences,
            blur=blur,
            steps=sum(_steps(run) for run in runs),
            seconds=round(sum(run.seconds for run in runs), 1),
            seed=record.seed,
            device=record.device,
        ),
        weights=None,
        artifacts=(),
        made_with=versions(),
    )
