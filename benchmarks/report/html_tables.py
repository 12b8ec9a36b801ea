"""The tables of the HTML report: quality by case, versions, the state of the machine, counted and predicted figures."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records import NETWORK, Moment, Result, Row
from benchmarks.report import wording
from benchmarks.report.wording import ms, number

HEAD = [
    ("what", "left"), ("runtime", "left"), ("threads", "number"), ("p50", "number"), ("p95", "number"), ("p99", "number"),
    ("jitter", "number"), ("load", "number"), ("first", "number"), ("infer", "number"), ("MiB", "number"),
    ("parity, dB", "number"), ("gain, dB", "number"), ("sharp-in, dB", "number"),
]  # fmt: skip
"""Columns of the table of all rows: name and kind."""
_STRONGEST_DB, _MAX_PERCENT = 4.0, 80
_LONG = 40
"""A column with more characters in a cell has words that may be broken into lines."""
_FIGURE = re.compile(r"[-+]?[\d., ]*( ?%| to [\d.,]+| → [\d.,-]+| frames)?$|yes$|no$")


@dataclass(frozen=True)
class Table:
    """A plain table in a box of its own, which scrolls if the window is too narrow."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def kinds(self) -> list[str]:
        """The class of each column: of long words, of short words, or of figures."""
        return [_kind(column) for column in zip(*self.rows, strict=True)]


@dataclass(frozen=True)
class Cases:
    """Gain by case. Rows that make the same pictures are one line."""

    names: list[str]
    rows: list[Row]


def cases(result: Result) -> Cases:
    """Collect the rows with quality figures, the best first."""
    distinct: dict[tuple[object, ...], Row] = {}
    for i in wording.by_speed(result.rows):
        if (row := result.rows[i]).quality:
            distinct.setdefault((row.name, row.file, row.runtime, repr(row.quality)), row)
    names = dict.fromkeys(case for row in distinct.values() for case in row.quality)
    return Cases(list(names), sorted(distinct.values(), key=lambda row: -(row.gain_db or 0.0)))


def output_name(row: Row) -> str:
    """The label without the number of threads, which does not change the output."""
    return row.label.rpartition(", ")[0] if row.kind == NETWORK else row.name


def what(row: Row) -> str:
    """The label without runtime and threads, which have columns of their own."""
    return row.label.removesuffix(f", {row.runtime}, {row.label.rpartition(', ')[2]}") if row.kind == NETWORK else row.name


def tint(gain_db: float) -> str:
    """How strongly to colour a gain, in percent."""
    return f"{min(1.0, abs(gain_db) / _STRONGEST_DB) * _MAX_PERCENT:.0f}"


def key_figures(row: Row) -> list[tuple[str, str]]:
    """(name, value) of the most important figures."""
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


def loops(result: Result) -> Table:
    """The whole loops."""
    head = ["what", "frames a second", "share of infer", "frame age p50 ms", "p95 ms", "first frame s", "MiB"]
    rows = [
        [loop.label, f"{loop.fps:.1f}", wording.share(loop.infer_share), f"{loop.frame_age_p50_ms:.1f}",
         f"{loop.frame_age_p95_ms:.1f}", f"{loop.first_frame_s:.2f}", f"{loop.peak_rss_mib:.0f}"]
        for loop in result.loops
    ]  # fmt: skip
    return Table("the whole loop", head, rows)


def versions(result: Result) -> list[str]:
    """The versions of each interpreter that measured, a line for each."""
    found = {(row.python, tuple(sorted(row.versions.items()))) for row in result.rows if row.python}
    return [f"Python {python}: " + ", ".join(f"{name} {of}" for name, of in packages) for python, packages in sorted(found)]


def surroundings(result: Result) -> Table | None:
    """The state of the machine before and after each row, and its file."""
    head = [
        "what",
        "rounds",
        "rounds' p50 ms",
        "warm-up",
        "steady",
        "clock MHz",
        "°C",
        "throttled",
        "load",
        "free MiB",
        "SHA-256",
    ]
    rows = []
    for row in result.rows:
        timed = row.latency
        if timed is None:
            continue
        throttled = {word for moment in (row.before, row.after) if moment for word in moment.throttled or ()}
        rows.append(
            [
                row.label,
                str(row.rounds),
                " ".join(ms(p50) for p50 in timed.rounds_p50_ms),
                f"{timed.warm_up_frames} frames",
                "yes" if timed.steady else "no",
                _before_after(row, lambda moment: moment.clock_mhz, ".0f"),
                _before_after(row, lambda moment: moment.temperature_c, ".1f"),
                ", ".join(sorted(throttled)) or "-",
                _before_after(row, lambda moment: moment.load_1min, ".1f"),
                _before_after(row, lambda moment: moment.available_mib, ".0f"),
                (row.sha256 or "-")[:12],
            ]
        )
    return Table("state of the machine for each row", head, rows) if rows else None


def emulated(content: Mapping[str, Any] | None) -> dict[str, Any]:
    """Tables of predicted times, their check against published measurements, and the instructions that they start from."""
    if not content:
        return {}
    return {
        "method": content.get("method"),
        "predictions": _predictions(content.get("predictions") or ()),
        "checked": _checked(content.get("checked") or ()),
        "instructions": _instructions(content.get("instructions") or ()),
    }


def _predictions(entries: Sequence[Mapping[str, Any]]) -> Table | None:
    """A line for each file on each runtime, a column for each board and number of threads."""
    places = list(dict.fromkeys((_word(e, "board"), _word(e, "threads")) for e in entries))
    lines: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for e in entries:
        ends = f"{_figure(e.get('low_ms'), '.0f')} to {_figure(e.get('high_ms'), '.0f')}"
        lines.setdefault((_word(e, "file"), _word(e, "runtime")), {})[_word(e, "board"), _word(e, "threads")] = ends
    head = ["file", "runtime", *(f"{board}, {threads} thread{'' if threads == '1' else 's'}" for board, threads in places)]
    rows = [[*key, *(ends.get(place, "-") for place in places)] for key, ends in lines.items()]
    return Table("predictions", head, rows) if rows else None


def _checked(entries: Sequence[Mapping[str, Any]]) -> Table | None:
    head = ["what", "predicted", "published", "source"]
    rows = [[_word(entry, key) for key in head] for entry in entries]
    return Table("predictions and published measurements", head, rows) if rows else None


def _instructions(entries: Sequence[Mapping[str, Any]]) -> Table | None:
    head = ["file", "runtime", "core", "what", "size", "million instructions a frame", "instructions a pixel"]
    rows = [
        [_word(e, "file"), f"{_word(e, 'runtime')} {e.get('runtime_version', '')}".strip(), _word(e, "core"),
         _word(e, "what"), "x".join(str(side) for side in e.get("size_wh", ())) or "-", _millions(e),
         _figure(e.get("per_pixel"), ",.0f")]
        for e in entries
    ]  # fmt: skip
    return Table("counted instructions", head, rows) if rows else None


def _kind(column: Sequence[str]) -> str:
    if max(map(len, column)) > _LONG:
        return "words"
    return "" if all(_FIGURE.match(cell) for cell in column) else "left"


def _before_after(row: Row, of: Callable[[Moment], float | None], form: str) -> str:
    """Before and after; one figure if they are the same."""
    moments = [row.before, row.after]
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
