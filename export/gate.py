"""The gate: every converted file against the network it was made of, through the code that the board runs."""

from dataclasses import dataclass, field, replace

import numpy as np

from device.bundle.manifest import Artifact, Parity, Quality, TensorSpec
from device.bundle.open import Bundle
from device.images.degrade import to_pixels
from device.images.quality import mean_psnr, psnr
from device.restore.pixel_codec import PixelCodec
from device.restore.restorer import Restorer
from device.restore.self_check import scenes_psnr
from device.runtimes import open_runtime
from export import graph
from export.export_source import Pictures
from export.graph import Graph

# PSNR in dB between the outputs of file and network that a variant must reach; int8 a higher one where training learned its
# ranges. These and the losses are the project's targets, part 2.
PARITY_DB = {"fp32": 90.0, "fp16": 60.0, "dynamic": 45.0, "int8": 32.0, "learned": 40.0}
MAX_LOSS_DB = {"fp32": 0.01, "fp16": 0.01, "dynamic": 0.03, "int8": 0.10}
BYTES_PER_PARAMETER = {"fp32": 4.0, "fp16": 2.0, "dynamic": 1.0, "int8": 1.0}
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime", "ncnn": "ncnn"}
THREADS = 2
_HAS_8_BIT_KERNEL = {"Conv", "Gemm", "MatMul"}  # of ONNX Runtime; ConvTranspose has none
_ROOM, _ROOM_BYTES = 1.25, 65536  # for what else a file holds: scales, biases, small kernels left in float
_SCALE_TOLERANCE = 5e-3  # TFLite fixes what a sigmoid puts out at 1/256
_FLOAT = TensorSpec("", "float32")


@dataclass(frozen=True)
class Limits:
    """What a file may cost."""

    parity_db: dict[str, float] = field(default_factory=lambda: PARITY_DB)
    max_loss_db: dict[str, float] = field(default_factory=lambda: MAX_LOSS_DB)
    max_partitions: int = 1
    max_transposes: int = 2
    """One at each end, where pictures have their channels last and ONNX has them first. A Reshape may bring its own."""


@dataclass(frozen=True)
class Verdict:
    """One artifact, measured."""

    artifact: Artifact
    graph: Graph | None
    failures: tuple[str, ...]

    @property
    def weak(self) -> bool:
        """Whether an int8 file failed by what it computes, so that it is worth asking which layer did it."""
        return self.artifact.variant == "int8" and any("dB" in failure for failure in self.failures)


class Judge:
    """Holds what all files of a bundle are compared with."""

    def __init__(self, pictures: Pictures, reference: np.ndarray, colour: str, limits: Limits) -> None:
        """`reference`: what the network makes of the judged pictures, (n, h, w, c)."""
        self._reference, self._colour, self._limits = reference, colour, limits
        self._described = pictures.described
        self._blurred, self._sharp = ([to_pixels(p) for p in side] for side in (pictures.blurred, pictures.sharp))
        codec = PixelCodec(_FLOAT, _FLOAT, colour)
        self._before = mean_psnr(self._blurred, self._sharp)
        self._best = mean_psnr([codec.to_pixels(r[None], b) for r, b in zip(reference, self._blurred, strict=True)], self._sharp)

    def restored_db(self, bundle: Bundle, artifact: Artifact) -> float:
        """Mean PSNR in dB of the judged pictures, restored by a file that lies in the bundle's folder."""
        bundle = Bundle(bundle.folder, replace(bundle.manifest, artifacts=(artifact,)))
        with Restorer(bundle, artifact.variant, RUNTIME[artifact.format], THREADS) as restorer:
            return mean_psnr([restorer.restore(b) for b in self._blurred], self._sharp)

    def judge(self, bundle: Bundle, artifact: Artifact) -> Verdict:
        """Measure one file that lies in the bundle's folder, and hold it against every target."""
        bundle = Bundle(bundle.folder, replace(bundle.manifest, artifacts=(artifact,)))
        path = bundle.path(artifact)
        seen = graph.graph_of(path, artifact.format, artifact.variant == "int8")
        failures = [*self._contract(artifact), *self._graph(bundle, artifact, seen)]
        outputs = self._outputs(bundle, artifact)
        if outputs.shape != self._reference.shape:
            failures.append(f"makes {outputs.shape[1:]} where the network makes {self._reference.shape[1:]}")
            return Verdict(artifact, seen, tuple(failures))
        if not np.isfinite(outputs).all():
            failures.append("makes NaN or infinite values")
            return Verdict(artifact, seen, tuple(failures))
        parity = Parity(float(np.abs(outputs - self._reference).max()), round(psnr(outputs, self._reference, 1.0), 2))
        learned = artifact.calibrated is not None and artifact.calibrated.method == "learned"
        target = self._limits.parity_db["learned" if learned else artifact.variant]
        if parity.psnr_db < target:
            failures.append(
                f"is {parity.psnr_db:.1f} dB from the network, {target:.0f} dB are needed (--min-parity; largest difference "
                f"{parity.max_abs:.4f})"
            )
            failures += self._colours(outputs)
        after = self.restored_db(bundle, artifact)
        with Restorer(bundle, artifact.variant, RUNTIME[artifact.format], THREADS) as restorer:
            scenes = scenes_psnr(restorer)
        loss = round(self._best - after, 3)
        most = self._limits.max_loss_db[artifact.variant]
        if loss > most:
            failures.append(f"restores {loss:.3f} dB less than the network, at most {most:.2f} dB may be lost (--max-loss)")
        quality = Quality(
            self._described, round(self._before, 3), round(after, 3), round(after - self._before, 3), loss, round(scenes, 3)
        )
        return Verdict(replace(artifact, parity=parity, quality=quality), seen, tuple(failures))

    def first_output(self, bundle: Bundle, artifact: Artifact) -> np.ndarray:
        """What the file makes of the first judged picture."""
        return self._outputs(bundle, artifact, 1)

    def _outputs(self, bundle: Bundle, artifact: Artifact, most: int | None = None) -> np.ndarray:
        codec = PixelCodec(artifact.input, artifact.output, bundle.manifest.colour)
        runtime = open_runtime(RUNTIME[artifact.format], bundle.path(artifact), THREADS)
        try:
            return np.concatenate([codec.to_values(runtime.run(codec.to_tensor(b))) for b in self._blurred[:most]])
        finally:
            runtime.close()

    def _contract(self, artifact: Artifact) -> list[str]:
        failures = []
        for spec, name in ((artifact.input, "blurred"), (artifact.output, "restored")):
            if spec.name != name:
                failures.append(f"calls a tensor {spec.name!r}, {name!r} is needed")
            if spec.dtype not in ("float32", "uint8", "int8") or (spec.dtype != "float32" and artifact.variant != "int8"):
                failures.append(f"has a {name} tensor of {spec.dtype}, float32 is needed (8 bits in int8 files)")
        if artifact.input.dtype == artifact.output.dtype != "float32":
            for spec in (artifact.input, artifact.output):
                if not np.isclose(spec.scale, 1 / 255, rtol=_SCALE_TOLERANCE):
                    failures.append(
                        f"has a scale of {spec.scale:.6f} for {spec.name}, 1/255 is needed so that pixels go in as they are"
                    )
        return failures

    def _graph(self, bundle: Bundle, artifact: Artifact, seen: Graph) -> list[str]:
        failures = []
        if seen.partitions > self._limits.max_partitions:
            outside = ", ".join(seen.outside) or "none outside"
            failures.append(
                f"falls into {seen.partitions} partitions ({outside}), at most {self._limits.max_partitions} (--max-pieces)"
            )
        slow = [operator for operator in seen.outside if operator in _HAS_8_BIT_KERNEL]
        if slow and not artifact.float_layers:
            failures.append(f"computes {', '.join(slow)} in float, though there are 8-bit kernels")
        if seen.transposes > self._limits.max_transposes + seen.reshapes:
            most = f"at most {self._limits.max_transposes} and {seen.reshapes} for its Reshapes"
            failures.append(f"has {seen.transposes} Transposes, {most} (--max-transposes)")
        if seen.variables:
            failures.append(f"has {seen.variables} weights that are not frozen into it")
        held = graph.weights_bytes(bundle.folder / artifact.file, artifact.format)
        least = bundle.manifest.parameters * BYTES_PER_PARAMETER[artifact.variant]
        parameters = bundle.manifest.parameters
        if held < least * 0.98:
            failures.append(f"holds {held} bytes where {parameters} parameters are {least:.0f}: weights are missing")
        if held > least * _ROOM + _ROOM_BYTES and not artifact.float_layers:
            failures.append(
                f"holds {held} bytes where {parameters} parameters are {least:.0f}: its weights are no {artifact.variant}"
            )
        return failures

    def _colours(self, outputs: np.ndarray) -> list[str]:
        """What is often wrong, where the outputs are."""
        if self._colour == "rgb" and psnr(outputs[..., ::-1], self._reference, 1.0) > psnr(outputs, self._reference, 1.0) + 6:
            return ["has red and blue swapped"]
        return []
