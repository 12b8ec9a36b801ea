"""Fix an int8 file that loses too much: keep its worst layers in float, as few as needed."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from device.errors import ExportError
from device.restore.pixel_codec import PixelCodec
from device.runtimes import open_runtime
from export.candidate import Candidate, Candidates
from export.export_source import SIDE, ExportSource
from export.gate import Limits, Verdict, judge
from export.layer_sensitivity import LayerSensitivity
from export.measure import RUNTIME
from export.quantised_onnx import QuantisedOnnx
from train.quantise import RESIDUAL

_COUNTS = (1, 2, 4, 8)  # layers in float that are tried
_PICTURE = ("blurred", RESIDUAL)  # what goes in and out stays in 8 bits


def fixed_with_float_layers(
    source: ExportSource,
    candidates: Candidates,
    failed: Candidate,
    sensitivities: Sequence[LayerSensitivity],
    limits: Limits,
) -> tuple[tuple[Candidate, Verdict] | None, str]:
    """The candidate that passes with the fewest of its worst layers in float, its verdict, and a note on the price.

    `failed` has a calibration, and `sensitivities` are worst first. Where none passes: None, and the note says why.
    """
    artifact, calibration = failed.artifact, failed.calibration
    assert calibration
    onnx = artifact.format == "onnx"
    convertible = {each.layer for each in sensitivities} if onnx else set(source.layers)
    worst = [each.layer for each in sensitivities if each.layer in convertible and each.layer not in _PICTURE]
    if not worst:
        advice = "take the dynamic file, or the int8 ONNX file"
        return None, f"{artifact.file}: none of its layers can stay in float; {advice}"
    quantised = QuantisedOnnx(failed.converted, source.fp32_onnx(calibration)) if onnx else None
    why = ""
    for count in _COUNTS:
        layers = tuple(worst[:count])
        try:
            data = quantised.in_float(layers) if quantised else source.convert("tflite", "int8", calibration, layers)
        except ExportError as error:
            why = f" ({error})"
            continue
        mixed = candidates.measured(data, artifact.format, "int8", calibration, layers)
        mixed = mixed.with_artifact(replace(mixed.artifact, calibrated=artifact.calibrated))
        verdict = judge(mixed.bundle, mixed.measurement, limits)
        if not verdict.failures:
            return (mixed, verdict), _price(failed, mixed)
    candidates.put_back(failed)
    way = "fine-tune with `deblurkit train --quantise`" if source.weights else "take the dynamic file"
    return None, f"{artifact.file}: not good enough with up to {_COUNTS[-1]} layers in float{why}; {way}"


def _price(before: Candidate, mixed: Candidate) -> str:
    artifact, old, new = mixed.artifact, before.measurement.quality, mixed.measurement.quality
    gained = f", {old.loss_db - new.loss_db:+.3f} dB" if old and new else ""
    kib = (artifact.bytes - before.artifact.bytes) / 1024
    return (
        f"{artifact.file}: {', '.join(artifact.float_layers)} in float{gained}, {kib:+.0f} KiB, "
        f"{_time_ratio(before, mixed):.2f} times the time of the int8 file"
    )


def _time_ratio(before: Candidate, mixed: Candidate, rounds: int = 15) -> float:
    """Median time of one inference of `mixed`, whose file lies in the folder, over that of `before`, measured in turns."""
    bundle, artifact = mixed.bundle, mixed.artifact
    path = bundle.path(artifact)
    other = path.with_name(f".before.{path.name}")
    other.write_bytes(before.data)
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
