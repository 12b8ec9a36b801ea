"""The gate: every converted file against Keras, through the code that the board runs."""

from dataclasses import dataclass, replace

import keras
import numpy as np

from device.bundle import Artifact, Bundle, Parity, Quality
from device.degrade import to_pixels
from device.frame import PixelCodec
from device.quality import mean_psnr, psnr
from device.restorer import Restorer
from device.runtimes import open_runtime
from device.selfcheck import scenes_psnr
from train.data import Batch

# PSNR in dB between the outputs of file and Keras that a variant must reach (docs of the project's targets, part 2).
BARS_DB = {"fp32": 90.0, "fp16": 60.0, "dynamic": 45.0, "int8": 32.0}
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}
THREADS = 2


@dataclass(frozen=True)
class Verdict:
    """One artifact, measured."""

    artifact: Artifact
    failures: tuple[str, ...]


def keras_outputs(network: keras.Model, blurred: np.ndarray) -> np.ndarray:
    """What Keras makes of (n, h, w, 3), one picture at a time, as the files will be asked."""
    return np.concatenate([np.asarray(network.predict_on_batch(picture[None])) for picture in blurred])


def judge(bundle: Bundle, artifact: Artifact, pairs: Batch, reference: np.ndarray, pictures: str) -> Verdict:
    """Compare one file of a bundle with Keras' outputs `reference` on `pairs`; measure its quality on the same pairs."""
    failures = []
    codec = PixelCodec(artifact.input, artifact.output, bundle.manifest.colour)
    runtime = open_runtime(RUNTIME[artifact.format], bundle.path(artifact), THREADS)
    outputs = np.concatenate([codec.to_values(runtime.run(codec.to_tensor(to_pixels(b)))) for b in pairs[0]])
    runtime.close()
    if outputs.shape != reference.shape:
        failures.append(f"makes {outputs.shape[1:]} where Keras makes {reference.shape[1:]}")
        return Verdict(artifact, tuple(failures))
    if not np.isfinite(outputs).all():
        failures.append("makes NaN or infinite values")
        return Verdict(artifact, tuple(failures))
    parity = Parity(float(np.abs(outputs - reference).max()), round(psnr(outputs, reference, 1.0), 2))
    bar = BARS_DB[artifact.variant]
    if parity.psnr_db < bar:
        failures.append(
            f"is {parity.psnr_db:.1f} dB from Keras, {bar:.0f} dB are needed (largest difference {parity.max_abs:.4f})"
        )
    with Restorer(bundle, artifact.variant, RUNTIME[artifact.format], THREADS) as restorer:
        blurred, sharp = ([to_pixels(p) for p in side] for side in pairs)
        before = mean_psnr(blurred, sharp)
        after = mean_psnr([restorer.restore(b) for b in blurred], sharp)
        scenes = scenes_psnr(restorer)
    quality = Quality(pictures, round(before, 3), round(after, 3), round(after - before, 3), 0.0, round(scenes, 3))
    return Verdict(replace(artifact, parity=parity, quality=quality), tuple(failures))


def with_losses(artifacts: list[Artifact]) -> list[Artifact]:
    """Fill in what each file gives up against the fp32 file of its format."""
    full = {a.format: a.quality.restored_psnr_db for a in artifacts if a.variant == "fp32" and a.quality}
    return [
        replace(a, quality=replace(a.quality, loss_db=round(full[a.format] - a.quality.restored_psnr_db, 3)))
        if a.quality and a.format in full
        else a
        for a in artifacts
    ]


def measure_halo(network: keras.Model, pictures: np.ndarray, multiple: int, level: float = 3e-6) -> int:
    """How far from a window's inner border the result still differs by more than `level` from the untiled one, in pixels.

    The default level is just above the noise of float arithmetic. Half a grey level would do for fp32, but in int8 a small
    difference grows to several levels where it crosses a rounding border (`small`: 56 pixels, and seams of 13 levels).
    Measured with Keras on (n, side, side, 3) pictures, windows of half the side cut from the middle of each; a multiple of
    `multiple`. A halo of a quarter of the side cannot be told from a larger one.
    """
    size, window = pictures.shape[1], pictures.shape[1] // 2
    start = (size - window) // 2 // multiple * multiple
    inside = np.s_[start : start + window, start : start + window]
    y, x = np.mgrid[:window, :window]
    depth = np.minimum(np.minimum(y, window - 1 - y), np.minimum(x, window - 1 - x))
    deepest = 0
    for picture in pictures:
        whole = keras_outputs(network, picture[None])[0][inside]
        alone = keras_outputs(network, picture[inside][None])[0]
        differs = np.abs(whole - alone).max(-1) > level
        if differs.any():
            deepest = max(deepest, int(depth[differs].max()) + 1)
    return -(-deepest // multiple) * multiple
