"""The report's plots: the times of every file, the whole loop, full load. Quality against latency is in `pareto.py`.

Each is drawn wide for a desk and narrow for a phone. Parts with a tip have a gid that is a key of `Plot.tips`.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.records import NETWORK, NON_BLIND, OK, Estimate, Result, Row, Sustained
from benchmarks.report import wording
from benchmarks.report.wording import ms

LIGHT = {
    "ink": "#17191c", "soft": "#5a6067", "line": "#d4d3cd", "accent": "#0b6e5b", "panel": "#fefefe",
    "s0": "#1f6fb2", "s1": "#c2570c", "s2": "#7b4bb3", "s3": "#0b7a5e", "s4": "#b3367a", "s5": "#7a6a00",
}  # fmt: skip
DARK = {
    "ink": "#eceae6", "soft": "#9ba1a8", "line": "#343a40", "accent": "#5ccfb0", "panel": "#191c1f",
    "s0": "#6db3f2", "s1": "#f29b5c", "s2": "#b999ee", "s3": "#4fcbaa", "s4": "#ee85bb", "s5": "#d6c55a",
}  # fmt: skip
"""Colours by name. The page switches between both sets with the colour scheme of the system."""
MARKERS = {
    "litert": "o", "onnxruntime": "s", "opencv_dnn": "^", "openvino": "P", "ncnn": "v", "tflite_runtime": "D",
    "litert_compiled": "h", "keras": "X",
}  # fmt: skip
_WAITING_STAGE = "capture"
SERIES = [LIGHT[f"s{i}"] for i in range(6)]
WIDE_IN, NARROW_IN = 10.0, 4.5
MIN_MS = 0.05
"""Only `nothing` is faster. It has no place on a logarithmic axis, so it is drawn at the left edge."""
_MAX_ROWS = 40
_TAIL = 12
_MAX_SHARE = 4.0
"""A frame that took longer than this many medians is drawn as an arrow at the edge."""


@dataclass(frozen=True)
class Plot:
    """A figure, and the tip of each part that has one."""

    title: str
    figure: Figure
    tips: dict[str, str] = field(default_factory=dict)


def latencies(result: Result, times: Mapping[int, Sequence[float]], narrow: bool = False) -> Plot | None:
    """Plot how the times of each file on each runtime spread about their median; `times` are in ms by index of row.

    Each is shown with its fastest number of threads. Times are relative to the median, because a spread of 5 % would be
    invisible beside times that are three decades apart.
    """
    chosen = _fastest_threads(result.rows)
    if not chosen:
        return None
    with mpl.rc_context(style(narrow)):
        inches = (0.44 if narrow else 0.27) * len(chosen) + 1.0
        figure = Figure(figsize=(NARROW_IN if narrow else WIDE_IN, inches), layout="constrained")
        axes = figure.subplots()
        names = list(dict.fromkeys(row.name for row in result.rows if row.kind == NETWORK))
        tips = {}
        for y, i in enumerate(chosen):
            row = result.rows[i]
            colour = marker_style(row, names)["color"]
            low, high, far, beyond = _spread(row, times.get(i, ()))
            gid = f"times-{i}"
            axes.plot([low, far], [y, y], color=colour, linewidth=1.2, solid_capstyle="butt")
            axes.plot([low, high], [y, y], color=colour, linewidth=8 if narrow else 9, solid_capstyle="butt", alpha=0.55, gid=gid)
            seen = [share for share in beyond if share <= _MAX_SHARE]
            axes.plot(seen, [y] * len(seen), ".", color=colour, markersize=3.5)
            if len(seen) < len(beyond):
                axes.plot([_MAX_SHARE], [y], ">", color=colour, markersize=5)
            axes.plot([1], [y], "|", color=LIGHT["ink"], markersize=10, markeredgewidth=1.6)
            tips[gid] = tip(row) + (f"\nslowest {ms(max(times[i]))} ms" if i in times else "")
        axes.set(xscale="log", xlabel="a frame's time / the median", ylim=(len(chosen) - 0.4, -1.1 if narrow else -0.6))
        left, right = axes.get_xlim()
        shown = [share for share in (0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 4) if left <= share <= right]
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(shown, [f"{share:g}" for share in shown])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(chosen)), [_with_median(result.rows[i], narrow) for i in chosen])
        _bold_pareto(axes.get_yticklabels(), [result.rows[i] for i in chosen])
        if narrow:
            _labels_above(axes)
        return Plot("How the times spread", figure, tips)


def loops(result: Result, narrow: bool = False) -> Plot | None:
    """Plot the stages of a frame's time in the whole loop, without capture, which waits for the camera."""
    if not result.loops:
        return None
    with mpl.rc_context(style(narrow)):
        inches = 0.62 * len(result.loops) + (1.5 if narrow else 1.1)
        figure = Figure(figsize=(NARROW_IN if narrow else WIDE_IN, inches), layout="constrained")
        axes = figure.subplots()
        stages = [s for s in dict.fromkeys(s for loop in result.loops for s in loop.stages_ms) if s != _WAITING_STAGE]
        named: set[str] = set()
        tips = {}
        for y, loop in enumerate(result.loops):
            left = 0.0
            for stage, value in ((stage, loop.stages_ms.get(stage, 0.0)) for stage in stages):
                gid = f"loop-{y}-{stage}"
                colour = LIGHT["accent"] if stage == "infer" else SERIES[(0, 1, 2, 4, 5)[stages.index(stage) % 5]]
                (bar,) = axes.barh(y, value, left=left, height=0.42, color=colour, label=stage if stage not in named else "_")
                bar.set_gid(gid)
                named.add(stage)
                tips[gid] = f"{loop.label}\n{stage}: {ms(value)} ms"
                left += value
        axes.set(xlabel="ms of a frame, medians", ylim=(len(result.loops) - 0.5, -0.75))
        axes.set_yticks(range(len(result.loops)), [clipped(loop.label, 44) for loop in result.loops])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        _labels_above(axes, 0.21)
        figure.legend(loc="outside lower center", ncols=3 if narrow else 6, columnspacing=1.2, handlelength=1)
        return Plot("The stages of a frame in the whole loop", figure, tips)


def sustained(load: Sustained, narrow: bool = False) -> Plot:
    """Plot rate, clock and temperature over time, with the burst rate and the steady rate."""
    curves: list[tuple[str, list[float | None], str]] = [
        ("frames a second", [s.fps for s in load.curve], LIGHT["s0"]),
        ("clock, MHz", [s.clock_mhz for s in load.curve], LIGHT["s2"]),
        ("temperature, °C", [s.temperature_c for s in load.curve], LIGHT["s1"]),
    ]
    known = [(name, values, colour) for name, values, colour in curves if any(v is not None for v in values)]
    minutes = [s.at_s / 60 for s in load.curve]
    with mpl.rc_context(style(narrow)):
        inches = (2.2 if narrow else 2.4) + 1.4 * (len(known) - 1) + 0.4
        figure = Figure(figsize=(NARROW_IN if narrow else WIDE_IN, inches), layout="constrained")
        ratios = [1.7] + [1.0] * (len(known) - 1)
        panels = figure.subplots(len(known), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, (name, values, colour) in zip(panels, known, strict=True):
            axes.plot(minutes, [np.nan if v is None else v for v in values], color=colour, linewidth=1.6)
            axes.set_title(name, loc="left", fontsize="medium", color=LIGHT["soft"])
            if load.throttled_at_s is not None:
                axes.axvline(load.throttled_at_s / 60, color=LIGHT["soft"], linestyle=":", linewidth=1.2)
        rate = panels[0]
        rate.set_ylim(0, 1.25 * max(*(s.fps for s in load.curve), load.burst_fps))
        for value, words, at in ((load.burst_fps, "burst", "bottom"), (load.steady_fps, "steady", "top")):
            rate.axhline(value, color=LIGHT["ink"], linestyle="--", linewidth=0.9)
            above = 0.02 if at == "bottom" else -0.05
            y = value + above * rate.get_ylim()[1]
            rate.text(minutes[-1], y, f"{words} {value:.1f}", ha="right", va=at)
        panels[-1].set_xlabel("minutes at full load")
        return Plot("Full load over time", figure)


def as_png(plot: Plot) -> bytes:
    """Render the figure on white, for a README or an issue."""
    data = io.BytesIO()
    plot.figure.savefig(data, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return data.getvalue()


def tip(row: Row) -> str:
    """The tip of a point: the row in a few lines."""
    lines = [row.label + (" (Pareto optimal)" if row.front else "")]
    if row.kind == NON_BLIND:
        lines.append("non-blind: gets the true kernel, which no camera knows")
    if (timed := row.latency) is not None:
        p50 = timed.p50_ms
        lines.append(f"p50 {ms(p50.value)} ms [{ms(p50.low)}–{ms(p50.high)}]")
        lines.append(f"p95 {ms(timed.p95_ms.value)}, p99 {ms(timed.p99_ms.value)}, jitter {ms(timed.jitter_ms.value)} ms")
    if row.gain_db is not None:
        sharp = wording.sharp_db(row)
        lines.append(f"gain {row.gain_db:+.2f} dB" + (f", sharp pictures {sharp:.1f} dB" if sharp is not None else ""))
    if row.peak_rss_mib is not None:
        lines.append(f"{row.peak_rss_mib:.0f} MiB")
    return "\n".join(lines)


def style(narrow: bool) -> dict[str, Any]:
    """Settings of matplotlib for both widths."""
    return {
        "font.size": 10.0 if narrow else 9.5, "font.family": ["DejaVu Sans"], "text.parse_math": False,
        "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"], "axes.edgecolor": LIGHT["soft"], "axes.linewidth": 0.7,
        "xtick.color": LIGHT["soft"], "ytick.color": LIGHT["soft"], "xtick.labelcolor": LIGHT["ink"],
        "ytick.labelcolor": LIGHT["ink"], "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": LIGHT["line"], "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.facecolor": "none",
        "figure.facecolor": "none", "legend.frameon": False, "axes.titlepad": 4.0,
    }  # fmt: skip


def p50(row: Row) -> Estimate:
    """The median of a row that was timed."""
    assert row.latency is not None
    return row.latency.p50_ms


def marker_style(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Marker and colour of a row; `names` are those of the bundles."""
    if row.kind == NETWORK:
        colour = SERIES[names.index(row.name) % len(SERIES)]
        return {"marker": MARKERS.get(row.runtime or "", "p"), "color": colour, "markersize": 8.5 if row.front else 6.5,
                "markeredgecolor": LIGHT["panel"], "markeredgewidth": 0.7}  # fmt: skip
    hollow = {"markerfacecolor": "none", "markeredgewidth": 1.3} if row.kind == NON_BLIND else {}
    return {"marker": "*", "color": LIGHT["soft"], "markersize": 11, **hollow}


def _fastest_threads(rows: Sequence[Row]) -> list[int]:
    """Indices of the fastest number of threads for each file on each runtime, fastest first."""
    best: dict[tuple[str, str | None, str | None], int] = {}
    for i in wording.by_speed(rows):
        row = rows[i]
        if row.status == OK and row.kind != NON_BLIND and row.latency is not None and p50(row).value > MIN_MS:
            best.setdefault((row.name, row.file, row.runtime), i)
    return sorted(best.values(), key=lambda i: p50(rows[i]).value)[:_MAX_ROWS]


def clipped(words: str, most: int) -> str:
    """Shorten to `most` characters by leaving out the middle: names of bundles may have any length."""
    return words if len(words) <= most else f"{words[: most // 2 - 1]}…{words[-(most - most // 2) :]}"


def _with_median(row: Row, narrow: bool) -> str:
    name = row.label
    if row.kind == NETWORK:
        name = f"{row.label.rpartition(', ')[0]} ×{row.threads}"
    return f"{clipped(name, 34 if narrow else 52)}: {ms(p50(row).value)} ms"


def _spread(row: Row, times: Sequence[float]) -> tuple[float, float, float, list[float]]:
    """p5, p95, p99 and the slowest frames beyond, relative to the median; without raw times, from the row alone."""
    timed = row.latency
    assert timed is not None
    middle, high, far = timed.p50_ms.value, timed.p95_ms.value, timed.p99_ms.value
    low = max(high - timed.jitter_ms.value, 0.1 * middle)
    beyond = sorted(t for t in times if t > far)[-_TAIL:]
    return low / middle, min(high / middle, _MAX_SHARE), min(far / middle, _MAX_SHARE), [t / middle for t in beyond]


def _bold_pareto(labels: Sequence[Any], rows: Sequence[Row]) -> None:
    for label, row in zip(labels, rows, strict=True):
        label.set_fontweight("bold" if row.front else "normal")


def _labels_above(axes: Any, half: float = 0.0) -> None:
    """Write the names of rows above their bars of half height `half`: beside them they would take half of a phone's width."""
    for at, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        text, weight = label.get_text(), label.get_fontweight()
        above = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "bottom"}
        axes.annotate(text, (0, at - half), (0, 2 if half else 6), fontweight=weight, **above)
    axes.set_yticks([])
