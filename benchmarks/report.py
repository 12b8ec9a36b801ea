"""Rows into a table, JSON and a plot of quality against latency."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from device.console import table
from device.picture import write_atomically

HEADER = [
    "what",
    "file",
    "runtime",
    "threads",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "load ms",
    "MiB",
    "gain dB",
    "gauss-1.6 dB",
    "sharp-in dB",
]


def as_table(rows: list[dict[str, Any]]) -> str:
    """Lined up for a terminal; a row without figures ends in its reason."""
    lines = [_cells(row) for row in rows if "error" not in row]
    text = table(HEADER, lines)
    for row in rows:
        if "error" in row:
            text += f"\n{row['name']} {row['variant'] or ''} on {row['runtime']}: {row['error']}"
    return text


def _cells(row: dict[str, Any]) -> list[str]:
    quality = row["quality"]
    return [
        row["name"],
        Path(row.get("file", "-")).name,
        row["runtime"] or "-",
        str(row["threads"]),
        *(f"{row[f'p{p}_ms']:.2f}" for p in (50, 95, 99)),
        f"{row['load_ms']:.0f}",
        f"{row['peak_rss_mib']:.0f}",
        f"{row['gain_db']:+.2f}",
        f"{quality['gauss-1.6']['psnr_db']:.2f}",
        f"{quality['sharp-in']['psnr_db']:.1f}",
    ]


def write(folder: Path, result: dict[str, Any]) -> None:
    """bench.json, bench.txt and quality_latency.png in `folder`."""
    write_atomically(folder / "bench.json", json.dumps(result, indent=1).encode() + b"\n")
    write_atomically(folder / "bench.txt", (as_table(result["rows"]) + "\n").encode())
    plot(result, folder / "quality_latency.png")


def plot(result: dict[str, Any], path: Path) -> None:
    """Gain against the median latency of a frame, one mark for each file on each runtime."""
    rows = sorted((row for row in result["rows"] if "error" not in row), key=lambda row: row["p50_ms"])
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.5}
    markers = {"litert": "o", "onnxruntime": "s", "opencv_dnn": "^", "tflite_runtime": "D", None: "*"}
    names = list(dict.fromkeys(row["name"] for row in rows))
    for i, row in enumerate(rows):
        colour = f"C{names.index(row['name'])}"
        latency_ms = max(row["p50_ms"], 0.5)  # doing nothing has no place on a log axis
        axes.scatter(latency_ms, row["gain_db"], marker=markers.get(row["runtime"], "x"), color=colour, s=60, zorder=3)
        label = f"{row['name']} {row['variant'] or ''}".strip()
        axes.annotate(
            label,
            (latency_ms, row["gain_db"]),
            fontsize=7.5,
            xytext=(-14, -22 - 13 * (i % 5)),
            textcoords="offset points",
            arrowprops=line,
        )
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        axes.scatter([], [], marker=markers.get(runtime, "x"), color="grey", label=runtime or "no network")
    axes.axhline(0, color="grey", linewidth=0.8)
    width, height = result["size_wh"]
    axes.set(
        xscale="log",
        xlabel=f"median ms of a {width}x{height} frame, {result['threads']} thread(s), {result['environment']['cpu']}",
        ylabel="mean gain in PSNR, dB",
    )
    axes.set_title(f"Quality against latency\n{result['pictures']}", fontsize=9)
    axes.margins(x=0.08, y=0.1)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=110)
