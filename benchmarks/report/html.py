"""A result as one page that needs nothing else: the answer first, then what it rests on. `report.html` is its frame.

Everything that comes from the result is escaped: bundles and boards may be called anything.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.intervals import ROUNDS_SHARE, STEADY_LEAST_S, STEADY_SHARE
from benchmarks.records import Result, as_json
from benchmarks.report import html_tables, pareto, plots, wording
from benchmarks.report.html_tables import figure_table, text
from benchmarks.report.inline_svg import inline_svg
from benchmarks.report.plots import DARK, LIGHT, Plot
from benchmarks.sustained import BURST_S, STRETCH_S

FRAME = Path(__file__).with_name("page.html")
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")


def page(result: Result, times: Mapping[int, Sequence[float]], emulated: Mapping[str, Any] | None) -> str:
    """The whole page. `times`: milliseconds of every timed frame by index of row; `emulated`: see `benchmarks.boards`."""
    sections = [
        _answer(result),
        _doubts(result),
        _section(
            "front",
            "Picture quality against time",
            "Up and to the left is better. The line is the front: nothing measured is both faster and better than a point on it.",
            _drawn("front", lambda narrow: pareto.quality_latency(result, narrow)),
        ),
        _section(
            "times",
            "How the times spread",
            "Each file on each runtime with its fastest number of threads, beside its median. Thick: from p5 to p95."
            " Thin: to p99. Dots: the slowest frames beyond. Bold: on the front.",
            _drawn("times", lambda narrow: plots.latencies(result, times, narrow)),
        ),
        _pictures(result),
        _sustained(result),
        _loops(result),
        _section(
            "rows",
            "Everything that was measured",
            "A column's name sorts by it. Milliseconds; 95 % interval of p50 in brackets, of the others on pointing;"
            " ● is on the front.",
            html_tables.rows(result),
            "broad",
        ),
        _section(
            "cases",
            "Picture quality by case",
            f"Gain in PSNR, dB, on {result.pictures}; sharp-in: PSNR of what was sharp already, 99 where it is left as it is.",
            html_tables.cases(result),
            "broad",
        ),
        _environment(result),
        _section("method", "How it was measured", "", _method(result)),
        _emulated(emulated),
    ]
    holes = {
        "title": f"deblurkit bench: {text(result.machine.board or result.machine.cpu)}",
        "colours": f":root {{ {_colours(LIGHT)} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {_colours(DARK)} }} }}",
        "light": f":root {{ {_colours(LIGHT)} }}",
        "body": f"{_header(result)}\n<main>\n" + "\n".join(filter(None, sections)) + f"\n</main>\n{_footer(result)}",
        "json": _embedded(result),
    }
    return _HOLE.sub(lambda hole: holes[hole.group(1)], FRAME.read_text())


def times_of(raw: bytes | None) -> dict[int, list[float]]:
    """Milliseconds by index of row of raw.csv; none without it."""
    times: dict[int, list[float]] = {}
    for entry in csv.DictReader(io.StringIO((raw or b"").decode())):
        times.setdefault(int(entry["row"]), []).append(float(entry["ms"]))
    return times


def _header(result: Result) -> str:
    width, height = result.size_wh
    return f"<header><h1>deblurkit bench, suite {text(result.suite)}, {width}x{height}, {text(result.started[:10])}</h1></header>"


def _footer(result: Result) -> str:
    said = "For programs: bench.json beside this file, and in this page the JSON of the script element “result”."
    return f"<footer>Made by <code>{text(result.command)}</code>. {said}</footer>"


def _answer(result: Result) -> str:
    machine = f'<p class="machine">On {text(wording.machine_line(result))}</p>'
    best = wording.best_for(result.rows)
    points = "".join(f"<li><b>{text(row.label)}</b>: {text(said)} ({text(wording.figures(row))})</li>" for row, said in best)
    listed = f'<ul class="plain">{points}</ul>' if points else ""
    if result.pick is None:
        head = "What each is best for" if best else "No answer: nothing was measured" if result.rows else "Full load"
        return f'<section id="answer"><h2>{head}</h2>{machine}{listed}</section>'
    line = f"<pre>{text(wording.command(result, result.pick))}</pre>"
    row = next((row for row in result.rows if row.label == result.pick.label), None)
    facts = _key(html_tables.key_figures(row)) if row is not None else ""
    others = f"<h3>The front, by what each is best for</h3>{listed}" if points else ""
    why = result.pick.why[:1].upper() + result.pick.why[1:].rstrip(".")
    head = f"<h2>Run {text(result.pick.label)}</h2>{machine}<p>{text(why)}.</p>"
    return f'<section id="answer">{head}{line}{facts}{others}</section>'


def _doubts(result: Result) -> str:
    reasons = wording.doubts(result)
    listed = "".join(f"<li>{text(reason)}</li>" for reason in reasons)
    return f'<section id="doubts"><h2>Reasons to doubt</h2><ul>{listed}</ul></section>' if reasons else ""


def _pictures(result: Result) -> str:
    cases: dict[str, list[str]] = {}
    for shown in result.examples:
        if _BASE64.fullmatch(shown.png):
            name = text(shown.label)
            image = f'<img alt="{name}, {text(shown.case)}" src="data:image/png;base64,{shown.png}">'
            caption = f"{name}<br>{shown.psnr_db:.1f} dB" if shown.psnr_db < 99 else name
            cases.setdefault(shown.case, []).append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    grids = "".join(f'<h3>{text(case)}</h3><div class="pictures">{"".join(found)}</div>' for case, found in cases.items())
    return _section("pictures", "Before and after", "", grids)


def _sustained(result: Result) -> str:
    parts = []
    for i, load in enumerate(result.sustained):
        held = f"{load.throttled_at_s:.0f} s" if load.throttled_at_s is not None else "never"
        facts = [
            ("frames a second at first (burst)", f"{load.burst_fps:.1f}"),
            ("that stay (steady)", f"{load.steady_fps:.1f}"),
            ("kept", wording.share(load.kept)),
            ("held back from", held),
        ]
        drawn = _drawn(f"load{i}", partial(plots.sustained, load)) if load.curve else ""
        parts.append(f"<h3>{text(load.label)}, {load.seconds / 60:.1f} minutes</h3>{_key(facts)}{drawn}")
    said = "Burst: the median of the first 30 s. Steady: the median of the last third; plan with this one."
    return _section("load", "At full load", f"{said} Dotted: held back from here.", "".join(parts))


def _loops(result: Result) -> str:
    if not result.loops:
        return ""
    head = ["what", "frames a second", "share of infer", "frame age p50 ms", "p95 ms", "first frame s", "MiB"]
    rows = [
        [loop.label, f"{loop.fps:.1f}", wording.share(loop.infer_share), f"{loop.frame_age_p50_ms:.1f}",
         f"{loop.frame_age_p95_ms:.1f}", f"{loop.first_frame_s:.2f}", f"{loop.peak_rss_mib:.0f}"]
        for loop in result.loops
    ]  # fmt: skip
    said = (
        "deblurkit run with a generated camera and one viewer on the page, without capture, which waits for the camera. "
        "Share of infer: the runtime's bare call, of the time."
    )
    drawn = _drawn("loops", lambda narrow: plots.loops(result, narrow))
    return _section("loops", "The whole loop", said, drawn + figure_table(head, rows, "the whole loop"))


def _environment(result: Result) -> str:
    facts = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in wording.machine_facts(result))
    versions = html_tables.versions(result)
    surroundings = html_tables.surroundings(result)
    fold = f"<details><summary>In every row: clocks, heat, load, files</summary>{surroundings}</details>" if surroundings else ""
    return _section("machine", "The machine", "", f'<dl class="facts">{facts}</dl>{versions}{fold}', "broad")


def _method(result: Result) -> str:
    width, height = result.size_wh
    if not result.rows:
        loaded = (
            f"One {width}x{height} frame is restored again and again, as fast as it goes, in a process of its own. Every"
            f" {STRETCH_S:g} s its rate, the clock, the temperature and what holds the board back are read. Burst is the median"
            f" rate of the first {BURST_S:g} s, steady that of the last third."
        )
        return f"<p>{text(loaded)}</p>"
    said = [
        f"Every combination gets the same {width}x{height} frame and the same pictures ({result.pictures}), in a fresh process"
        " of its own: load time, first frame and peak memory are its own.",
        f"{result.rounds} rounds over all combinations ({', '.join(['A B C'] * min(result.rounds, 3))}), so that a drift of the"
        " machine hits all alike.",
        f"A round's warm-up ends when the median of the last five frames lies within {wording.share(STEADY_SHARE)} of that of the"
        f" five before (of slow frames, fewer), {STEADY_LEAST_S} s at least. A row counts as steady when all rounds came so far"
        f" and their medians lie within {wording.share(ROUNDS_SHARE)} of their middle.",
        "A time is that of one frame in memory, pixels in and pixels out. p50, p95 and p99 are over all rounds together, jitter"
        " is the distance between p5 and p95. 95 % intervals by bootstrap: rounds are drawn first, then blocks of neighbouring"
        " frames within them. Every frame's time is in raw.csv.",
        "The picture that a combination makes is compared with that of the bundle's reference. One that differs too much is"
        " wrong, and no result, whatever its speed.",
        "Gain: PSNR of the restored picture minus that of the blurred one, over RGB, the mean of the blurred cases. Oracles are"
        " told the kernel that blurred the picture, which no camera knows; they are not part of the front.",
    ]
    return "".join(f"<p>{text(words)}</p>" for words in said)


def _emulated(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    label = '<p><span class="label">no time in this section was measured on a board</span></p>'
    method = f"<p>{text(str(found['method']))}</p>" if found.get("method") else ""
    return _section("emulated", "Emulated and predicted, not measured", "", label + method + html_tables.emulated(found), "broad")


def _section(name: str, title: str, lead: str, content: str, kind: str = "") -> str:
    """Nothing without content."""
    said = f'<p class="soft">{text(lead)}</p>' if lead else ""
    named = f' class="{kind}"' if kind else ""
    return f'<section id="{name}"{named}><h2>{title}</h2>{said}{content}</section>' if content else ""


def _drawn(name: str, draw: Callable[[bool], Plot | None]) -> str:
    """The figure for a desk and for a phone, of which the page shows one."""
    drawn = ((width, draw(width == "narrow")) for width in ("wide", "narrow"))
    return "".join(f'<div class="plot {width}">{inline_svg(p, f"{name}-{width}")}</div>' for width, p in drawn if p is not None)


def _key(facts: Iterable[tuple[str, str]]) -> str:
    return '<dl class="key">' + "".join(f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd></div>" for n, v in facts) + "</dl>"


def _colours(of: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in of.items())


def _embedded(result: Result) -> str:
    """The result for programs; its pictures are in the page already. "<" is written so that no name can end the script."""
    small = replace(result, examples=tuple(replace(shown, png="") for shown in result.examples))
    return json.dumps(as_json(small)).replace("<", "\\u003c")
