"""The figures of a run as PNG: curves by epoch and a grid of examples."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from device.images.degrade import to_pixels
from device.images.quality import psnr


def curves(history: list[dict[str, float]], path: Path, last_loss_from: int | None = None) -> None:
    """Plot loss and quality by epoch, with the quality of the blurred input as the baseline.

    From epoch `last_loss_from` on, counted from 0, a different loss is minimised; it has its own scale on the right.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, quality = figure.subplots(1, 2)
    switch = len(history) if last_loss_from is None else last_loss_from
    loss.set(xlabel="epoch", ylabel="loss", title="Loss")
    for axes, part in ((loss, slice(0, switch)), (loss.twinx() if 0 < switch < len(history) else loss, slice(switch, None))):
        rows = history[part]
        for of, label, colour in (("loss", "training", "C0"), ("val_loss", "validation", "C1")):
            axes.plot(epochs[part], [row[of] for row in rows], color=colour, label=label)
        if rows and min(row["loss"] for row in rows) > 0:  # the logarithm of an error is negative
            axes.set(yscale="log")
    if 0 < switch < len(history):
        loss.axvline(switch + 0.5, color="grey", linestyle=":")
    loss.legend(*(values[:2] for values in loss.get_legend_handles_labels()))
    quality.plot(epochs, [row["val_psnr_db"] for row in history], label="restored")
    quality.axhline(history[0]["val_input_psnr_db"], color="grey", linestyle="--", label="blurred input")
    quality.set(xlabel="epoch", ylabel="PSNR, dB", title="Quality on the validation pictures")
    quality.legend()
    for axes in (loss, quality):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def examples(blurred: np.ndarray, sharp: np.ndarray, restored: np.ndarray, path: Path, most: int = 6, side: int = 192) -> None:
    """Show the central `side` pixels of the first `most` pairs: input, ground truth, restored, with the PSNR of each."""
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
