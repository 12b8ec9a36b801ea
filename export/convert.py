"""One network into one folder of files: convert, judge, ask for blame, describe."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device.bundle.manifest import VARIANTS, Artifact, Calibrated, Weights, file_facts
from device.bundle.open import Bundle
from device.bundle.write import write_manifest
from device.errors import BundleError, ExportError, UsageError
from device.restore.pixel_codec import PixelCodec
from device.restore.self_check import scene_pairs
from device.runtimes import open_runtime
from export import layer_sensitivity, to_ncnn, to_onnx, to_tflite
from export.calibration import network_input
from export.embedding import contract_of, readable, with_contract
from export.export_source import SIDE, Calibration, ExportSource, concrete_size
from export.gate import RUNTIME, Judge, Limits, Verdict
from export.halo import measure_fixed_halo, measure_halo, mosaics
from export.layer_sensitivity import LayerSensitivity
from train.quantise import RESIDUAL

PIXELS = {"tflite": "int8", "onnx": "uint8"}
"""What goes in and out of int8 files: what their runtime computes with, so that no operator is needed."""
_MIXED = (1, 2, 4, 8)  # layers in float that --mixed tries
_BLAMED = 4  # pictures
_PICTURE = ("blurred", RESIDUAL)  # what goes in and out stays in 8 bits
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a network, and what it may cost."""

    variants: Sequence[str] = VARIANTS
    size: tuple[int, int] | None = None
    """(height, width) of the only pictures that the files take; None: any size."""
    pixels: str = "bytes"
    """Of int8 files: `bytes` (see PIXELS) or `float32`."""
    limits: Limits = field(default_factory=Limits)
    layer_sensitivity: bool = False
    """Ask which layers lose in int8, even where no file failed; those that failed are always asked."""
    mixed: bool = False
    """Keep the worst layers of an int8 file that failed in float."""
    ncnn: bool = False
    """Make a file for ncnn too, of the fp32 ONNX graph."""


@dataclass(frozen=True)
class Converted:
    """What was made: the bundle of all files (in its working folder), how each was judged, and what could not be made."""

    bundle: Bundle
    verdicts: tuple[Verdict, ...]
    seconds: dict[str, float]
    unmade: tuple[str, ...]
    """The converters' messages."""
    sensitivities: tuple[LayerSensitivity, ...]
    """Worst first; empty where nobody asked."""
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Every failed check, with the file's name."""
        return tuple(f"{v.artifact.file} {failure}" for v in self.verdicts for failure in v.failures)


@dataclass(frozen=True)
class _File:
    artifact: Artifact
    calibration: Calibration | None = None


def convert(source: ExportSource, folder: Path, name: str, wanted: Wanted) -> Converted:
    """Write every wanted file of `source` into `folder`, with weights and manifest, and judge each.

    A file that cannot be made or does not pass is noted, not raised. Raises UsageError where no wanted variant can be made.
    """
    manifest = replace(source.manifest, name=name, fixed_hw=wanted.size or source.manifest.fixed_hw)
    if wanted.ncnn:
        manifest = replace(manifest, made_with=manifest.made_with | to_ncnn.versions())
    bundle = Bundle(folder, manifest)
    inputs = np.concatenate([network_input(blurred, manifest.colour) for blurred in source.pictures.blurred])
    judge = Judge(source.pictures, source.reference(inputs), manifest.colour, wanted.limits)
    seconds: dict[str, float] = {}
    unmade: list[str] = []
    files: list[_File] = []
    offers = [offer for offer in source.offers if offer[1] in wanted.variants]
    if wanted.ncnn:
        offers.append(("ncnn", to_ncnn.VARIANT))
    if not offers:
        able = ", ".join(f"{variant}.{format_}" for format_, variant in source.offers)
        raise UsageError(f"--variants {' '.join(wanted.variants)}: none of them can be made of this model; it can become {able}")
    for count, (format_, variant) in enumerate(offers, 1):
        began = time.monotonic()
        try:
            file = _make(source, bundle, judge, wanted, format_, variant)
        except (ExportError, BundleError) as error:  # a runtime may refuse what a converter made
            unmade.append(str(error))
            log.warning("%d of %d: %s", count, len(offers), error)
            continue
        files.append(file)
        seconds[file.artifact.label] = time.monotonic() - began
        log.info(
            "%d of %d: %s, %.0f KiB, %.1f s",
            count, len(offers), file.artifact.file, file.artifact.bytes / 1024, seconds[file.artifact.label],
        )  # fmt: skip
    bundle = Bundle(folder, replace(manifest, halo=_halo(source, inputs, wanted.size)))
    verdicts = [_judged(judge, bundle, file.artifact) for file in files]
    notes: list[str] = []
    try:
        sensitivities = _layer_sensitivities(source, files, verdicts, wanted)
    except ExportError as error:
        sensitivities = []
        notes.append(f"which layers lose in int8 cannot be said: {error}")
    if wanted.mixed and sensitivities:
        for i, (file, verdict) in enumerate(zip(files, verdicts, strict=True)):
            if verdict.weak and file.calibration:
                verdicts[i], note = _mix(source, bundle, judge, wanted, file, verdict, sensitivities)
                notes.append(note)
    verdicts = [_finish(judge, bundle, verdict) for verdict in verdicts]
    bundle = _described(bundle, source, [v.artifact for v in verdicts])
    return Converted(bundle, tuple(verdicts), seconds, tuple(unmade), tuple(sensitivities), tuple(notes))


def _halo(source: ExportSource, inputs: np.ndarray, size: tuple[int, int] | None) -> int:
    """Measured. Raises ExportError for a network that sees more than tiles can hold, UsageError for too small a `size`."""
    multiple, fixed = source.manifest.pad_multiple, source.manifest.fixed_hw
    if fixed:
        most = mosaics(inputs, at_least=2 * max(fixed))
        halo = measure_fixed_halo(source.reference, most, (fixed[0], fixed[1]), multiple)
        if not halo:
            log.warning("the network sees its whole tile: pictures larger than %dx%d may show seams", fixed[1], fixed[0])
        return halo
    pictures = mosaics(inputs)
    halo = measure_halo(source.reference, pictures, multiple)
    if halo >= pictures.shape[1] // 4 // multiple * multiple:
        raise ExportError(
            f"the network sees {halo} pixels far or more, so tiles of a picture would come out otherwise than the picture "
            "(means over the whole picture do that); give one that sees less, or one of a fixed size"
        )
    if size and min(size) - 2 * halo < multiple:
        height, width = np.max([blurred.shape[:2] for blurred, _ in scene_pairs()], 0)
        if size[0] < height or size[1] < width:  # not even the board's self-check fits
            least = -(-(2 * halo + multiple) // multiple) * multiple
            raise UsageError(f"--size {size[1]}x{size[0]}: halos of {halo} pixels leave nothing of it; at least {least}x{least}")
        log.warning("pictures larger than %dx%d will not do: the halo is %d pixels", *size[::-1], halo)
    return halo


def _judged(judge: Judge, bundle: Bundle, artifact: Artifact) -> Verdict:
    try:
        return judge.judge(bundle, artifact)
    except BundleError as error:
        return Verdict(artifact, None, (f"is not taken by {RUNTIME[artifact.format]}: {error}",))


def without_failures(done: Converted) -> Bundle:
    """The bundle of the files that passed; the others are deleted from the folder."""
    for verdict in done.verdicts:
        if verdict.failures:
            (done.bundle.folder / verdict.artifact.file).unlink()
    passed = tuple(v.artifact for v in done.verdicts if not v.failures)
    bundle = Bundle(done.bundle.folder, replace(done.bundle.manifest, artifacts=passed))
    write_manifest(bundle.folder, bundle.manifest)
    return bundle


def _make(source: ExportSource, bundle: Bundle, judge: Judge, wanted: Wanted, format_: str, variant: str) -> _File:
    if format_ == "ncnn":
        return _File(_write(source, bundle, wanted, format_, variant, _ncnn(source, bundle)))
    if variant != "int8":
        return _File(_write(source, bundle, wanted, format_, variant, source.convert(format_, variant, None)))
    calibrations = source.calibrations(format_)
    made = [source.convert(format_, variant, each) for each in calibrations] or [source.convert(format_, variant, None)]
    tried = {}
    if len(made) > 1:
        for calibration, data in zip(calibrations, made, strict=True):
            artifact = _write(source, bundle, wanted, format_, variant, data)
            tried[calibration.method] = round(judge.restored_db(bundle, artifact), 3)
    best = max(range(len(calibrations)), key=lambda i: tried.get(calibrations[i].method, 0.0), default=0)
    artifact = _write(source, bundle, wanted, format_, variant, made[best])
    if not calibrations:  # somebody else's int8 file, as it is
        return _File(artifact)
    pictures = source.pictures
    facts = Calibrated(calibrations[best].method, len(pictures.calibration), pictures.calibration_sha256, tried)
    return _File(replace(artifact, calibrated=facts), calibrations[best])


def _ncnn(source: ExportSource, bundle: Bundle) -> bytes:
    manifest = bundle.manifest
    if ("onnx", "fp32") not in source.offers:
        raise ExportError("ncnn: is made of an fp32 ONNX graph, which this model cannot become; leave out --ncnn")
    size = concrete_size(None, manifest.fixed_hw, manifest.pad_multiple)
    channels = 1 if manifest.colour == "luma" else 3
    return to_ncnn.to_ncnn(source.convert("onnx", "fp32", None), channels, size, manifest.fixed_hw is None)


def _write(source: ExportSource, bundle: Bundle, wanted: Wanted, format_: str, variant: str, data: bytes) -> Artifact:
    specs_of = {"tflite": to_tflite.tflite_specs, "onnx": to_onnx.onnx_specs, "ncnn": to_ncnn.ncnn_specs}[format_]
    if variant == "int8" and wanted.pixels == "bytes" and specs_of(data)[0].dtype == "float32":
        with_pixels = {"tflite": to_tflite.with_pixels, "onnx": to_onnx.with_pixels}[format_]
        data = with_pixels(data, PIXELS[format_])
    if format_ == "tflite":
        data = readable(data, format_, source.layers)
    elif format_ == "onnx" and wanted.size:
        data = to_onnx.with_size(data, *wanted.size)
    specs = specs_of(data)
    path = bundle.folder / f"{bundle.manifest.name}_{variant}.{format_}"
    path.write_bytes(data)
    return Artifact(variant, format_, **file_facts(path), input=specs[0], output=specs[1])


def _layer_sensitivities(
    source: ExportSource, files: list[_File], verdicts: list[Verdict], wanted: Wanted
) -> list[LayerSensitivity]:
    """Ask the int8 ONNX file, which holds the same ranges as the TFLite one, layer by layer."""
    if not any(v.weak for v in verdicts) and not wanted.layer_sensitivity:
        return []
    calibration = next((f.calibration for f in reversed(files) if f.calibration), None)
    if calibration is None:
        return []
    pictures, colour = source.pictures, source.manifest.colour
    chosen = np.linspace(0, len(pictures.blurred) - 1, min(_BLAMED, len(pictures.blurred))).astype(int)
    tensors, sharp = (
        np.concatenate([network_input(side[i], colour) for i in chosen]) for side in (pictures.blurred, pictures.sharp)
    )
    return layer_sensitivity.layer_sensitivities(
        source.convert("onnx", "int8", calibration), source.before_int8(calibration), tensors, sharp
    )


def _mix(
    source: ExportSource,
    bundle: Bundle,
    judge: Judge,
    wanted: Wanted,
    file: _File,
    failed: Verdict,
    sensitivities: Sequence[LayerSensitivity],
) -> tuple[Verdict, str]:
    """Keep the fewest of the worst layers in float that let the file pass; returns its verdict and what it cost."""
    before = (bundle.folder / file.artifact.file).read_bytes()
    format_ = file.artifact.format
    why = ""
    can_stay = {each.layer for each in sensitivities} if format_ == "onnx" else set(source.layers)
    worst = [each.layer for each in sensitivities if each.layer in can_stay and each.layer not in _PICTURE]
    if not worst:
        return failed, f"{file.artifact.file}: none of its layers can stay in float; take the dynamic file, or the int8 ONNX file"
    for count in _MIXED:
        layers = tuple(worst[:count])
        try:
            if format_ == "onnx":
                data = source.convert(format_, "int8", file.calibration)
                data = layer_sensitivity.in_float(data, source.before_int8(file.calibration), layers)  # type: ignore[arg-type]
            else:
                data = source.convert(format_, "int8", file.calibration, layers)
        except ExportError as error:
            why = f" ({error})"
            continue
        made = _write(source, bundle, wanted, format_, "int8", data)
        artifact = replace(made, calibrated=file.artifact.calibrated, float_layers=layers)
        verdict = judge.judge(bundle, artifact)
        if not verdict.failures:
            old, new = failed.artifact, verdict.artifact
            times = _time_ratio(bundle, new, before)
            gained = f", {old.quality.loss_db - new.quality.loss_db:+.3f} dB" if old.quality and new.quality else ""
            return verdict, (
                f"{new.file}: {', '.join(layers)} in float{gained}, {(new.bytes - old.bytes) / 1024:+.0f} KiB, "
                f"{times:.2f} times the time of the int8 file"
            )
    (bundle.folder / file.artifact.file).write_bytes(before)
    way = "fine-tune with `deblurkit train --quantise`" if source.weights else "take the dynamic file"
    return failed, f"{file.artifact.file}: not good enough with up to {_MIXED[-1]} layers in float{why}; {way}"


def _time_ratio(bundle: Bundle, artifact: Artifact, before: bytes, rounds: int = 15) -> float:
    """Median time of one inference, of the file now over the file `before`, in turns."""
    path = bundle.folder / artifact.file
    other = path.with_name(f".before.{path.name}")
    other.write_bytes(before)
    runtimes = [open_runtime(RUNTIME[artifact.format], p, 1) for p in (path, other)]
    height, width = bundle.manifest.fixed_hw or (SIDE, SIDE)
    tensor = PixelCodec(artifact.input, artifact.output, bundle.manifest.colour).to_tensor(np.zeros((height, width, 3), np.uint8))
    spent: list[list[float]] = [[], []]
    for _ in range(rounds):
        for i, runtime in enumerate(runtimes):
            began = time.perf_counter()
            runtime.run(tensor)
            spent[i].append(time.perf_counter() - began)
    for runtime in runtimes:
        runtime.close()
    other.unlink()
    return float(np.median(spent[0]) / np.median(spent[1]))


def _finish(judge: Judge, bundle: Bundle, verdict: Verdict) -> Verdict:
    """Put the contract into a file, last of all, since it holds what was measured; what comes out must not change."""
    path, artifact = bundle.folder / verdict.artifact.file, verdict.artifact
    contract = contract_of(replace(bundle.manifest, artifacts=(artifact,)), artifact)
    judged = judge.first_output(bundle, artifact) if verdict.graph else None
    path.write_bytes(with_contract(path.read_bytes(), artifact.format, contract))
    artifact = replace(artifact, **file_facts(path))
    if judged is not None and not np.array_equal(judged, judge.first_output(bundle, artifact)):
        failure = "computes something else with its contract inside: a fault of deblurkit, please report it"
        return replace(verdict, artifact=artifact, failures=(*verdict.failures, failure))
    return replace(verdict, artifact=artifact)


def _described(bundle: Bundle, source: ExportSource, artifacts: list[Artifact]) -> Bundle:
    manifest = replace(bundle.manifest, artifacts=tuple(artifacts))
    if source.weights:
        copy = bundle.folder / f"{manifest.name}.weights.h5"
        copy.write_bytes(source.weights.read_bytes())
        manifest = replace(manifest, weights=Weights(**file_facts(copy), licence=manifest.trained.licence))
    write_manifest(bundle.folder, manifest)
    return Bundle(bundle.folder, manifest)
