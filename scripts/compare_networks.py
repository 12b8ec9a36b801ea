"""Train networks of similar cost equally long and compare them: the tables of docs/networks.md.

python scripts/compare_networks.py train TRAIN_PICTURES VALIDATION_PICTURES OUT [--steps N] [--only NAME ...]
python scripts/compare_networks.py time [--only NAME ...]     milliseconds of each, untrained; run nothing else meanwhile

Networks whose names begin with "told" have two planes and are told the PSF: mostly in training, always when they are scored.
Train them into a folder of their own with --told.

Each network has its own run folder in OUT and resumes there after a kill; a finished one is only read. Several processes with
different names may run at the same time. The table has all networks that have finished.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import cases
from device.blur.deconvolution import deconvolve, regularisation_for, wiener_filter
from device.blur.psf import BLIND, Psf
from device.bundle.manifest import TensorSpec
from device.images.degrade import BLURS, to_luma
from device.images.frame import Pixels
from device.images.quality import psnr
from device.images.scenes import dead_leaves
from device.restore.pixel_codec import PixelCodec
from device.runtimes import open_runtime
from device.system.console import start_logging, table
from device.system.files import write_atomically
from export import to_tflite
from train import accelerator, fit, quantise, run_folder, weights
from train.architectures import UNet, architecture_config, planes_of_architecture
from train.batches import Patches, fixed_pairs
from train.networks import build_network
from train.networks.describe import macs_per_pixel
from train.photographs import load_photographs
from train.presets import Recipe
from train.two_planes import PlanePatches, network_inputs, planes_of

LUMA = UNet(colour="luma")
DEEP = UNet((16, 32, 64, 64), (1, 1, 2, 2), (1, 1, 0), colour="luma")
NANO = UNet((8, 16, 32), (1, 1, 1), (1, 1), colour="luma")
# Name -> the network, and what differs from the recipe of this script.
NETWORKS: dict[str, tuple[UNet, dict[str, object]]] = {
    "luma, 16/32/64": (LUMA, {}),
    "rgb": (UNet(), {}),
    "a fourth level (small)": (DEEP, {}),
    "stem 4, 48/64/96": (UNet((48, 64, 96), (0, 1, 3), (1, 1), 4, "luma"), {}),
    "stem 4, one level of 48": (UNet((48,), (3,), (), 4, "luma"), {}),
    "plain blocks": (replace(LUMA, block="plain"), {}),
    "plain blocks, branches": (replace(LUMA, block="plain"), {"branches": True}),
    "residual blocks, branches": (LUMA, {"branches": True}),
    "depthwise blocks": (UNet((16, 32, 64), (3, 4, 6), (3, 3), 2, "luma", "depthwise"), {}),
    "concatenated skips": (replace(LUMA, encoder_blocks=(1, 1, 1), skips="concat"), {}),
    "loss log_mse": (LUMA, {"loss": "log_mse"}),
    "loss + 0.1 fft": (LUMA, {"fft_weight": 0.1}),
    "a quarter of the batch, 4 x the steps": (LUMA, {"batch": 4}),
    "nano: 8/16/32": (NANO, {}),
    "nano: a fourth level (nano)": (UNet((8, 16, 32, 32), (1, 1, 1, 1), (1, 1, 0), colour="luma"), {}),
    "nano: stem 4, 24/48": (UNet((24, 48), (0, 2), (0,), 4, "luma"), {}),
    "nano: stem 4, 24/32/48": (UNet((24, 32, 48), (0, 1, 2), (1, 0), 4, "luma"), {}),
}
TWO = replace(DEEP, planes=2)
TOLD: dict[str, tuple[UNet, dict[str, object]]] = {
    "told: small": (TWO, {"batch": 8, "learning_rate": 1e-3}),
    "told: 32/32/64, stem 2": (UNet((32, 32, 64), (0, 1, 2), (0, 1), 2, "luma", planes=2), {"batch": 8, "learning_rate": 2e-3}),
    "told: 48/64/96, stem 4": (UNet((48, 64, 96), (0, 1, 3), (1, 1), 4, "luma", planes=2), {"batch": 8, "learning_rate": 7e-4}),
    "told: small, filtered as stored": (TWO, {"batch": 8, "learning_rate": 1e-3}),
    "told: small, two regularisations": (TWO, {"batch": 8, "learning_rate": 1e-3}),
}
NETWORKS |= TOLD
EPOCHS, BATCH, PATCH = 4, 16, 96


def planes_as_stored(pixels: Pixels, psf: Psf) -> NDArray[np.uint8]:
    """As `planes_of`, with the filter on the values as they are stored, whatever light the blur holds in."""
    return planes_of(pixels, replace(psf, linear=False))


def planes_twice(pixels: Pixels, psf: Psf) -> NDArray[np.uint8]:
    """(h, w, 2): deconvolved with ten times the usual regularisation, and as usual; the picture as seen is left out."""
    planes = planes_of(pixels, psf)
    if not psf.is_blind:
        wiener = wiener_filter(psf.kernel(), *planes.shape[:2], 10 * regularisation_for(psf.noise))
        planes[..., 0] = deconvolve(np.ascontiguousarray(planes[..., 0]), wiener, psf.linear)
    return planes


PLANES = {"told: small, filtered as stored": planes_as_stored, "told: small, two regularisations": planes_twice}


class ToldPatches(PlanePatches):
    """With the planes of `PLANES`."""

    planes = staticmethod(planes_of)

    def _with_plane(self, pixels: Pixels, psf: Psf) -> NDArray[np.uint8]:
        return self.planes(pixels, psf)


def main() -> None:
    """Train or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training, timing = commands.add_parser("train"), commands.add_parser("time")
    for command in (training, timing):
        command.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NAME")
    for name in ("train", "validation", "out"):
        training.add_argument(name, type=Path)
    training.add_argument("--told", action="store_true", help="the networks of two planes instead of the others")
    training.add_argument("--steps", type=int, default=2400)
    training.add_argument("--pictures", type=int, default=10)
    options = parser.parse_args()
    if options.command == "train":
        options.only = [name for name in options.only if (name in TOLD) == options.told]
    start_logging(quiet=False)
    cv2.setNumThreads(1)
    print(compare(options) if options.command == "train" else latencies(options.only))


def compare(options: argparse.Namespace) -> str:
    """Train and score the networks that have not finished; returns the table of all."""
    pictures = None
    for name in options.only:
        folder = options.out / "".join(c if c.isalnum() else "_" for c in name)
        if (folder / "score.json").is_file():
            continue
        record = _record(folder, name, options)
        architecture, recipe = record.parse_architecture(), record.recipe
        if not record.finished:
            pictures = pictures or load_photographs(options.train, PATCH)
            luma = architecture.colour == "luma"
            planes = planes_of_architecture(architecture)
            patches = ToldPatches if planes == 2 else Patches
            batches = patches(
                pictures, record.blur, patch=PATCH, batch=recipe.batch, steps_per_epoch=recipe.steps_per_epoch, seed=0, luma=luma
            )
            few = load_photographs(options.validation, PATCH)[:: max(1, 40 // options.pictures)]
            validation = fixed_pairs(few, record.blur, side=256, whole=False, multiple=16, seed=0)
            if luma:
                inputs = network_inputs(validation[0], [BLIND] * len(few)) if planes == 2 else to_luma(validation[0])
                validation = inputs, to_luma(validation[1])
            if isinstance(batches, ToldPatches):
                batches.planes = PLANES.get(name, planes_of)  # type: ignore[method-assign]
            record = fit.fit(record, folder, batches, validation, quiet=True)
        score = {"name": name, "macs": record.macs_per_pixel, "parameters": record.parameters, "seconds": record.seconds}
        score |= _scores(folder, name, options.validation, options.pictures)
        write_atomically(folder / "score.json", json.dumps(score, indent=1).encode())
    return _score_table(options.out)


def _record(folder: Path, name: str, options: argparse.Namespace) -> run_folder.RunRecord:
    if (folder / run_folder.RUN_JSON).is_file():
        return run_folder.read_run(folder)
    architecture, changes = NETWORKS[name]
    recipe = replace(
        Recipe(last_share=0.0, batch=BATCH, patch=PATCH, epochs=EPOCHS, precision=accelerator.best_precision()), **changes
    )  # type: ignore[arg-type]
    recipe = replace(recipe, steps_per_epoch=options.steps * BATCH // recipe.batch // EPOCHS)
    folder.mkdir(parents=True, exist_ok=True)
    record = run_folder.RunRecord(
        schema=run_folder.SCHEMA, preset="compared", architecture=architecture_config(architecture), recipe=recipe,
        blur=BLURS["camera"], data=run_folder.DataRecord("photographs", (str(options.train),), (), (), 0.0), seed=0,
        parameters=build_network(architecture).count_params(), macs_per_pixel=macs_per_pixel(architecture),
        command=" ".join(sys.argv), versions={}, device=accelerator.training_device(),
    )  # fmt: skip
    run_folder.write_run(folder, record)
    return record


def _scores(folder: Path, name: str, pictures: Path, most: int) -> dict[str, float]:
    """Mean PSNR gain over RGB, dB, by case; for sharp-in the PSNR itself. Networks of two planes are told the PSF."""
    network = weights.load_network(folder)
    architecture = run_folder.read_run(folder).parse_architecture()
    planes = planes_of_architecture(architecture)
    plain = TensorSpec("", "float32")
    codec = PixelCodec(plain, plain, architecture.colour, planes)

    def restore(pixels: np.ndarray, psf: Psf) -> np.ndarray:
        seen = PLANES.get(name, planes_of)(pixels, psf) if planes == 2 else pixels
        return codec.to_pixels(np.asarray(network(codec.to_tensor(seen))), pixels)

    scores: dict[str, float] = {}
    for case in cases.QUALITY_CASES if planes == 2 else cases.CASES:
        rows = []
        for pair in cases.pairs(pictures, case, most):
            before = 0.0 if case == "sharp-in" else psnr(pair.blurred, pair.sharp)
            psf = cases.true_psf(pictures, case, Path(pair.name).stem)
            rows.append(psnr(restore(pair.blurred, psf), pair.sharp) - before)
        scores[case] = float(np.mean(rows))
    scores["mean"] = float(np.mean([gain for case, gain in scores.items() if not case.startswith("sharp")]))
    return scores


def _score_table(out: Path) -> str:
    scores = [json.loads(path.read_text()) for path in out.glob("*/score.json")]
    scored = [case for case in cases.QUALITY_CASES if case != "sharp-in" and all(case in score for score in scores)]
    rows = []
    for s in sorted(scores, key=lambda score: -score["mean"]):
        cost = [f"{s['macs']:.0f}", f"{s['parameters'] / 1000:.0f}", f"{s['seconds'] / 60:.0f}"]
        rows.append([s["name"], *cost, f"{s['mean']:+.3f}", *(f"{s[case]:+.2f}" for case in scored), f"{s['sharp-in']:.1f}"])
    return table(["network", "MAC/px", "k par.", "min", "mean", *scored, "sharp-in dB"], rows)


def latencies(names: list[str], frames: int = 40) -> str:
    """Median ms of LiteRT for 640x480 with one thread; the variants of a network alternate."""
    picture = dead_leaves(480, 640, 0)
    rows = []
    for name in names:
        architecture, changes = NETWORKS[name]
        if changes:
            continue  # the same network with a different recipe
        unclipped, clipped = (build_network(architecture, 480, 640, batch=1, clip=clip) for clip in (False, True))
        tensor = PixelCodec(
            TensorSpec("", "float32"), TensorSpec("", "float32"), architecture.colour, planes_of_architecture(architecture)
        ).to_tensor(picture)
        files = {variant: to_tflite.to_tflite(clipped, variant) for variant in ("fp32", "dynamic")}
        if quantise.can_quantise(unclipped):
            ranges = quantise.calibrated_ranges(unclipped, [tensor])
            files["int8"] = to_tflite.with_pixels(to_tflite.to_tflite_int8(unclipped, ranges), "int8")
        ms: dict[str, list[float]] = {variant: [] for variant in files}
        with tempfile.TemporaryDirectory() as folder:
            runtimes = {}
            for variant, content in files.items():
                path = Path(folder, f"{variant}.tflite")
                path.write_bytes(content)
                codec = PixelCodec(*to_tflite.tflite_specs(content), architecture.colour, planes_of_architecture(architecture))
                runtimes[variant] = open_runtime("litert", path, 1), codec.to_tensor(picture)
            for _ in range(frames):
                for variant, (runtime, inputs) in runtimes.items():
                    began = time.perf_counter()
                    runtime.run(inputs)
                    ms[variant].append(1000 * (time.perf_counter() - began))
            for runtime, _ in runtimes.values():
                runtime.close()
        median = {variant: float(np.median(values[frames // 4 :])) for variant, values in ms.items()}
        cells = [f"{median[v]:.2f}" if v in median else "-" for v in ("fp32", "dynamic", "int8")]
        macs = macs_per_pixel(architecture)
        rows.append([name, f"{macs:.0f}", *cells, f"{median['fp32'] / min(median.values()):.2f}"])
    return table(["network", "MAC/px", "fp32 ms", "dynamic ms", "int8 ms", "fp32 / best 8-bit"], rows)


if __name__ == "__main__":
    main()
