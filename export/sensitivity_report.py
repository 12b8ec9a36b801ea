"""The report on layer sensitivity: every layer's loss as a table and as a picture."""

import csv
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from export.layer_sensitivity import LayerSensitivity, decibels, range_text


def write_report(folder: Path, name: str, losses: Sequence[LayerSensitivity]) -> Path:
    """Write every layer's loss as a table (CSV) and a picture (PNG); returns the path of the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}_int8_layers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([column.name for column in fields(LayerSensitivity)])
        table.writerows(astuple(loss) for loss in losses)
    picture = folder / f"{name}_int8_layers.png"
    plot(losses, picture, f"{name}: what 8 bits cost, layer by layer")
    return picture


def plot(losses: Sequence[LayerSensitivity], path: Path, title: str) -> None:
    """A PNG: for each layer, in the given order, its loss alone, its gain in float, and its range at the side."""
    figure = Figure(figsize=(9, 2 + 0.27 * len(losses)), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(losses))
    axes.barh(at, [loss.alone_db for loss in losses], color="C3", height=0.7, label="lost when only this layer is 8-bit")
    back = [loss.back_db for loss in losses]
    axes.plot(back, at, "o", color="C0", markersize=5, label="gained when only this layer is in float")
    axes.set_yticks(at, [f"{loss.layer} ({loss.operator})" for loss in losses], fontsize=9)
    axes.set(xlabel="PSNR, dB", ylim=(len(losses) - 0.4, -0.6))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    side = axes.secondary_yaxis("right")
    side.set_yticks(at, [f"{decibels(loss.alone_db):>8}  {range_text(loss)}" for loss in losses], fontsize=8, family="monospace")
    side.set_ylabel("lost, and the range of its 8 bits", fontsize=9, labelpad=12)
    side.tick_params(length=0)
    side.spines["right"].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    figure.savefig(path, dpi=110)
