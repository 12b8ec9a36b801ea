"""A result as one HTML page that needs no other file: the answer first, then the figures that it rests on."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from markupsafe import Markup

from benchmarks.intervals import ROUNDS_SHARE, STEADY_MIN_S, STEADY_SHARE
from benchmarks.records import Example, Result, Sustained, as_json
from benchmarks.report import html_tables, pareto, plots, wording
from benchmarks.report.inline_svg import inline_svg
from benchmarks.report.plots import DARK, LIGHT, Plot
from benchmarks.report.template import render
from benchmarks.sustained import BURST_S, SAMPLE_S

_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_CAP_DB = 99.0
"""PSNR of equal pictures."""

Drawn = list[tuple[str, Markup]]
"""A figure drawn wide for a desk and narrow for a phone, of which the page shows one."""


def page(result: Result, times: Mapping[int, Sequence[float]], emulated: Mapping[str, Any] | None) -> str:
    """Make the page. `times`: milliseconds of every timed frame by index of row; `emulated`: see `boards.prediction`."""
    pick = result.pick
    picked = next((row for row in result.rows if pick and row.label == pick.label), None)
    return render(
        "report.html",
        {
            "figures": wording.figures,
            "sharp_db": wording.sharp_db,
            "what": html_tables.what,
            "output_name": html_tables.output_name,
            "tint": html_tables.tint,
        },
        result=result,
        size="x".join(map(str, result.size_wh)),
        light=LIGHT,
        dark=DARK,
        machine_line=wording.machine_line(result),
        why=pick.why[:1].upper() + pick.why[1:].rstrip(".") if pick else "",
        command=wording.command(result, pick) if pick else "",
        key_figures=html_tables.key_figures(picked) if picked else [],
        best=wording.best_for(result.rows),
        doubts=wording.doubts(result),
        pareto_plot=_draw("pareto", lambda narrow: pareto.quality_latency(result, narrow)),
        times_plot=_draw("times", lambda narrow: plots.latencies(result, times, narrow)),
        examples=_examples(result),
        loads=[_load(load, f"load{i}") for i, load in enumerate(result.sustained)],
        loops_plot=_draw("loops", lambda narrow: plots.loops(result, narrow)),
        loops_table=html_tables.loops(result) if result.loops else None,
        head=html_tables.HEAD,
        rows=[result.rows[i] for i in wording.by_speed(result.rows)],
        cases=html_tables.cases(result),
        cap_db=_CAP_DB,
        machine_facts=wording.machine_facts(result),
        versions=html_tables.versions(result),
        surroundings=html_tables.surroundings(result),
        steady_share=STEADY_SHARE,
        steady_min_s=STEADY_MIN_S,
        rounds_share=ROUNDS_SHARE,
        sample_s=f"{SAMPLE_S:g}",
        burst_s=f"{BURST_S:g}",
        emulated=html_tables.emulated(emulated),
        json=_embedded(result),
    )


def times_of(raw: bytes | None) -> dict[int, list[float]]:
    """Read raw.csv: milliseconds by index of row; none without it."""
    times: dict[int, list[float]] = {}
    for entry in csv.DictReader(io.StringIO((raw or b"").decode())):
        times.setdefault(int(entry["row"]), []).append(float(entry["ms"]))
    return times


def _draw(name: str, draw: Callable[[bool], Plot | None]) -> Drawn:
    drawn = ((width, draw(width == "narrow")) for width in ("wide", "narrow"))
    return [(width, Markup(inline_svg(plot, f"{name}-{width}"))) for width, plot in drawn if plot is not None]


def _examples(result: Result) -> dict[str, list[Example]]:
    """Example pictures by case, without those whose PNG is not base64."""
    examples: dict[str, list[Example]] = {}
    for example in result.examples:
        if _BASE64.fullmatch(example.png):
            examples.setdefault(example.case, []).append(example)
    return examples


def _load(load: Sustained, name: str) -> tuple[Sustained, list[tuple[str, str]], Drawn]:
    facts = [
        ("frames a second at first (burst)", f"{load.burst_fps:.1f}"),
        ("frames a second later (steady)", f"{load.steady_fps:.1f}"),
        ("kept", wording.share(load.kept)),
        ("throttled from", f"{load.throttled_at_s:.0f} s" if load.throttled_at_s is not None else "never"),
    ]
    return load, facts, _draw(name, partial(plots.sustained, load)) if load.curve else []


def _embedded(result: Result) -> Markup:
    """The result as JSON without its pictures, which the page already shows. "<" is escaped: no name can end the script."""
    small = replace(result, examples=tuple(replace(shown, png="") for shown in result.examples))
    return Markup(json.dumps(as_json(small)).replace("<", "\\u003c"))
