"""The page's tables: every row, quality by case, versions, what was around each row, what was counted and predicted."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.records import NETWORK, OK, CaseQuality, Estimate, Moment, Result, Row
from benchmarks.report import wording
from benchmarks.report.inline_svg import readable
from benchmarks.report.wording import ms, number

_HEAD = [
    ("runtime", "left"), ("threads", "number"), ("p50", "number"), ("p95", "number"), ("p99", "number"),
    ("jitter", "number"), ("load", "number"), ("first", "number"), ("infer", "number"), ("MiB", "number"),
    ("agrees, dB", "number"), ("gain, dB", "number"), ("sharp-in, dB", "number"),
]  # fmt: skip
_STRONGEST_DB, _MOST_PERCENT = 4.0, 80
_CAP_DB = 99.0
_LONG = 40
"""Characters of a cell; longer ones are words that may be broken into lines."""
_FIGURE = re.compile(r"[-+]?[\d., ]*( ?%| to [\d.,]+| → [\d.,-]+| frames)?$|yes$|no$")

Cell = tuple[str, float | str | None]
"""What is shown (HTML), and what it is sorted by; None goes last."""


def text(words: str) -> str:
    """Escaped for HTML, within quotes too; what no document may hold becomes a mark."""
    return escape(readable(words))


def figure_table(head: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """A plain table in a box of its own that scrolls where the window is too narrow; columns of words to the left."""
    kinds = [_kind(column) for column in zip(*rows, strict=True)]
    heads = "".join(f'<th class="{kind}">{text(word)}</th>' for kind, word in zip(kinds, head, strict=True))
    lines = (zip(kinds, row, strict=True) for row in rows)
    body = "".join("<tr>" + "".join(f'<td class="{kind}">{text(cell)}</td>' for kind, cell in line) + "</tr>" for line in lines)
    return _scrolling(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>", name)


def key_figures(row: Row) -> list[tuple[str, str]]:
    """(name, value) of what matters most."""
    facts = []
    if row.latency is not None:
        facts.append(("ms a frame (p50)", ms(row.latency.p50_ms.value)))
        facts.append(("ms (p95)", ms(row.latency.p95_ms.value)))
    if row.gain_db is not None:
        facts.append(("dB gained", f"{row.gain_db:+.2f}"))
    if (sharp := wording.sharp_db(row)) is not None:
        facts.append(("dB, sharp pictures", f"{sharp:.1f}"))
    if row.peak_rss_mib is not None:
        facts.append(("MiB", f"{row.peak_rss_mib:.0f}"))
    return facts


def rows(result: Result) -> str:
    """Every row, also those without figures, with their messages; sorted by the page's script."""
    if not result.rows:
        return ""
    heads = "".join(f'<th scope="col" class="{kind}" data-of="{kind}">{name}</th>' for name, kind in [("what", "left"), *_HEAD])
    body = "".join(_row(result.rows[i]) for i in wording.by_speed(result.rows))
    table = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return _scrolling(table, "everything that was measured")


def cases(result: Result) -> str:
    """Gain by case, coloured: what makes the same pictures is one line."""
    alike: dict[tuple[object, ...], Row] = {}
    for i in wording.by_speed(result.rows):
        if (row := result.rows[i]).quality:
            alike.setdefault((row.name, row.file, row.runtime, repr(row.quality)), row)
    names = list(dict.fromkeys(case for row in alike.values() for case in row.quality))
    if not alike:
        return ""
    heads = "".join(f"<th>{text(name)}</th>" for name in ["what", "mean", *names])
    body = ""
    for row in sorted(alike.values(), key=lambda row: -(row.gain_db or 0.0)):
        what = row.label.rpartition(", ")[0] if row.kind == NETWORK else row.name
        cells = "".join(_case(row.quality.get(name)) for name in names)
        body += f"<tr><td>{text(what)}</td><td>{number(row.gain_db, '+.2f')}</td>{cells}</tr>"
    table = f'<table class="heat"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return _scrolling(table, "picture quality by case")


def versions(result: Result) -> str:
    """Of each interpreter that measured."""
    found = {(row.python, tuple(sorted(row.versions.items()))) for row in result.rows if row.python}
    lines = [f"Python {python}: " + ", ".join(f"{name} {of}" for name, of in packages) for python, packages in sorted(found)]
    return "".join(f"<p>{text(line)}</p>" for line in lines)


def surroundings(result: Result) -> str:
    """What the machine was like before and after each row, and which file it was."""
    head = [
        "what",
        "rounds",
        "rounds' p50 ms",
        "warm-up",
        "steady",
        "clock MHz",
        "°C",
        "held back",
        "load",
        "free MiB",
        "SHA-256",
    ]
    body = []
    for row in result.rows:
        timed = row.latency
        if timed is None:
            continue
        held = {word for moment in (row.before, row.after) if moment for word in moment.throttled or ()}
        body.append(
            [
                row.label,
                str(row.rounds),
                " ".join(ms(p50) for p50 in timed.rounds_p50_ms),
                f"{timed.warm_up_frames} frames",
                "yes" if timed.steady else "no",
                _change(row, lambda moment: moment.clock_mhz, ".0f"),
                _change(row, lambda moment: moment.temperature_c, ".1f"),
                ", ".join(sorted(held)) or "-",
                _change(row, lambda moment: moment.load_1min, ".1f"),
                _change(row, lambda moment: moment.available_mib, ".0f"),
                (row.sha256 or "-")[:12],
            ]
        )
    return figure_table(head, body, "what was around each row") if body else ""


def emulated(found: Mapping[str, Any]) -> str:
    """Predicted times, what the method says of published measurements, and the counted instructions that it starts from."""
    parts = ""
    if found.get("predictions"):
        parts += "<h3>Predicted milliseconds of a frame</h3>" + _predictions(found["predictions"])
    if found.get("checked"):
        head = ["what", "predicted", "published", "source"]
        lines = [[_word(entry, key) for key in head] for entry in found["checked"]]
        held = figure_table(head, lines, "what predictions were held against")
        parts += f"<details><summary>Held against {len(lines)} published measurements</summary>{held}</details>"
    if found.get("instructions"):
        head = ["file", "runtime", "core", "what", "size", "million instructions a frame", "instructions a pixel"]
        lines = [
            [_word(e, "file"), f"{_word(e, 'runtime')} {e.get('runtime_version', '')}".strip(), _word(e, "core"),
             _word(e, "what"), "x".join(str(side) for side in e.get("size_wh", ())) or "-", _millions(e),
             _figure(e.get("per_pixel"), ",.0f")]
            for e in found["instructions"]
        ]  # fmt: skip
        counted = figure_table(head, lines, "counted instructions")
        parts += f"<details><summary>Instructions, counted on emulated processors</summary>{counted}</details>"
    return parts


def _kind(column: Sequence[str]) -> str:
    """The class of a column: of long words, of short ones, or of figures."""
    if max(map(len, column)) > _LONG:
        return "words"
    return "" if all(_FIGURE.match(cell) for cell in column) else "left"


def _predictions(entries: Sequence[Mapping[str, Any]]) -> str:
    """A line for each file on each runtime, a column for each board and number of threads."""
    places = list(dict.fromkeys((_word(e, "board"), _word(e, "threads")) for e in entries))
    lines: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for e in entries:
        ends = f"{_figure(e.get('low_ms'), '.0f')} to {_figure(e.get('high_ms'), '.0f')}"
        lines.setdefault((_word(e, "file"), _word(e, "runtime")), {})[_word(e, "board"), _word(e, "threads")] = ends
    head = ["file", "runtime", *(f"{board}, {threads} thread{'' if threads == '1' else 's'}" for board, threads in places)]
    body = [[*what, *(ends.get(place, "-") for place in places)] for what, ends in lines.items()]
    return figure_table(head, body, "predictions")


def _row(row: Row) -> str:
    what = row.name if row.kind != NETWORK else row.label.removesuffix(f", {row.runtime}, {row.label.rpartition(', ')[2]}")
    cells: list[Cell] = [(text(what), what), (text(row.runtime or "-"), row.runtime), (str(row.threads), row.threads)]
    if row.status != OK:
        message = f'<td class="words" colspan="11"><b>{text(row.status)}</b>: {text(row.message)}</td>'
        return f'<tr class="none">{_cells(cells)}{message}</tr>'
    timed, agrees, sharp = row.latency, row.agreement, wording.sharp_db(row)
    figures = (timed.p50_ms, timed.p95_ms, timed.p99_ms, timed.jitter_ms) if timed is not None else (None,) * 4
    cells += [_estimate(figure, shown=i == 0) for i, figure in enumerate(figures)]
    cells += [(ms(row.load_ms), row.load_ms), (ms(row.first_ms), row.first_ms)]
    cells += [(wording.share(row.infer_share), row.infer_share), (number(row.peak_rss_mib, ".0f"), row.peak_rss_mib)]
    if agrees is not None:
        levels = f'{agrees.psnr_db:.1f} <span class="interval">{agrees.most_levels} levels</span>'
        cells.append((levels if agrees.most_levels else "equal", agrees.psnr_db))
    else:
        cells.append(("-", None))
    cells += [(number(row.gain_db, "+.2f"), row.gain_db), (number(sharp, ".1f"), sharp)]
    return f'<tr class="front">{_cells(cells)}</tr>' if row.front else f"<tr>{_cells(cells)}</tr>"


def _cells(cells: Sequence[Cell]) -> str:
    kinds = ["", ' class="left"'] + [' class="number"'] * len(cells)
    sorted_by = ["" if by is None else text(str(by)) for _, by in cells]
    made = zip(kinds, sorted_by, cells, strict=False)
    return "".join(f'<td{kind} data-v="{by}">{shown}</td>' for kind, by, (shown, _) in made)


def _estimate(figure: Estimate | None, shown: bool) -> Cell:
    """With its interval, or with the interval only when it is pointed at: four of them do not fit a desk's width."""
    if figure is None:
        return "-", None
    interval = f"{ms(figure.low)}–{ms(figure.high)}"
    if shown:
        return f'{ms(figure.value)} <span class="interval">[{interval}]</span>', figure.value
    return f'<span title="95 %: {interval} ms">{ms(figure.value)}</span>', figure.value


def _case(quality: CaseQuality | None) -> str:
    if quality is None:
        return "<td>-</td>"
    worst = f"{quality.psnr_db:.2f} dB, SSIM {quality.ssim:.3f}; worst picture {quality.worst_gain_db:+.2f} dB"
    if quality.input_psnr_db >= _CAP_DB:  # what was sharp cannot gain
        return f'<td title="{worst}">{quality.psnr_db:.1f}</td>'
    much = min(1.0, abs(quality.gain_db) / _STRONGEST_DB) * _MOST_PERCENT
    to = "good" if quality.gain_db >= 0 else "bad"
    return f'<td title="{worst}" style="--to: var(--{to}); --much: {much:.0f}%">{quality.gain_db:+.2f}</td>'


def _change(row: Row, of: Any, form: str) -> str:
    """Before and after, one figure where they are the same."""
    moments: list[Moment | None] = [row.before, row.after]
    seen = [number(of(moment), form) if moment is not None else "-" for moment in moments]
    return seen[0] if seen[0] == seen[1] else " → ".join(seen)


def _millions(entry: Mapping[str, Any]) -> str:
    value = entry.get("per_frame_million")
    if value is None and entry.get("per_frame") is not None:
        value = entry["per_frame"] / 1e6
    return _figure(value, ",.1f")


def _word(entry: Mapping[str, Any], key: str) -> str:
    return str(entry.get(key, "-"))


def _figure(value: Any, form: str) -> str:
    return number(value, form) if value is None or isinstance(value, int | float) else str(value)


def _scrolling(table: str, name: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{text(name)}">{table}</div>'
