"""One network into one folder of files: halo, candidates, verdicts, layer sensitivity, contracts, manifest."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device.bundle.manifest import VARIANTS, Artifact, Manifest, RestoredBlur, Weights, file_facts
from device.bundle.open import Bundle
from device.bundle.write import write_manifest
from device.errors import DeblurkitError, ExportError, UsageError
from device.restore.restored_blur import measure_restored_blur
from device.restore.restorer import Restorer
from export import to_ncnn
from export.candidate import Candidate, Candidates
from export.export_source import ExportSource
from export.gate import Limits, Verdict, judge
from export.halo import halo_of
from export.layer_sensitivity import LayerSensitivity, layer_sensitivities
from export.measure import THREADS, Comparison
from export.mixed_int8 import fixed_with_float_layers
from export.pictures import judged_inputs, network_input
from export.quantised_onnx import QuantisedOnnx

_PICTURES_A_LAYER = 4  # judged pictures that layer sensitivity looks at
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Which files a network is exported to, and what they may lose."""

    variants: Sequence[str] = VARIANTS
    size: tuple[int, int] | None = None
    """(height, width) of the only pictures that the files take; None: any size."""
    pixels: str = "bytes"
    """Input and output of int8 files: `bytes` (see `candidate.PIXELS`) or `float32`."""
    limits: Limits = field(default_factory=Limits)
    layer_sensitivity: bool = False
    """Measure what int8 costs each layer even if no file failed; for files that failed it is always measured."""
    mixed: bool = False
    """Keep the worst layers of an int8 file that failed in float."""
    ncnn: bool = False
    """Also make a file for ncnn, from the fp32 ONNX graph."""


@dataclass(frozen=True)
class Converted:
    """The result: the bundle of all files (in its working folder), the verdicts, and which files could not be converted."""

    bundle: Bundle
    verdicts: tuple[Verdict, ...]
    seconds: dict[str, float]
    """By label: to convert and to measure the file."""
    unconverted: tuple[str, ...]
    """The converters' messages."""
    sensitivities: tuple[LayerSensitivity, ...]
    """Worst first; empty where they were not measured."""
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """Every failed check, with the file's name."""
        return tuple(f"{v.artifact.file} {failure}" for v in self.verdicts for failure in v.failures)


def convert(source: ExportSource, folder: Path, name: str, wanted: Wanted) -> Converted:
    """Write every wanted file of `source` into `folder`, judged, with weights and manifest.

    A file that cannot be converted or does not pass is noted, not raised. Raises UsageError where no wanted variant can be
    made or `wanted.size` is too small, ExportError for a network whose halo is too large.
    """
    offers = _offers(source, wanted)
    inputs = np.concatenate(judged_inputs(source.pictures, source.manifest.colour))
    manifest = replace(
        source.manifest,
        name=name,
        halo=halo_of(source, inputs, wanted.size),
        fixed_hw=wanted.size or source.manifest.fixed_hw,
        made_with=source.manifest.made_with | (to_ncnn.versions() if wanted.ncnn else {}),
    )
    comparison = Comparison(source.pictures, source.reference(inputs), manifest.colour)
    candidates = Candidates(source, folder, manifest, comparison, wanted.size, wanted.pixels)
    files: list[tuple[Candidate, Verdict]] = []
    seconds: dict[str, float] = {}
    unconverted: list[str] = []
    for count, (format_, variant) in enumerate(offers, 1):
        began = time.monotonic()
        try:
            candidate = candidates.best(format_, variant)
        except ExportError as error:
            unconverted.append(str(error))
            log.warning("%d of %d: %s", count, len(offers), error)
            continue
        verdict = judge(candidate.bundle, candidate.measurement, wanted.limits)
        files.append((candidate, verdict))
        artifact = candidate.artifact
        seconds[artifact.label] = time.monotonic() - began
        log.info(
            "%d of %d: %s, %.0f KiB, %.1f s",
            count, len(offers), artifact.file, artifact.bytes / 1024, seconds[artifact.label],
        )  # fmt: skip
    notes: list[str] = []
    try:
        sensitivities = _sensitivities(source, files, wanted)
    except ExportError as error:
        sensitivities = []
        notes.append(f"layer sensitivity in int8 cannot be measured: {error}")
    if wanted.mixed and sensitivities:
        for i, (failed, verdict) in enumerate(files):
            if verdict.weak and failed.calibration:
                mixed, note = fixed_with_float_layers(source, candidates, failed, sensitivities, wanted.limits)
                files[i] = mixed or files[i]
                notes.append(note)
    verdicts = [_finished(candidates, candidate, verdict) for candidate, verdict in files]
    manifest = _complete(manifest, source, folder, [verdict.artifact for verdict in verdicts])
    manifest = replace(manifest, restored_blur=_restored_blur(Bundle(folder, manifest)))
    write_manifest(folder, manifest)
    return Converted(Bundle(folder, manifest), tuple(verdicts), seconds, tuple(unconverted), tuple(sensitivities), tuple(notes))


def without_failures(done: Converted) -> Bundle:
    """The bundle of the files that passed; the others are deleted from the folder."""
    for verdict in done.verdicts:
        if verdict.failures:
            (done.bundle.folder / verdict.artifact.file).unlink()
    passed = tuple(v.artifact for v in done.verdicts if not v.failures)
    bundle = Bundle(done.bundle.folder, replace(done.bundle.manifest, artifacts=passed))
    write_manifest(bundle.folder, bundle.manifest)
    return bundle


def _offers(source: ExportSource, wanted: Wanted) -> list[tuple[str, str]]:
    """(format, variant) of every file to make. Raises UsageError where there is none."""
    offers = [offer for offer in source.offers if offer[1] in wanted.variants]
    if wanted.ncnn:
        offers.append(("ncnn", to_ncnn.VARIANT))
    if not offers:
        possible = ", ".join(f"{variant}.{format_}" for format_, variant in source.offers)
        raise UsageError(f"--variants {' '.join(wanted.variants)}: this model can become none of them; it can become {possible}")
    return offers


def _sensitivities(source: ExportSource, files: Sequence[tuple[Candidate, Verdict]], wanted: Wanted) -> list[LayerSensitivity]:
    """What int8 costs each layer, measured on the int8 ONNX file, which holds the same ranges as the TFLite one."""
    if not any(verdict.weak for _, verdict in files) and not wanted.layer_sensitivity:
        return []
    candidate = next((c for c, _ in reversed(files) if c.calibration), None)
    if candidate is None or candidate.calibration is None:
        return []
    onnx = candidate.artifact.format == "onnx"  # else that file could not be converted, and its message is worth a note
    int8 = candidate.converted if onnx else source.convert("onnx", "int8", candidate.calibration)
    pictures, colour = source.pictures, source.manifest.colour
    chosen = np.linspace(0, len(pictures.blurred) - 1, min(_PICTURES_A_LAYER, len(pictures.blurred))).astype(int)
    inputs = judged_inputs(pictures, colour)
    tensors = np.concatenate([inputs[i] for i in chosen])
    sharp = np.concatenate([network_input(pictures.sharp[i], colour) for i in chosen])
    return layer_sensitivities(QuantisedOnnx(int8, source.fp32_onnx(candidate.calibration)), tensors, sharp)


def _finished(candidates: Candidates, candidate: Candidate, verdict: Verdict) -> Verdict:
    artifact, same = candidates.finish(candidate, verdict.artifact)
    if same:
        return replace(verdict, artifact=artifact)
    failure = "computes something else with its contract inside: a fault of deblurkit, please report it"
    return replace(verdict, artifact=artifact, failures=(*verdict.failures, failure))


def _restored_blur(bundle: Bundle) -> tuple[RestoredBlur, ...]:
    """Of the file that runs by default; nothing where none of the files runs here."""
    try:
        with Restorer(bundle, threads=THREADS) as restorer:
            return measure_restored_blur(restorer)
    except DeblurkitError as error:
        log.warning("how blurred restored pictures still are was not measured: %s", error)
        return ()


def _complete(manifest: Manifest, source: ExportSource, folder: Path, artifacts: Sequence[Artifact]) -> Manifest:
    """The manifest with its artifacts, and with the weights, which are copied into the folder."""
    manifest = replace(manifest, artifacts=tuple(artifacts))
    if not source.weights:
        return manifest
    copy = folder / f"{manifest.name}.weights.h5"
    copy.write_bytes(source.weights.read_bytes())
    return replace(manifest, weights=Weights(**file_facts(copy), licence=manifest.trained.licence))
