"""One candidate for a file of the bundle: converted once, its bytes kept, opened once, measured once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.bundle.manifest import Artifact, Calibrated, Manifest, file_facts
from device.bundle.open import Bundle
from device.errors import ExportError
from export import to_ncnn, to_onnx, to_tflite
from export.embedding import contract_of, with_contract
from export.export_source import Calibration, ExportSource, concrete_size
from export.measure import Comparison, Measurement
from export.readable_names import tflite_with_readable_names

PIXELS = {"tflite": "int8", "onnx": "uint8"}
"""Input and output type of int8 files: the type that their runtime computes with, so that no operator is needed."""


@dataclass(frozen=True)
class Candidate:
    """A file that lies in the folder, with everything that later steps need of it."""

    converted: bytes
    """As it came from the converter; int8 files still take and give floats."""
    data: bytes
    """As it lies in the folder."""
    bundle: Bundle
    """A bundle of this file only."""
    calibration: Calibration | None
    measurement: Measurement

    @property
    def artifact(self) -> Artifact:
        """The file's record, before the gate adds what was measured."""
        return self.bundle.manifest.artifacts[0]

    def with_artifact(self, artifact: Artifact) -> "Candidate":
        """The same file with another record."""
        return replace(self, bundle=Bundle(self.bundle.folder, replace(self.bundle.manifest, artifacts=(artifact,))))


class Candidates:
    """Makes candidates of one source and measures each, in the folder of one bundle."""

    def __init__(
        self,
        source: ExportSource,
        folder: Path,
        manifest: Manifest,
        comparison: Comparison,
        size: tuple[int, int] | None = None,
        pixels: str = "bytes",
    ) -> None:
        """`manifest` has everything but weights and artifacts; `size` and `pixels` are those of `Wanted`."""
        self._source, self._folder, self._manifest, self._comparison = source, folder, manifest, comparison
        self._size, self._pixels = size, pixels

    def best(self, format_: str, variant: str) -> Candidate:
        """The candidate that restores the judged pictures best, of one for each way to calibrate the file. Raises ExportError."""
        calibrations: Sequence[Calibration | None] = self._source.calibrations(format_) if variant == "int8" else ()
        candidates = [self._candidate(format_, variant, calibration) for calibration in calibrations or (None,)]
        if len(candidates) == 1:
            return candidates[0]
        tried = {
            candidate.calibration.method: candidate.measurement.quality.restored_psnr_db
            for candidate in candidates
            if candidate.calibration and candidate.measurement.quality
        }
        best = max(candidates, key=lambda c: c.measurement.quality.restored_psnr_db if c.measurement.quality else 0.0)
        self.put_back(best)
        assert best.artifact.calibrated
        return best.with_artifact(replace(best.artifact, calibrated=replace(best.artifact.calibrated, tried=tried)))

    def measured(
        self,
        converted: bytes,
        format_: str,
        variant: str,
        calibration: Calibration | None = None,
        float_layers: tuple[str, ...] = (),
    ) -> Candidate:
        """Write a converter's bytes as the file of this format and variant, and measure it. Raises ExportError."""
        data, artifact = self._written(converted, format_, variant)
        if calibration:
            pictures = self._source.pictures
            facts = Calibrated(calibration.method, len(pictures.calibration), pictures.calibration_sha256, {})
            artifact = replace(artifact, calibrated=facts)
        bundle = self._bundle_of(replace(artifact, float_layers=float_layers))
        return Candidate(converted, data, bundle, calibration, self._comparison.measure(bundle))

    def put_back(self, candidate: Candidate) -> None:
        """Write the candidate's file again, over another one that was tried after it."""
        (self._folder / candidate.artifact.file).write_bytes(candidate.data)

    def finish(self, candidate: Candidate, artifact: Artifact) -> tuple[Artifact, bool]:
        """Put the contract into the file: last, since it holds what was measured, which `artifact` has.

        Returns the artifact of the finished file, and whether that file still computes the same.
        """
        contract = contract_of(self._bundle_of(artifact).manifest, artifact)
        path = self._folder / artifact.file
        path.write_bytes(with_contract(candidate.data, artifact.format, contract))
        artifact = replace(artifact, **file_facts(path))
        before = candidate.measurement.first_output
        if before is None:
            return artifact, True
        return artifact, np.array_equal(before, self._comparison.first_output(self._bundle_of(artifact)), equal_nan=True)

    def _candidate(self, format_: str, variant: str, calibration: Calibration | None) -> Candidate:
        converted = self._ncnn() if format_ == "ncnn" else self._source.convert(format_, variant, calibration)
        return self.measured(converted, format_, variant, calibration)

    def _ncnn(self) -> bytes:
        manifest = self._manifest
        if ("onnx", "fp32") not in self._source.offers:
            raise ExportError("ncnn: needs an fp32 ONNX graph, and this model cannot become one; leave out --ncnn")
        size = concrete_size(None, manifest.fixed_hw, manifest.pad_multiple)
        channels = 1 if manifest.colour == "luma" else 3
        return to_ncnn.to_ncnn(self._source.convert("onnx", "fp32", None), channels, size, manifest.fixed_hw is None)

    def _written(self, data: bytes, format_: str, variant: str) -> tuple[bytes, Artifact]:
        specs_of = {"tflite": to_tflite.tflite_specs, "onnx": to_onnx.onnx_specs, "ncnn": to_ncnn.ncnn_specs}[format_]
        if variant == "int8" and self._pixels == "bytes" and specs_of(data)[0].dtype == "float32":
            with_pixels = {"tflite": to_tflite.with_pixels, "onnx": to_onnx.with_pixels}[format_]
            data = with_pixels(data, PIXELS[format_])
        if format_ == "tflite":
            data = tflite_with_readable_names(data, self._source.layers)
        elif format_ == "onnx" and self._size:
            data = to_onnx.with_size(data, *self._size)
        start, end = specs_of(data)
        path = self._folder / f"{self._manifest.name}_{variant}.{format_}"
        path.write_bytes(data)
        return data, Artifact(variant, format_, **file_facts(path), input=start, output=end)

    def _bundle_of(self, artifact: Artifact) -> Bundle:
        return Bundle(self._folder, replace(self._manifest, artifacts=(artifact,)))
