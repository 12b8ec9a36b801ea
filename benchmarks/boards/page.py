"""One page of all contributed boards: HTML that needs nothing from outside, its plots drawn into it."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.boards.contributed import FPS, p50_ms, summary
from benchmarks.records import NETWORK, OK, Estimate, Result, Row

_INK = "#123456"
"""Drawn with, and replaced by the colour of the page's text: it is light or dark as the reader's system is."""
_MARKERS = "os^Dv<>p*h"
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:75rem}
h1{line-height:1.2}.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem}caption{text-align:left;padding:.25rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid #8886;text-align:left;vertical-align:top;white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}td.words{white-space:normal}td.words:nth-child(-n+3){min-width:8rem}
figure{margin:1rem 0}figure svg{width:100%;max-width:44rem;height:auto}
details{margin:.75rem 0}summary{cursor:pointer;font-weight:600;padding:.4rem 0}
.virtual{border:1px solid;border-radius:.3rem;padding:0 .3rem;font-size:.8rem}
@media print{body{max-width:none}th,td{white-space:normal}}
"""
_SUMMARY = {"board": "board", "best": f"best at {FPS} fps", "fastest": "fastest", "kind": "kind", "cpu": "processor",
            "size": "frame", "date": "date"}  # fmt: skip
"""Of each board by the summary's key: the answers first, as a phone shows two columns."""
_HEADER = ("what", "p50 ms", "95 %", "p95 ms", "p99 ms", "load ms", "MiB", "gain dB")
_INTRODUCTION = f"""Each board was measured by its owner with <code>deblurkit bench</code>: fresh processes, rounds over all
combinations, outputs compared with a reference. Times are milliseconds of one restored frame in memory; p50, p95 and p99 are
percentiles, 95 % is the confidence interval of p50. Gain is mean PSNR over the ten blurred cases, output against input.
Best at {FPS} frames a second: most gain among those whose p95 is at most {1000 / FPS:.1f} ms.
A <span class="virtual">virtual</span>
machine shares its processors with others. Gains are comparable only where the pictures are the same."""


def page(results: dict[str, Result]) -> str:
    """The whole page as HTML. `results`: by file name; everything in them is escaped."""
    alike: dict[tuple[tuple[int, ...], str], list[Result]] = {}
    for result in results.values():
        alike.setdefault((tuple(result.size_wh), result.pictures), []).append(result)
    plots = [_figure(i, size_wh, pictures, group) for i, ((size_wh, pictures), group) in enumerate(alike.items())]
    boards = [_board(name, result) for name, result in results.items()]
    body = [_overview(results), *plots, "<h2>Every row</h2>", *boards] if results else ["<p>No results yet.</p>"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>deblurkit: measured boards</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Measured boards</h1>\n<p>{_INTRODUCTION}</p>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def plot(results: Sequence[Result], salt: str) -> str:
    """SVG: gain against p50, a colour for each board; identifiers begin with what `salt` gives."""
    settings: dict[str, object] = {"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with matplotlib.rc_context(settings | dict.fromkeys(inks, _INK)):
        figure = Figure(figsize=(5.2, 4.2 + 0.2 * len(results)), layout="constrained")
        axes = figure.subplots()
        for i, result in enumerate(results):
            rows = _measured(result)
            colour, marker = f"C{i % 10}", _MARKERS[i // 10 % len(_MARKERS)]
            label = f"{summary(result)['board']}, {result.started[:10]}"
            axes.scatter(
                [p50_ms(r) for r in rows], [r.gain_db or 0.0 for r in rows], s=28, color=colour, marker=marker, label=label
            )
        axes.axvline(1000 / FPS, color=_INK, linewidth=0.8, linestyle=":")
        axes.annotate(f"{FPS} fps", (1000 / FPS, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
                      textcoords="offset points", fontsize=8)  # fmt: skip
        axes.set(xscale="log", xlabel="p50 of a frame, ms (log)", ylabel="mean gain in PSNR, dB")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8, ncols=1)
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Within HTML no name space is declared, an identifier is given once, and a style would be the whole page's.
    return re.sub(r' xmlns(:xlink)?="[^"]*"| (width|height)="[^"]*pt"|(?<=<g) id="[^"]*"|<style.*?</style>', "", svg, flags=re.S)


def _figure(number: int, size_wh: Sequence[int], pictures: str, results: Sequence[Result]) -> str:
    words = escape(f"Frames of {'x'.join(map(str, size_wh))}; quality on {pictures}")
    drawn = plot(results, f"boards-{number}")
    return f'<figure role="img" aria-label="Gain against p50. {words}">{drawn}<figcaption>{words}</figcaption></figure>'


def _overview(results: dict[str, Result]) -> str:
    rows = []
    for result in results.values():
        words = {key: escape(text) for key, text in summary(result).items()}
        if result.machine.kind != "real":
            words["kind"] = f'<span class="virtual">{words["kind"]}</span>'
        rows.append("".join(f'<td class="words">{words[key]}</td>' for key in _SUMMARY))
    return _table(list(_SUMMARY.values()), rows, numbers=False)


def _board(name: str, result: Result) -> str:
    machine = result.machine
    facts = [
        machine.cpu, f"{machine.cores} cores", machine.machine, machine.kind, f"{machine.memory_mib or 'unknown'} MiB",
        f"governor {machine.governor or 'unknown'}", machine.system, f"Linux {machine.kernel}", f"suite {result.suite}",
        f"{result.rounds} rounds", result.command,
    ]  # fmt: skip
    answer = f"<p>Its own pick: {escape(result.pick.label)}. {escape(result.pick.why)}</p>" if result.pick else ""
    lines = [_row(row) for row in sorted(_measured(result, networks=False), key=p50_ms)]
    lines += [
        f"<td>{escape(row.label)}</td><td>{escape(row.status)}</td>"
        f'<td class="words" colspan="{len(_HEADER) - 2}">{escape(row.message)}</td>'
        for row in result.rows
        if row.status != OK
    ]
    return (
        f"<details><summary>{escape(summary(result)['board'])}, {escape(result.started[:10])}</summary>"
        f"<p>{escape(' · '.join(facts))}</p>{answer}{_table(_HEADER, lines, numbers=True)}<p>{escape(name)}</p></details>"
    )


def _row(row: Row) -> str:
    of = row.latency
    assert of is not None
    cells = [f"{of.p50_ms.value:.2f}", _interval(of.p50_ms), f"{of.p95_ms.value:.2f}", f"{of.p99_ms.value:.2f}"]
    cells += [_number(row.load_ms, ".0f"), _number(row.peak_rss_mib, ".0f"), _number(row.gain_db, "+.2f")]
    return f"<td>{escape(row.label)}</td>" + "".join(f'<td class="number">{cell}</td>' for cell in cells)


def _table(header: Sequence[str], rows: Sequence[str], *, numbers: bool) -> str:
    kind = ' class="number"' if numbers else ""
    head = f'<th scope="col">{header[0]}</th>' + "".join(f'<th scope="col"{kind}>{cell}</th>' for cell in header[1:])
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>'
        + "".join(f"<tr>{row}</tr>" for row in rows)
        + "</tbody></table></div>"
    )


def _measured(result: Result, *, networks: bool = True) -> list[Row]:
    rows = [row for row in result.rows if row.status == OK and row.latency is not None]
    return [row for row in rows if row.kind == NETWORK and row.gain_db is not None] if networks else rows


def _interval(of: Estimate) -> str:
    return f"{of.low:.2f}–{of.high:.2f}"


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)
