"""Quality against latency: the plot that the answer is read from."""

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
    LEAST_MS,
    LIGHT,
    MARKERS,
    NARROW_IN,
    SERIES,
    WIDE_IN,
    Plot,
    clipped,
    look,
    p50,
    style,
    tip,
)

_AROUND = [
    (-7, 5, "right", "bottom"), (0, 9, "center", "bottom"), (7, -5, "left", "top"), (-7, -5, "right", "top"),
    (0, -9, "center", "top"), (7, 5, "left", "bottom"), (-14, 14, "right", "bottom"), (0, 22, "center", "bottom"),
    (0, -22, "center", "top"), (14, -18, "left", "top"),
]  # fmt: skip
"""Where a label may stand beside its point, the best place first: points right and up, and which of its corners is there."""


def quality_latency(result: Result, narrow: bool = False) -> Plot | None:
    """Gain against the median of a frame's time: colour by bundle, marker by runtime; the front as a line."""
    rows = [(i, row) for i, row in enumerate(result.rows) if row.latency is not None and row.gain_db is not None]
    if not rows:
        return None
    with mpl.rc_context(style(narrow)):
        figure = Figure(figsize=(NARROW_IN, 5.4) if narrow else (WIDE_IN, 5.6), layout="constrained")
        axes = figure.subplots()
        axes.axhline(0, color=LIGHT["soft"], linewidth=0.8)
        names = list(dict.fromkeys(row.name for _, row in rows if row.kind == NETWORK))
        place = _places([row for _, row in rows])
        points = [(place(row), row.gain_db or 0.0) for _, row in rows]
        tips = {}
        for i, row in sorted(rows, key=lambda entry: entry[1].front):  # the front on top
            estimate, gain_db = p50(row), row.gain_db or 0.0
            drawn = look(row, names)
            if estimate.low > LEAST_MS:
                span = [estimate.low, estimate.high]
                axes.plot(span, [gain_db, gain_db], color=drawn["color"], linewidth=1, alpha=0.5, zorder=2)
            axes.plot([place(row)], [gain_db], linestyle="", zorder=4 if row.front else 3, gid=f"point-{i}", **drawn)
            tips[f"point-{i}"] = tip(row)
        front = _steps(sorted(at for (_, row), at in zip(rows, points, strict=True) if row.front))
        axes.plot([x for x, _ in front], [y for _, y in front], color=LIGHT["soft"], linewidth=1.1)
        width, height = result.size_wh
        axes.set(xscale="log", xlabel=f"median ms of a {width}x{height} frame", ylabel="mean gain in PSNR, dB")
        axes.margins(x=0.09, y=0.12)
        _log_ticks(axes)
        handles = _legend([row for _, row in rows], names)
        figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 5, columnspacing=1.2, handletextpad=0.4)
        labels = [(place(row), row.gain_db or 0.0, _short(row)) for row in _to_name(result)]
        _name_without_overlap(figure, axes, labels, points, front)
        return Plot("Picture quality against time", figure, tips)


def _places(rows: Sequence[Row]) -> Callable[[Row], float]:
    """Where a row stands on the logarithmic axis, ms."""
    timed = [p50(row).value for row in rows if p50(row).value > LEAST_MS]
    edge = min(timed, default=1.0) / 2
    return lambda row: float(p50(row).value) if p50(row).value > LEAST_MS else edge


def _log_ticks(axes: Any) -> None:
    low, high = axes.get_xlim()
    subs = (1, 2, 5) if high / low < 400 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(rows: Sequence[Row], names: Sequence[str]) -> list[Line2D]:
    def entry(label: str, marker: str, colour: str, **more: Any) -> Line2D:
        shown = clipped("\u200b" + label if label.startswith("_") else label, 20)  # matplotlib hides labels that begin so
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=shown, markersize=7, **more)

    made = [entry(name, "o", SERIES[i % len(SERIES)], markeredgewidth=0) for i, name in enumerate(names)]
    runtimes = dict.fromkeys(row.runtime or "" for row in rows if row.kind == NETWORK)
    made += [entry(runtime, MARKERS.get(runtime, "p"), LIGHT["soft"], markeredgewidth=0) for runtime in runtimes]
    kinds = {row.kind for row in rows}
    if CLASSICAL in kinds:
        made.append(entry("classical", "*", LIGHT["soft"], markeredgewidth=0))
    if NON_BLIND in kinds:
        made.append(entry("non-blind", "*", LIGHT["soft"], markerfacecolor="none"))
    return made


def _to_name(result: Result) -> list[Row]:
    """What is named in the plot, the most important first: the pick, what of the front is best for something, the methods."""
    picked = [row for row in result.rows if result.pick is not None and row.label == result.pick.label]
    best = [row for row, _ in wording.best_for(result.rows)]
    methods = [row for row in result.rows if row.kind != NETWORK]
    named = {row.label: row for row in [*picked, *best, *methods]}
    return [row for row in named.values() if row.latency is not None and row.gain_db is not None]


def _short(row: Row) -> str:
    words = row.name if row.kind != NETWORK else f"{row.name} {row.variant}, {row.runtime} ×{row.threads}"
    return clipped(words, 36)


def _steps(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The front's corners: until the next point nothing is better than the last one."""
    corners = [corner for a, b in itertools.pairwise(front) for corner in (a, (b[0], a[1]))]
    return [*corners, *front[-1:]]


def _name_without_overlap(
    figure: Figure,
    axes: Any,
    labels: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
) -> None:
    """Write each label beside its point where there is room; one without room is left to the pointer."""
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
