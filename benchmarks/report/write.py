"""Write a result for the terminal, as Markdown, and as a folder: bench.json, report.md, report.html, raw times and the plot."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import NETWORK, OK, Result, Row, as_json
from benchmarks.report import wording
from benchmarks.report.wording import ms, number
from device.system.console import table
from device.system.files import write_atomically

HEADER = [
    "what", "p50 ms", "[95 %]", "p95", "p99", "jitter", "load", "first", "MiB", "parity dB", "gain dB", "sharp-in dB", "Pareto",
]  # fmt: skip
_LONG = 20
"""More rows than this are folded in Markdown, below the Pareto front."""
log = logging.getLogger(__name__)


def as_table(result: Result) -> str:
    """Format for a terminal: rows, the fastest first, then rows without figures and why, the whole loop, full load, the pick."""
    measured = [result.rows[i] for i in wording.by_speed(result.rows) if result.rows[i].status == OK]
    parts = [table(HEADER, [_cells(row) for row in measured])] if measured else []
    parts += [f"{status}: {what}: {message}" for status, what, message in wording.without_figures(result.rows)]
    for loop in result.loops:
        parts.append(
            f"the whole loop, {loop.label}: {loop.fps:.1f} frames a second, {wording.share(loop.infer_share)} of the time in the"
            f" model, frame age p95 {ms(loop.frame_age_p95_ms)} ms"
        )
    for load in result.sustained:
        parts.append(
            f"{load.label}, {load.seconds:.0f} s at full load: {load.burst_fps:.1f} frames a second at first (burst),"
            f" {load.steady_fps:.1f} later (steady, {wording.share(load.kept)})"
        )
    parts += [f"doubt: {doubt}" for doubt in wording.doubts(result)]
    if result.pick is not None:
        parts.append(f"\nrun {result.pick.label}: {result.pick.why}\n  {wording.command(result, result.pick)}")
    return "\n".join(parts)


def as_markdown(result: Result) -> str:
    """Format for an issue or a README: the pick, the table, the machine, the doubts."""
    width, height = result.size_wh
    lines = [f"## deblurkit bench on {_md(wording.machine_line(result))}", "", *_md_pick(result)]
    measured = [result.rows[i] for i in wording.by_speed(result.rows) if result.rows[i].status == OK]
    most_important = [row for row in measured if row.front or row.kind != NETWORK]
    if measured:
        lines += [f"Milliseconds of a {width}x{height} frame, from pixels to pixels; quality on {_md(result.pictures)}.", ""]
        lines += _md_table(measured if len(measured) <= _LONG else most_important)
    if len(measured) > _LONG:
        lines += [
            f"<details><summary>All {len(measured)} measured rows</summary>",
            "",
            *_md_table(measured),
            "</details>",
            "",
        ]
    lines += [f"- {status}: {_md(what)}: {_md(message)}" for status, what, message in wording.without_figures(result.rows)]
    for load in result.sustained:
        lines.append(
            f"- full load for {load.seconds:.0f} s, {_md(load.label)}: {load.burst_fps:.1f} frames a second at first,"
            f" {load.steady_fps:.1f} later ({wording.share(load.kept)})"
        )
    lines += ["", "### Machine", "", *(f"- {_md(name)}: {_md(value)}" for name, value in wording.machine_facts(result))]
    lines += ["", "### Doubts", "", *(f"- {_md(doubt)}" for doubt in wording.doubts(result) or ["none"])]
    return "\n".join(lines) + "\n"


def write(folder: Path, result: Result, raw_csv: Path | None, emulated: dict[str, Any] | None) -> list[str]:
    """Write the folder and return the names of the files. Raises RunError if it cannot be written.

    The measurements are written first. Without matplotlib and Jinja2, report.html and the plot are left out with a warning.
    """
    raw = raw_csv.read_bytes() if raw_csv is not None else None
    files = {"bench.json": json.dumps(as_json(result), indent=1).encode() + b"\n", "report.md": as_markdown(result).encode()}
    if raw is not None:
        files["raw.csv"] = raw
    for name, data in files.items():
        write_atomically(folder / name, data)
    try:
        from benchmarks.report import html, pareto, plots
    except ModuleNotFoundError as error:
        log.warning("%s is not installed, so there is no report.html; pip install 'deblurkit[bench]'", error.name)
        return list(files)
    drawn = {"report.html": html.page(result, html.times_of(raw), emulated).encode()}
    if (plot := pareto.quality_latency(result)) is not None:
        drawn["quality_latency.png"] = plots.as_png(plot)
    for name, data in drawn.items():
        write_atomically(folder / name, data)
    return [*files, *drawn]


def _md_pick(result: Result) -> list[str]:
    if result.pick is not None:
        return [f"**{_md(result.pick.label)}**: {_md(result.pick.why)}", "", f"    {wording.command(result, result.pick)}", ""]
    best = wording.best_for(result.rows)
    return [*(f"- {_md(row.label)}: {_md(words)} ({wording.figures(row)})" for row, words in best), *([""] if best else [])]


def _md_table(rows: Sequence[Row]) -> list[str]:
    lines = ["|" + "|".join(f" {_md(head)} " for head in HEADER) + "|", "|---|" + "---:|" * (len(HEADER) - 1)]
    for row in rows:
        cells = [_md(cell) for cell in _cells(row)]
        cells[0] = f"**{cells[0]}**" if row.front else cells[0]
        lines.append("|" + "|".join(f" {cell} " for cell in cells) + "|")
    return [*lines, ""]


def _cells(row: Row) -> list[str]:
    timed, parity = row.latency, row.agreement
    times = ["-"] * 5
    if timed is not None:
        interval = f"[{ms(timed.p50_ms.low)}–{ms(timed.p50_ms.high)}]"
        times = [ms(timed.p50_ms.value), interval, *(ms(e.value) for e in (timed.p95_ms, timed.p99_ms, timed.jitter_ms))]
    return [
        row.label,
        *times,
        ms(row.load_ms),
        ms(row.first_ms),
        number(row.peak_rss_mib, ".0f"),
        number(parity.psnr_db if parity else None, ".1f"),
        number(row.gain_db, "+.2f"),
        number(wording.sharp_db(row), ".1f"),
        "*" if row.front else "",
    ]


def _md(text: str) -> str:
    """Escape text for Markdown, also within a table's cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + sign if sign in "\\`*_[]|" else sign for sign in text)
