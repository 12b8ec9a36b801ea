"""The training loop: epochs of steps with a checkpoint after each epoch, so that a run can resume after a kill at any time."""

import csv
import io
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from device.errors import DataError
from device.images.quality import largest_channel_accuracy, mean_psnr
from device.system.files import write_atomically
from train import accelerator, figures, quantise
from train.batches import Batch, Batches, prefetched
from train.checkpoint import load_checkpoint, save_checkpoint
from train.distil import Teacher
from train.losses import distillation_loss, picture_loss
from train.networks import build_network
from train.presets import Recipe
from train.reparameterise import branched
from train.run_folder import CHECKPOINT, HISTORY, RunRecord, write_run
from train.weights import load_initial, save_weights

log = logging.getLogger(__name__)
History = list[dict[str, float]]
_CALIBRATION_BATCHES = 4  # give the initial ranges of a quantisation-aware training, which are then learned
OPTIMIZERS = {"adamw": keras.optimizers.AdamW, "adam": keras.optimizers.Adam}


def fit(record: RunRecord, folder: Path, batches: Batches, validation: Batch, quiet: bool) -> RunRecord:
    """Train the run in `folder` from its checkpoint, or from the start, to its last epoch; returns the finished record.

    However it ends, the last complete epoch is kept. Raises DataError if the loss is no longer finite.
    """
    with devices_for(record) as devices:
        return _fit(record, folder, batches, validation, quiet, devices)


@contextmanager
def devices_for(record: RunRecord) -> Iterator[accelerator.Devices]:
    """Set the run's seed and precision, and yield its devices, for networks that are built and trained in this context."""
    keras.utils.set_random_seed(record.seed)
    keras.config.set_dtype_policy(record.recipe.precision)
    try:
        with accelerator.data_parallel(accelerator.parallel_accelerators() if record.recipe.patch else []) as devices:
            yield devices
    finally:
        keras.config.set_dtype_policy("float32")


def compile_network(
    record: RunRecord, steps: int, resumed: bool = False
) -> tuple[keras.Model, keras.optimizers.Optimizer, Teacher | None]:
    """The run's network with its loss, the optimizer for a training of `steps`, and the teacher if the run has one.

    The network has the initial weights; those of a `resumed` run come from its checkpoint, so --init is not read again.
    """
    architecture = record.parse_architecture()
    network = build_network(architecture, clip=False)
    if record.init and not resumed:
        load_initial(record.init, architecture, network)
    if record.recipe.branches:
        network = branched(network)
    if record.recipe.quantise:
        network = quantise.fake_quantised(network)
    optimizer = _optimizer(record.recipe, steps)
    teacher = Teacher(Path(record.teacher), record.teacher_sha256, architecture) if record.teacher else None
    network.compile(optimizer, (distillation_loss if teacher else picture_loss)(record.recipe))
    optimizer.build(network.trainable_variables)
    return network, optimizer, teacher


def _fit(
    record: RunRecord, folder: Path, batches: Batches, validation: Batch, quiet: bool, devices: accelerator.Devices
) -> RunRecord:
    recipe, began = record.recipe, time.monotonic()
    network, optimizer, teacher = compile_network(
        record, recipe.epochs * batches.steps_per_epoch, (folder / CHECKPOINT).is_file()
    )
    history = load_checkpoint(folder, network, optimizer)
    if history:
        log.info("resuming after epoch %d of %d", len(history), recipe.epochs)
        _write_progress(folder, history, recipe)  # the kill may have come between the checkpoint and these files
    elif recipe.quantise:
        first_batches = [batches.batch(step) for step in range(_CALIBRATION_BATCHES)]
        inputs = [teacher.add_targets(batch, devices)[0] if teacher else batch[0] for batch in first_batches]
        quantise.calibrate(network, np.concatenate(inputs))
    average = _AveragedWeights(network) if recipe.ema else None
    input_psnr = mean_psnr(seen_of(validation), validation[1], 1.0)
    begins_at = len(history)
    for epoch in range(begins_at, recipe.epochs):
        # Another loss or size of patches takes another graph, the one that resuming builds; the optimizer keeps its state.
        if epoch in (begins_at, recipe.last_loss_from) or _stage(recipe, epoch) != _stage(recipe, epoch - 1):
            network.compile(optimizer, (distillation_loss if teacher else picture_loss)(recipe, epoch))
        loss = picture_loss(recipe, epoch)
        if recipe.schedule == "plateau":
            optimizer.learning_rate.assign(plateau_rate(recipe.learning_rate, [row["val_loss"] for row in history]))
        first = epoch * batches.steps_per_epoch
        epoch_began = time.monotonic()
        losses = []
        steps = prefetched(batches, first, first + batches.steps_per_epoch)
        title = f"epoch {epoch + 1}/{recipe.epochs}"
        for batch in tqdm(steps, title, batches.steps_per_epoch, leave=False, unit="step", disable=quiet or None):
            blurred, sharp = teacher.add_targets(batch, devices) if teacher else batch
            losses.append(devices.train(network, blurred, sharp))
            if not math.isfinite(losses[-1]):
                raise DataError(
                    f"the loss became {losses[-1]} in epoch {epoch + 1}; start a new run with a lower --learning-rate"
                )
        train_seconds = time.monotonic() - epoch_began
        with average or nullcontext():
            restored = predict(network, validation[0], devices)
            row = {
                "epoch": epoch + 1,
                "steps": first + batches.steps_per_epoch,
                "learning_rate": float(ops.convert_to_numpy(optimizer.learning_rate)),
                "loss": float(np.mean(losses)),
                "val_loss": float(np.mean(ops.convert_to_numpy(loss(validation[1], restored)))),
                "val_psnr_db": mean_psnr(restored, validation[1], 1.0),
                "val_input_psnr_db": input_psnr,
                "seconds": time.monotonic() - epoch_began,
            }
        history.append(row)
        save_checkpoint(folder, network, optimizer, history)
        _write_progress(folder, history, recipe)
        rate = batches.steps_per_epoch / train_seconds
        gain = row["val_psnr_db"] - input_psnr
        log.info(
            "epoch %d/%d  loss %.5f  val %.2f dB (input %.2f, gain %+.2f)  %.1f steps/s",
            epoch + 1, recipe.epochs, row["loss"], row["val_psnr_db"], input_psnr, gain, rate,
        )  # fmt: skip
    with average or nullcontext():
        if recipe.quantise:
            quantise.write_ranges(folder, network)
        save_weights(folder, record, network)
        restored = predict(network, validation[0], devices)
    figures.examples(seen_of(validation), validation[1], restored, folder / "examples.png")
    seconds = sum(row["seconds"] for row in history)
    log.info("trained in %.0f s (%.0f s in this sitting)", seconds, time.monotonic() - began)
    record = replace(record, finished=True, seconds=round(seconds, 1), results=results(validation, restored))
    write_run(folder, record)
    return record


def seen_of(pairs: Batch) -> np.ndarray:
    """The blurred pictures as seen, without planes that were computed of them."""
    blurred, sharp = pairs
    return blurred[..., : sharp.shape[-1]]


def results(pairs: Batch, restored: np.ndarray) -> dict[str, Any]:
    """PSNR of input and output on fixed pairs, and the tutorial's "accuracy" of both."""
    blurred, sharp = seen_of(pairs), pairs[1]
    return {
        "pictures": len(sharp),
        "input_psnr_db": round(mean_psnr(blurred, sharp, 1.0), 3),
        "restored_psnr_db": round(mean_psnr(restored, sharp, 1.0), 3),
        "input_accuracy": round(largest_channel_accuracy(blurred, sharp), 4),
        "restored_accuracy": round(largest_channel_accuracy(restored, sharp), 4),
    }


def predict(network: keras.Model, blurred: np.ndarray, devices: accelerator.Devices) -> np.ndarray:
    """Restore (n, height, width, 3) in small batches, clipped to 0..1."""
    parts = [devices.predict(network, blurred[i : i + 8]) for i in range(0, len(blurred), 8)]
    return np.clip(np.concatenate(parts), 0, 1)


def plateau_rate(
    peak: float, val_losses: list[float], patience: int = 5, factor: float = math.sqrt(0.1), floor: float = 0.5e-6
) -> float:
    """The learning rate that Keras' ReduceLROnPlateau would set after these validation losses.

    A pure function of them, so that resuming is exact.
    """
    rate, best, waited = peak, math.inf, 0
    for loss in val_losses:
        if loss < best - 1e-4:  # Keras' min_delta
            best, waited = loss, 0
        else:
            waited += 1
            if waited >= patience:
                rate, waited = max(rate * factor, floor), 0
    return rate


def _stage(recipe: Recipe, epoch: int) -> int:
    """The number of the stage that `train.batches.GrowingPatches` is in."""
    return epoch * len(recipe.stages) // recipe.epochs


def write_history(folder: Path, history: History) -> None:
    """Write history.csv, one row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys())
    writer.writeheader()
    writer.writerows({k: round(v, 6) if k != "learning_rate" else f"{v:.3g}" for k, v in row.items()} for row in history)
    write_atomically(folder / HISTORY, text.getvalue().encode())


def _write_progress(folder: Path, history: History, recipe: Recipe) -> None:
    write_history(folder, history)
    figures.curves(history, folder / "curves.png", recipe.last_loss_from)


def _optimizer(recipe: Recipe, total_steps: int) -> keras.optimizers.Optimizer:
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        warm_up = max(1, total_steps // 50)
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate / 100, max(1, total_steps - warm_up), 1e-7 / recipe.learning_rate,
            warmup_target=recipe.learning_rate, warmup_steps=warm_up,
        )  # fmt: skip
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    return OPTIMIZERS[recipe.optimizer](rate, **average)


class _AveragedWeights:
    """In its context the network has the moving average of the weights that the optimizer computes."""

    def __init__(self, network: keras.Model) -> None:
        self._swap = keras.callbacks.SwapEMAWeights()
        self._swap.set_model(network)

    def __enter__(self) -> None:
        self._swap.on_test_begin()

    def __exit__(self, *_: object) -> None:
        self._swap.on_test_end()
