"""Curves by epoch and a grid of examples, as PNG."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from device.degrade import to_pixels
from device.quality import psnr


def curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss and quality by epoch, with the blurred input's quality as the line to beat."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, quality = figure.subplots(1, 2)
    loss.plot(epochs, [row["loss"] for row in history], label="training")
    loss.plot(epochs, [row["val_loss"] for row in history], label="validation")
    loss.set(xlabel="epoch", ylabel="loss", title="Loss")
    if min(row["loss"] for row in history) > 0:  # the logarithm of an error is negative
        loss.set(yscale="log")
    loss.legend()
    quality.plot(epochs, [row["val_psnr_db"] for row in history], label="restored")
    quality.axhline(history[0]["val_input_psnr_db"], color="grey", linestyle="--", label="blurred input")
    quality.set(xlabel="epoch", ylabel="PSNR, dB", title="Quality on the validation pictures")
    quality.legend()
    for axes in (loss, quality):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def examples(blurred: np.ndarray, sharp: np.ndarray, restored: np.ndarray, path: Path, most: int = 6, side: int = 192) -> None:
    """A grid of the first `most` pairs, middle `side` pixels: input, ground truth, restored, each with its PSNR."""
    rows = min(most, len(sharp))
    cut = min(side, sharp.shape[1])
    at = (sharp.shape[1] - cut) // 2
    inside = np.s_[at : at + cut, at : at + cut]
    figure = Figure(figsize=(7.2, 2.45 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    for i in range(rows):
        for axes, title, picture in zip(
            grid[i], ("input", "ground truth", "restored"), (blurred[i], sharp[i], restored[i]), strict=True
        ):
            note = "" if picture is sharp[i] else f"  {psnr(picture, sharp[i], 1.0):.2f} dB"
            shown = to_pixels(np.ascontiguousarray(picture[inside]))
            axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(title + note, fontsize=9)
            axes.axis("off")
    figure.savefig(path, dpi=110)
