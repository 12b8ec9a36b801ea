"""The plot of quality against latency, with the Pareto front."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from benchmarks.records import CLASSICAL, NETWORK, NON_BLIND, Result, Row
from benchmarks.report import wording
from benchmarks.report.plots import (
    LIGHT,
    MARKERS,
    MIN_MS,
    NARROW_IN,
    SERIES,
    WIDE_IN,
    Plot,
    clipped,
    marker_style,
    p50,
    style,
    tip,
)

_AROUND = [
    (-7, 5, "right", "bottom"), (0, 9, "center", "bottom"), (7, -5, "left", "top"), (-7, -5, "right", "top"),
    (0, -9, "center", "top"), (7, 5, "left", "bottom"), (-14, 14, "right", "bottom"), (0, 22, "center", "bottom"),
    (0, -22, "center", "top"), (14, -18, "left", "top"),
]  # fmt: skip
"""Places for a label beside its point, the best first: offset right and up in points, and the label's corner there."""


def quality_latency(result: Result, narrow: bool = False) -> Plot | None:
    """Plot gain against the median time of a frame: colour by bundle, marker by runtime, the Pareto front as a line."""
    rows = [(i, row) for i, row in enumerate(result.rows) if row.latency is not None and row.gain_db is not None]
    if not rows:
        return None
    with mpl.rc_context(style(narrow)):
        figure = Figure(figsize=(NARROW_IN, 5.4) if narrow else (WIDE_IN, 5.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=LIGHT["soft"], linewidth=0.8)
        names = list(dict.fromkeys(row.name for _, row in rows if row.kind == NETWORK))
        x_of = _x_positions([row for _, row in rows])
        points = [(x_of(row), row.gain_db or 0.0) for _, row in rows]
        tips = {}
        for i, row in sorted(rows, key=lambda entry: entry[1].front):  # the Pareto front on top
            estimate, gain_db = p50(row), row.gain_db or 0.0
            drawn = marker_style(row, names)
            if estimate.low > MIN_MS:
                span = [estimate.low, estimate.high]
                axes.plot(span, [gain_db, gain_db], color=drawn["color"], linewidth=1, alpha=0.5, zorder=2)
            axes.plot([x_of(row)], [gain_db], linestyle="", zorder=4 if row.front else 3, gid=f"point-{i}", **drawn)
            tips[f"point-{i}"] = tip(row)
        corners = _steps(sorted(at for (_, row), at in zip(rows, points, strict=True) if row.front))
        axes.plot([x for x, _ in corners], [y for _, y in corners], color=LIGHT["soft"], linewidth=1.1)
        width, height = result.size_wh
        axes.set(xscale="log", xlabel=f"median ms of a {width}x{height} frame", ylabel="mean gain in PSNR, dB")
        axes.margins(x=0.09, y=0.12)
        _log_ticks(axes)
        handles = _legend([row for _, row in rows], names)
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 5, columnspacing=1.2, handletextpad=0.4)
        labels = [(x_of(row), row.gain_db or 0.0, _short(row)) for row in _labelled(result)]
        _label_without_overlap(figure, axes, labels, points, corners)
        return Plot("Picture quality against time", figure, tips)


def _x_positions(rows: Sequence[Row]) -> Callable[[Row], float]:
    """Return a function from a row to its place on the logarithmic axis, ms."""
    timed = [p50(row).value for row in rows if p50(row).value > MIN_MS]
    edge = min(timed, default=1.0) / 2
    return lambda row: float(p50(row).value) if p50(row).value > MIN_MS else edge


def _log_ticks(axes: Any) -> None:
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high / low < 400 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(rows: Sequence[Row], names: Sequence[str]) -> list[Line2D]:
    def entry(label: str, marker: str, colour: str, **more: Any) -> Line2D:
        shown = clipped("\u200b" + label if label.startswith("_") else label, 20)  # matplotlib hides labels that begin with _
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=shown, markersize=7, **more)

    handles = [entry(name, "o", SERIES[i % len(SERIES)], markeredgewidth=0) for i, name in enumerate(names)]
    runtimes = dict.fromkeys(row.runtime or "" for row in rows if row.kind == NETWORK)
    handles += [entry(runtime, MARKERS.get(runtime, "p"), LIGHT["soft"], markeredgewidth=0) for runtime in runtimes]
    kinds = {row.kind for row in rows}
    if CLASSICAL in kinds:
        handles.append(entry("classical", "*", LIGHT["soft"], markeredgewidth=0))
    if NON_BLIND in kinds:
        handles.append(entry("non-blind", "*", LIGHT["soft"], markerfacecolor="none"))
    return handles


def _labelled(result: Result) -> list[Row]:
    """Rows with a label, the most important first: the pick, Pareto optimal rows that are best for something, methods."""
    picked = [row for row in result.rows if result.pick is not None and row.label == result.pick.label]
    best = [row for row, _ in wording.best_for(result.rows)]
    methods = [row for row in result.rows if row.kind != NETWORK]
    named = {row.label: row for row in [*picked, *best, *methods]}
    return [row for row in named.values() if row.latency is not None and row.gain_db is not None]


def _short(row: Row) -> str:
    words = row.name if row.kind != NETWORK else f"{row.name} {row.variant}, {row.runtime} ×{row.threads}"
    return clipped(words, 36)


def _steps(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the Pareto front: up to the next point, nothing is better than the last one."""
    corners = [corner for a, b in itertools.pairwise(front) for corner in (a, (b[0], a[1]))]
    return [*corners, *front[-1:]]


def _label_without_overlap(
    figure: Figure,
    axes: Any,
    labels: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
) -> None:
    """Write each label beside its point if there is room. Without room, only pointing shows it."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in axes.transData.transform(list(points))]
    corners = axes.transData.transform(list(line)) if line else []
    taken += [Bbox([np.minimum(a, b) - 1, np.maximum(a, b) + 1]) for a, b in itertools.pairwise(corners)]
    for x, y, text in labels:
        for dx, dy, ha, va in _AROUND:
            note = axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=9.3, zorder=5)
            note.set_in_layout(False)
            box = note.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            note.remove()
