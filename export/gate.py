"""The gate: what a converted file must reach, and the verdict on one that was measured."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from device.bundle.manifest import Artifact
from device.bundle.open import Bundle
from device.errors import BundleError
from export.graph import Graph, graph_of, weights_bytes
from export.measure import RUNTIME, Measurement

# Targets: the PSNR in dB between the outputs of file and network; for int8 a higher one where training learned its ranges.
# These and the losses are the project's targets, part 2.
PARITY_DB = {"fp32": 90.0, "fp16": 60.0, "dynamic": 45.0, "int8": 32.0, "learned": 40.0}
MAX_LOSS_DB = {"fp32": 0.01, "fp16": 0.01, "dynamic": 0.03, "int8": 0.10}
BYTES_PER_PARAMETER = {"fp32": 4.0, "fp16": 2.0, "dynamic": 1.0, "int8": 1.0}
_HAS_8_BIT_KERNEL = {"Conv", "Gemm", "MatMul"}  # in ONNX Runtime; ConvTranspose has none
_ROOM, _ROOM_BYTES = 1.25, 65536  # for what else a file holds: scales, biases, small kernels that stay in float
_SCALE_TOLERANCE = 5e-3  # TFLite fixes the output scale of a sigmoid at 1/256


@dataclass(frozen=True)
class Limits:
    """What a file may lose."""

    parity_db: dict[str, float] = field(default_factory=lambda: PARITY_DB)
    max_loss_db: dict[str, float] = field(default_factory=lambda: MAX_LOSS_DB)
    max_partitions: int = 1
    max_transposes: int = 2
    """One at each end, because pictures have their channels last and ONNX has them first. A Reshape may bring its own."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says about one file."""

    artifact: Artifact
    """With its measured parity and quality."""
    graph: Graph | None
    """None where the runtime does not load the file."""
    failures: tuple[str, ...]

    @property
    def weak(self) -> bool:
        """Whether an int8 file failed by its values, so that it is worth finding the layers that lose."""
        return self.artifact.variant == "int8" and any("dB" in failure for failure in self.failures)


def judge(bundle: Bundle, measured: Measurement, limits: Limits) -> Verdict:
    """Compare the only file of `bundle`, as it was measured, with every target."""
    (artifact,) = bundle.manifest.artifacts
    if measured.refused:
        return Verdict(artifact, None, (measured.fault,))
    path = bundle.path(artifact)
    try:
        graph = graph_of(path, artifact.format, artifact.variant == "int8")
    except BundleError as error:
        return Verdict(artifact, None, (f"is refused by {RUNTIME[artifact.format]}: {error}",))
    failures = [
        *_tensor_failures(artifact),
        *_graph_failures(artifact, graph, limits),
        *_weight_failures(artifact, path, bundle.manifest.parameters),
        *([measured.fault] if measured.fault else _value_failures(artifact, measured, limits)),
    ]
    return Verdict(replace(artifact, parity=measured.parity, quality=measured.quality), graph, tuple(failures))


def _tensor_failures(artifact: Artifact) -> Iterator[str]:
    """Names, types and scales of input and output."""
    for spec, name in ((artifact.input, "blurred"), (artifact.output, "restored")):
        if spec.name != name:
            yield f"calls a tensor {spec.name!r}, {name!r} is needed"
        if spec.dtype not in ("float32", "uint8", "int8") or (spec.dtype != "float32" and artifact.variant != "int8"):
            yield f"has a {name} tensor of {spec.dtype}, float32 is needed (8 bits in int8 files)"
    if artifact.input.dtype == artifact.output.dtype != "float32":
        for spec in (artifact.input, artifact.output):
            if not np.isclose(spec.scale, 1 / 255, rtol=_SCALE_TOLERANCE):
                yield f"has a scale of {spec.scale:.6f} for {spec.name}, 1/255 is needed so that pixels go in unchanged"


def _graph_failures(artifact: Artifact, graph: Graph, limits: Limits) -> Iterator[str]:
    if graph.partitions > limits.max_partitions:
        outside = ", ".join(graph.outside) or "none outside"
        yield f"falls into {graph.partitions} partitions ({outside}), at most {limits.max_partitions} (--max-pieces)"
    slow = [operator for operator in graph.outside if operator in _HAS_8_BIT_KERNEL]
    if slow and not artifact.float_layers:
        yield f"computes {', '.join(slow)} in float, though there are 8-bit kernels"
    if graph.transposes > limits.max_transposes + graph.reshapes:
        most = f"at most {limits.max_transposes} and {graph.reshapes} for its Reshapes"
        yield f"has {graph.transposes} Transposes, {most} (--max-transposes)"
    if graph.variables:
        yield f"has {graph.variables} weights that are not frozen into it"


def _weight_failures(artifact: Artifact, path: Path, parameters: int) -> Iterator[str]:
    """Whether the file holds all weights, in the variant's number of bytes."""
    stored = weights_bytes(path, artifact.format)
    expected = parameters * BYTES_PER_PARAMETER[artifact.variant]
    if stored < expected * 0.98:
        yield f"holds {stored} bytes where {parameters} parameters are {expected:.0f}: weights are missing"
    if stored > expected * _ROOM + _ROOM_BYTES and not artifact.float_layers:
        yield (f"holds {stored} bytes where {parameters} parameters are {expected:.0f}: its weights are not {artifact.variant}")


def _value_failures(artifact: Artifact, measured: Measurement, limits: Limits) -> Iterator[str]:
    """Parity with the network, and quality on the judged pictures."""
    parity, quality = measured.parity, measured.quality
    assert parity
    assert quality
    learned = artifact.calibrated is not None and artifact.calibrated.method == "learned"
    target = limits.parity_db["learned" if learned else artifact.variant]
    if parity.psnr_db < target:
        yield (
            f"is {parity.psnr_db:.1f} dB from the network, {target:.0f} dB are needed (--min-parity; largest difference "
            f"{parity.max_abs:.4f})"
        )
        if measured.swapped_colours:
            yield "has red and blue swapped"
    most = limits.max_loss_db[artifact.variant]
    if quality.loss_db > most:
        yield f"restores {quality.loss_db:.3f} dB less than the network, at most {most:.2f} dB may be lost (--max-loss)"
