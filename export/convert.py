"""One run into one folder of files: convert, compare, describe."""

import logging
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from device.bundle import SCHEMA, Artifact, Bundle, Manifest, Training, Weights, file_facts, write_manifest
from device.errors import ExportError
from export import parity, to_onnx, to_tflite
from export.calibration import calibration_pictures, held_out_pairs, network_input
from train import quantise, run_folder
from train.nafnet import NAFNet
from train.run_folder import RunRecord

log = logging.getLogger(__name__)
_SIDE = 256  # pixels: concrete size of TFLite files (runtimes resize them), of calibration pictures and of the compared ones


@dataclass(frozen=True)
class Converted:
    """What an export made: the bundle (still in its working folder), what failed, and how long each file took."""

    bundle: Bundle
    failures: tuple[str, ...]
    seconds: dict[str, float]


def convert(run: Path, folder: Path, name: str, calibration_folder: Path | None, variants: list[str]) -> Converted:
    """Write every variant of the finished run `run` into `folder`, with its manifest, and compare each with Keras.

    Raises BundleError for a run that cannot be loaded, DataError for missing pictures, ExportError where a converter fails.
    """
    record = run_folder.read_run(run)
    architecture = record.network
    if isinstance(architecture, NAFNet):
        raise ExportError(
            f"{run}: a {record.preset} is not exported: it scales its channels by means over the whole picture, so windows of a "
            f"picture would come out otherwise than the picture; teach a small one with `deblurkit train --teacher {run}`"
        )
    height, width = architecture.fixed_hw or (_SIDE, _SIDE)
    concrete = run_folder.load_network(run, height, width, batch=1)
    flexible = concrete if architecture.fixed_hw else run_folder.load_network(run)
    pictures = calibration_pictures(record, calibration_folder, height)
    pairs = held_out_pairs(record, height)

    def calibration() -> Iterator[np.ndarray]:
        return iter(pictures)

    ranges = _ranges(run, concrete, pictures, calibration_folder) if "int8" in variants else None
    seconds: dict[str, float] = {}
    artifacts = []
    onnx_fp32 = to_onnx.to_onnx_fp32(flexible)
    for format_, offered in (("tflite", to_tflite.VARIANTS), ("onnx", to_onnx.VARIANTS)):
        for variant in (v for v in offered if v in variants):
            began = time.monotonic()
            if format_ == "tflite":
                if variant == "int8" and ranges:
                    data = to_tflite.to_tflite_int8(_unclipped(run, height, width, batch=1), ranges)
                else:
                    data = to_tflite.to_tflite(concrete, variant, calibration)
                specs = to_tflite.tflite_specs(data)
            else:
                if variant == "int8" and ranges:
                    data = to_onnx.to_onnx_int8(_unclipped(run), ranges, calibration)
                else:
                    data = to_onnx.to_onnx(onnx_fp32, variant, calibration)
                specs = to_onnx.onnx_specs(data)
            path = folder / f"{name}_{variant}.{format_}"
            path.write_bytes(data)
            artifacts.append(Artifact(variant, format_, **file_facts(path), input=specs[0], output=specs[1]))
            seconds[artifacts[-1].label] = time.monotonic() - began
            log.info("%s: %.0f KiB in %.1f s", path.name, len(data) / 1024, seconds[artifacts[-1].label])
    weights = folder / f"{name}.weights.h5"
    weights.write_bytes((run / run_folder.WEIGHTS).read_bytes())
    manifest = _manifest(record, name, Weights(**file_facts(weights), licence=record.data.licences), artifacts)
    bundle = Bundle(folder, manifest)
    inputs = np.concatenate([network_input(blurred, architecture.colour) for blurred in pairs[0]])
    if architecture.fixed_hw is None:
        halo = parity.measure_halo(flexible, _large(inputs), architecture.pad_multiple)
        bundle = Bundle(folder, replace(manifest, halo=halo))

    reference = parity.keras_outputs(concrete, inputs)
    described = f"{len(pairs[0])} validation pictures of {record.data.kind}, {width}x{height}"
    verdicts = [parity.judge(bundle, artifact, pairs, reference, described) for artifact in artifacts]
    judged = parity.with_losses([v.artifact for v in verdicts])
    bundle = Bundle(folder, replace(bundle.manifest, artifacts=tuple(judged)))
    write_manifest(folder, bundle.manifest)
    failures = tuple(f"{v.artifact.file} {failure}" for v in verdicts for failure in v.failures)
    return Converted(bundle, failures, seconds)


def _ranges(
    run: Path, network: keras.Model, pictures: list[np.ndarray], calibration_folder: Path | None
) -> quantise.Ranges | None:
    """The ranges of the int8 files: learned by the run, else calibrated; None where the converters must calibrate."""
    learned = quantise.read_ranges(run)
    if learned is None:
        return quantise.calibrated_ranges(network, pictures) if quantise.takes_ranges(network) else None
    if calibration_folder:
        log.warning("%s has learned its int8 ranges, so the pictures in %s do not change them", run, calibration_folder)
    return learned


def _unclipped(run: Path, height: int | None = None, width: int | None = None, batch: int | None = None) -> keras.Model:
    return run_folder.load_network(run, height, width, batch, clip=False)


def _large(blurred: np.ndarray) -> np.ndarray:
    """Pictures of four times the side, made of the given ones: content on both sides of every border."""
    count = len(blurred)

    def row(first: int) -> np.ndarray:
        return np.concatenate([blurred[(first + k) % count] for k in range(4)], 1)

    return np.stack([np.concatenate([row(i + k) for k in range(4)], 0) for i in range(min(4, count))])


def _without_folders(word: str) -> str:
    """A word of a command line; of an absolute path its last part, since a bundle travels to other people."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name if value.startswith("/") else value)


def _runs_before(record: RunRecord) -> list[RunRecord]:
    """The runs whose weights it began with, oldest first, as far as their folders are still there."""
    if not record.init or not (Path(record.init) / run_folder.RUN_JSON).is_file():
        return []
    before = run_folder.read_run(Path(record.init))
    return [*_runs_before(before), before]


def _steps(record: RunRecord) -> int:
    pictures, recipe = len(record.data.train), record.recipe
    a_pass = pictures // recipe.batch if recipe.patch else -(-pictures // recipe.batch)
    return recipe.epochs * (recipe.steps_per_epoch if recipe.patch and recipe.steps_per_epoch else max(1, a_pass))


def _manifest(record: RunRecord, name: str, weights: Weights, artifacts: list[Artifact]) -> Manifest:
    architecture = record.network
    folders = ", ".join(Path(f).name for f in record.data.folders) or "the scikit-image package"
    blur = {key: getattr(record.blur, key) for key in record.blur.__dataclass_fields__}
    runs = [*_runs_before(record), record]
    return Manifest(
        schema=SCHEMA,
        name=name,
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
        weights=weights,
        artifacts=tuple(artifacts),
        made_with={p: version(p) for p in ("deblurkit", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy")},
    )
