"""Train networks of one budget equally long and compare them: what docs/networks.md reports.

python scripts/compare_networks.py TRAIN_PICTURES VALIDATION_PICTURES OUT [--steps N] [--only NAME ...]

Each network has its run folder in OUT and is resumed there; a finished one is only read. Several of these may run at once
with other names. The table is printed at the end, of all that have finished.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from benchmarks import cases
from device.console import start_logging, table
from device.degrade import BLURS
from device.frame import PixelCodec, TensorSpec
from device.picture import write_atomically
from device.quality import psnr
from train import accelerator, data, fit, presets, run_folder
from train.presets import Recipe, UNet

LUMA = UNet(colour="luma")
NETWORKS: dict[str, tuple[UNet, dict[str, object]]] = {
    "rgb s2 16/32/64": (UNet(), {}),
    "luma s2 16/32/64": (LUMA, {}),
    "luma s2 16/32/64/96": (UNet((16, 32, 64, 96), (1, 1, 1, 2), (1, 1, 0), 2, "luma"), {}),
    "luma s4 48/80": (UNet((48, 80), (0, 2), (1,), 4, "luma"), {}),
    "luma s4 48/64/96": (UNet((48, 64, 96), (0, 1, 3), (1, 1), 4, "luma"), {}),
    "luma s4 32/64/96": (UNet((32, 64, 96), (1, 1, 4), (1, 1), 4, "luma"), {}),
    "luma s4 48, one level": (UNet((48,), (3,), (), 4, "luma"), {}),
    "plain blocks": (replace(LUMA, block="plain"), {}),
    "plain blocks, branches": (replace(LUMA, block="plain"), {"branches": True}),
    "residual blocks, branches": (LUMA, {"branches": True}),
    "depthwise blocks": (UNet((16, 32, 64), (3, 4, 6), (3, 3), 2, "luma", "depthwise"), {}),
    "concatenated skips": (replace(LUMA, encoder_blocks=(1, 1, 1), skips="concat"), {}),
    "loss log_mse": (LUMA, {"loss": "log_mse"}),
    "loss + 0.1 fft": (LUMA, {"fft_weight": 0.1}),
    "batch 4, 4 x the steps": (LUMA, {"batch": 4}),
    "nano s4 24/48": (UNet((24, 48), (0, 2), (0,), 4, "luma"), {}),
    "nano s2 8/16/32": (UNet((8, 16, 32), (1, 1, 1), (1, 1), 2, "luma"), {}),
    "nano s2 8/16/32/48": (UNet((8, 16, 32, 48), (1, 1, 1, 1), (1, 0, 0), 2, "luma"), {}),
    "nano s2 8/16/32, batch 4": (UNet((8, 16, 32), (1, 1, 1), (1, 1), 2, "luma"), {"batch": 4}),
}
BLURRED = tuple(case for case in cases.CASES if not case.startswith("sharp"))


def main() -> None:
    """Train what is not finished, score it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    options = parser.parse_args()
    start_logging(quiet=False)
    cv2.setNumThreads(1)
    recipe = Recipe(
        loss="charbonnier",
        batch=16,
        patch=96,
        epochs=4,
        steps_per_epoch=options.steps // 4,
        precision=accelerator.best_precision(),
    )
    pictures = None
    for name in options.only:
        folder = options.out / name.replace("/", "-").replace(" ", "_")
        if (folder / "score.json").is_file():
            continue
        architecture, changed = NETWORKS[name]
        of_network = replace(recipe, **changed)
        of_network = replace(of_network, steps_per_epoch=of_network.steps_per_epoch * recipe.batch // of_network.batch)
        record = _record(folder, architecture, of_network, options)
        if not record.finished:
            pictures = pictures or data.load_photographs(options.train, 96)
            batches: data.Batches = data.Patches(
                pictures, record.blur, patch=96, batch=record.recipe.batch, steps_per_epoch=record.recipe.steps_per_epoch, seed=0
            )
            few = data.load_photographs(options.validation, 96)[:: max(1, 40 // options.pictures)]
            validation = data.fixed_pairs(few, record.blur, side=256, whole=False, multiple=16, seed=0)
            if architecture.colour == "luma":
                batches = data.Luma(batches)
                validation = data.to_luma(validation[0]), data.to_luma(validation[1])
            record = fit.fit(record, folder, batches, validation, quiet=True)
        scores = _scores(folder, options.validation, options.pictures)
        scores |= {"macs": record.macs_per_pixel, "parameters": record.parameters, "seconds": record.seconds}
        write_atomically(folder / "score.json", json.dumps({"name": name, **scores}, indent=1).encode())
    _print(options.out)


def _record(folder: Path, architecture: UNet, recipe: Recipe, options: argparse.Namespace) -> run_folder.RunRecord:
    if (folder / run_folder.RUN_JSON).is_file():
        return run_folder.read_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = run_folder.RunRecord(
        schema=run_folder.SCHEMA, preset="compared", architecture=presets.architecture_config(architecture), recipe=recipe,
        blur=BLURS["camera"], data=run_folder.DataRecord("photographs", (str(options.train),), (), (), 0.0), seed=0,
        parameters=architecture.network(None, None).count_params(), macs_per_pixel=presets.macs_per_pixel(architecture),
        command=" ".join(sys.argv), versions={}, device=accelerator.training_device(),
    )  # fmt: skip
    run_folder.write_run(folder, record)
    return record


def _scores(folder: Path, pictures: Path, most: int) -> dict[str, float]:
    """Mean PSNR gain over RGB, dB, by case; of sharp pictures the PSNR itself."""
    network = run_folder.load_network(folder)
    codec = PixelCodec(TensorSpec("", "float32"), TensorSpec("", "float32"), run_folder.read_run(folder).network.colour)

    def restore(pixels: np.ndarray) -> np.ndarray:
        return codec.to_pixels(np.asarray(network(codec.to_tensor(pixels))), pixels)

    found: dict[str, float] = {}
    for case in cases.CASES:
        rows = []
        for pair in cases.pairs(pictures, case, most):
            before = 0.0 if case == "sharp-in" else psnr(pair.blurred, pair.sharp)
            rows.append(psnr(restore(pair.blurred), pair.sharp) - before)
        found[case] = float(np.mean(rows))
    found["mean"] = float(np.mean([found[case] for case in BLURRED]))
    return found


def _print(out: Path) -> None:
    rows = []
    for path in sorted(out.glob("*/score.json")):
        s = json.loads(path.read_text())
        gains = [f"{s[case]:+.2f}" for case in cases.CASES if case != "sharp-in"]
        rows.append(
            [s["name"], f"{s['macs']:.0f}", f"{s['parameters'] / 1000:.0f}", f"{s['seconds']:.0f}", f"{s['mean']:+.3f}"]
            + [*gains, f"{s['sharp-in']:.1f}"]
        )
    rows.sort(key=lambda row: -float(row[4]))
    header = ["network", "MAC/px", "k par.", "s", "mean", *(c for c in cases.CASES if c != "sharp-in"), "sharp-in dB"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
