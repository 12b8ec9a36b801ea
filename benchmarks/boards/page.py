"""One HTML page of all contributed boards, with plots, that needs no other file."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.best_at_rate import INTERVAL_SHARE, limit_ms, p50_ms
from benchmarks.boards.summary import FPS, measured_networks, summarise
from benchmarks.records import OK, Result
from benchmarks.report.inline_svg import inline_svg
from benchmarks.report.plots import LIGHT, Plot
from benchmarks.report.template import render

_MARKERS = "os^Dv<>p*h"
_COLUMNS = {"board": "board", "best": f"best at {FPS} fps", "fastest": "fastest", "kind": "kind", "cpu": "processor",
            "size": "frame", "date": "date"}  # fmt: skip
"""Columns by key of the summary: the answers first, because a phone shows two columns."""
_HEADER = ("what", "p50 ms", "95 %", "p95 ms", "p99 ms", "load ms", "MiB", "gain dB")


def page(results: dict[str, Result]) -> str:
    """Make the page; `results` are by file name."""
    comparable: dict[tuple[tuple[int, ...], str], list[Result]] = {}
    for result in results.values():
        comparable.setdefault((tuple(result.size_wh), result.pictures), []).append(result)
    figures = []
    for i, ((size_wh, pictures), group) in enumerate(comparable.items()):
        caption = f"Frames of {'x'.join(map(str, size_wh))}; quality on {pictures}"
        figures.append((caption, Markup(inline_svg(_plot(group), f"boards-{i}"))))
    return render(
        "boards.html",
        {},
        fps=FPS,
        limit_ms=limit_ms(FPS),
        interval_share=INTERVAL_SHARE,
        columns=_COLUMNS,
        header=_HEADER,
        plots=figures,
        boards=[_board(name, result) for name, result in results.items()],
    )


def _plot(results: Sequence[Result]) -> Plot:
    """Plot gain against p50, with a colour for each board."""
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with mpl.rc_context({"text.parse_math": False} | dict.fromkeys(inks, LIGHT["ink"])):
        figure = Figure(figsize=(5.2, 4.2 + 0.2 * len(results)), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        for i, result in enumerate(results):
            rows = measured_networks(result)
            colour, marker = f"C{i % 10}", _MARKERS[i // 10 % len(_MARKERS)]
            label = f"{summarise(result)['board']}, {result.started[:10]}"
            gains = [row.gain_db or 0.0 for row in rows]
            axes.scatter([p50_ms(row) for row in rows], gains, s=28, color=colour, marker=marker, label=label)
        axes.axvline(1000 / FPS, color=LIGHT["ink"], linewidth=0.8, linestyle=":")
        axes.annotate(f"{FPS} fps", (1000 / FPS, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
                      textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set(xscale="log", xlabel="p50 of a frame, ms (log)", ylabel="mean gain in PSNR, dB")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8, ncols=1)
        return Plot("Gain against p50", figure)


def _board(name: str, result: Result) -> dict[str, Any]:
    machine = result.machine
    facts = [
        machine.cpu, f"{machine.cores} cores", machine.machine, machine.kind, f"{machine.memory_mib or 'unknown'} MiB",
        f"governor {machine.governor or 'unknown'}", machine.system, f"Linux {machine.kernel}", f"suite {result.suite}",
        f"{result.rounds} rounds", result.command,
    ]  # fmt: skip
    return {
        "file": name,
        "summary": summarise(result),
        "facts": facts,
        "pick": result.pick,
        "timed": sorted((row for row in result.rows if row.status == OK and row.latency is not None), key=p50_ms),
        "untimed": [row for row in result.rows if row.status != OK],
    }
