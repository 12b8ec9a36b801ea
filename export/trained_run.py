"""The network of a finished training run, as a source of an export."""

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
from export.calibration import METHODS, layer_ranges
from export.export_source import Calibration, concrete_size, keras_outputs, versions
from export.pictures import pictures_of
from train import quantise, run_folder, weights
from train.architectures import NAFNet
from train.run_folder import RunRecord


class TrainedRun:
    """See `export.export_source.ExportSource`. Offers all seven files; int8 uses the run's own ranges where it learned them."""

    offers = tuple(("tflite", v) for v in to_tflite.VARIANTS) + tuple(("onnx", v) for v in to_onnx.VARIANTS)

    def __init__(self, run: Path, calibration_folder: Path | None = None, size: tuple[int, int] | None = None) -> None:
        """`size`: (height, width) of the pictures and of concrete files; None: the network's only size, or `SIDE` squared.

        Raises BundleError for a run that cannot be loaded, DataError for missing pictures, ExportError for a teacher,
        UsageError for a size that the network cannot have.
        """
        self._run, record = run, run_folder.read_run(run)
        architecture = record.parse_architecture()
        if isinstance(architecture, NAFNet):
            raise ExportError(
                f"{run}: a {record.preset} is not exported: it scales its channels by means over the whole picture, so tiles "
                f"of a picture differ from the picture restored whole; teach a small one with `deblurkit train --teacher {run}`"
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
        """See ExportSource.calibrations. A network of convolutions gets the same ranges in both formats."""
        tensors = self.pictures.calibration
        if self._learned is not None:
            return [Calibration("learned", tensors, self._learned)]
        if quantise.can_quantise(self._concrete):
            return self._layer_ranges
        return [Calibration(method, tensors) for method in (METHODS if format_ == "onnx" else ("minmax",))]

    @cached_property
    def _layer_ranges(self) -> list[Calibration]:
        tensors = self.pictures.calibration
        extremes = quantise.calibrated_ranges(self._concrete, list(tensors))
        ranges = {m: extremes if m == "minmax" else layer_ranges(self._unclipped_onnx, extremes, tensors, m) for m in METHODS}
        return [Calibration(method, tensors, each) for method, each in ranges.items()]

    def convert(self, format_: str, variant: str, calibration: Calibration | None, in_float: Sequence[str] = ()) -> bytes:
        """See ExportSource.convert."""
        if format_ == "tflite":
            if calibration and calibration.ranges:
                return to_tflite.to_tflite_int8(self._unclipped, calibration.ranges, in_float)
            return to_tflite.to_tflite(self._concrete, variant, calibration, in_float)
        if calibration and calibration.ranges:
            return to_onnx.to_onnx_int8(self._unclipped_onnx, calibration)
        return to_onnx.to_onnx(self._onnx_fp32, variant, calibration)

    def fp32_onnx(self, calibration: Calibration) -> bytes:
        """See ExportSource.fp32_onnx."""
        return (self._unclipped_onnx if calibration.ranges else self._onnx_fp32).SerializeToString()

    @cached_property
    def _onnx_fp32(self) -> onnx.ModelProto:
        return to_onnx.to_onnx_fp32(self._any)

    @cached_property
    def _unclipped(self) -> keras.Model:
        return weights.load_network(self._run, *self.size, batch=1, clip=False)

    @cached_property
    def _unclipped_onnx(self) -> onnx.ModelProto:
        return to_onnx.to_onnx_fp32(weights.load_network(self._run, clip=False))


def _without_folders(word: str) -> str:
    """A word of a command line, with an absolute path cut to its last part, because other people get the bundle."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name if value.startswith("/") else value)


def _runs_before(record: RunRecord) -> list[RunRecord]:
    """The runs that the weights come from, oldest first, as far as their folders can still be read."""
    runs: list[RunRecord] = []
    seen: set[str] = set()
    while record.init and record.init not in seen:
        seen.add(record.init)
        try:
            record = run_folder.read_run(Path(record.init))
        except BundleError:  # it is a bundle, or no longer there
            break
        runs.insert(0, record)
    return runs


def _steps(record: RunRecord) -> int:
    pictures, recipe = len(record.data.train), record.recipe
    whole_pass = pictures // recipe.batch if recipe.patch else -(-pictures // recipe.batch)
    return recipe.epochs * (recipe.steps_per_epoch if recipe.patch and recipe.steps_per_epoch else max(1, whole_pass))


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
