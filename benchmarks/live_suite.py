"""The suite `live`: what capturing, showing and recording cost, as ratios of the whole loop to the bare runtime.

The loop is `deblurkit run` in a process of its own; the bare runtime runs the same file on a frame of the same size with the
same threads. All of them are measured in rounds, so that a drift of the machine affects all of them alike.
"""

import logging
import statistics
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import bare_runtime, environment
from benchmarks.whole_loop import run_deblurkit, run_loop
from device.images.picture import write_picture
from device.system.console import table

log = logging.getLogger(__name__)
_SOURCE_RATE = 1.5
"""Rate of the source relative to the bare runtime, so that the source is never the limit."""
_MB_PER_MIB = 1.048576


def run(bundle: str, size: str, threads: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure, and return plain data for the report. Raises RunError if a run fails."""
    machine = asdict(environment.machine())
    bare, loops = [], []
    for number in range(rounds):
        log.info("round %d of %d", number + 1, rounds)
        bare.append(bare_runtime.rate(bundle, size, threads, seconds))
        fps = round(_SOURCE_RATE * bare[-1]["fps"])
        usual = partial(run_loop, bundle, size, threads, seconds, fps)
        loops.append(
            {
                "null": _figures(usual(["null"], viewer=False)),
                "web, one viewer": _figures(usual(["web"], viewer=True)),
                "web, one viewer, recorder": _figures(usual(["web", "record:"], viewer=True)),
                "null, camera of 30 fps": _figures(run_loop(bundle, size, threads, seconds, 30, ["null"], viewer=False)),
                "null, two threads": _figures(run_loop(bundle, size, 2, seconds, 80, ["null"], viewer=False)),
            }
        )
    medians = {name: _median([r[name] for r in loops]) for name in loops[0]}
    pixels = bare_runtime.pixels(bundle, size, threads, seconds)
    rows = _rows(bare, loops, medians, pixels, _photo_peak_mb(bundle, threads))
    return {
        "schema": 1,
        "environment": machine,
        "bundle": bundle,
        "size": size,
        "threads": threads,
        "rounds": rounds,
        "bare": _median(bare),
        "loops": medians,
        "rows": [dict(zip(("what", "measured", "bar", "holds"), row, strict=True)) for row in rows],
    }


def as_table(result: dict[str, Any]) -> str:
    """Format for the terminal and the README."""
    shown = ("fps", "filter_p50_ms", "infer_p50_ms", "age_p50_ms", "age_p95_ms")
    loops = [[name, *(f"{loop[key]:.2f}" for key in shown), f"{loop['dropped']:.0f}"] for name, loop in result["loops"].items()]
    bare = ["bare runtime", f"{result['bare']['fps']:.2f}", "", f"{1000 / result['bare']['fps']:.2f}", "", "", ""]
    targets = [[r["what"], f"{r['measured']:.3g}", r["bar"], "reached" if r["holds"] else "missed"] for r in result["rows"]]
    return "\n".join(
        [
            table(["loop", "fps", "filter p50 ms", "infer p50 ms", "age p50 ms", "age p95 ms", "dropped"], [bare, *loops]),
            "",
            table(["figure", "measured", "target", ""], targets),
            f"{result['bundle']}, {result['size']}, {result['threads']} thread(s); medians of {result['rounds']} rounds",
        ]
    )


def _rows(
    bare: list[dict[str, float]],
    loops: list[dict[str, dict[str, float]]],
    medians: dict[str, dict[str, float]],
    pixels: dict[str, Any],
    photo_mb: float,
) -> list[tuple[str, float, str, bool]]:
    """Return (figure, measured, target in words, whether it is reached)."""
    to_bare = {name: statistics.median(r[name]["fps"] / b["fps"] for r, b in zip(loops, bare, strict=True)) for name in loops[0]}
    recorded = statistics.median(r["web, one viewer, recorder"]["fps"] / r["null"]["fps"] for r in loops)
    at_30_fps = medians["null, camera of 30 fps"]
    restored_ms = at_30_fps["filter_p50_ms"] + at_30_fps["infer_p50_ms"]
    return [
        _at_least("null sink / bare runtime", to_bare["null"], 0.95, ".2f"),
        _at_least("web, one viewer / bare runtime", to_bare["web, one viewer"], 0.90, ".2f"),
        _at_least("web, one viewer, recorder / null sink", recorded, 0.75, ".2f"),
        _at_most("frame age p95, ms, camera of 30 fps", at_30_fps["age_p95_ms"], 2 * restored_ms + 1000 / 30, ".1f"),
        _at_least("frames a second, two threads", medians["null, two threads"]["fps"], 60),
        _at_most("first restored frame, s after start", at_30_fps["first_frame_s"], 1.5),
        _at_most("peak memory, MB", at_30_fps["peak_mb"], 190),
        _at_most("peak memory, MB, 12-megapixel photograph", photo_mb, 500),
        _at_most("time per pixel, 4000x3000 / 256x256", pixels["ratio"], 1.4),
        *(
            _at_most(f"tiled, {variant}, grey levels{' at seams' if variant == 'dynamic' else ''}", levels, most)
            for variant, levels, most in pixels["tiled"]
        ),
    ]


def _at_least(what: str, measured: float, target: float, form: str = "g") -> tuple[str, float, str, bool]:
    return what, measured, f"≥ {target:{form}}", measured >= target


def _at_most(what: str, measured: float, target: float, form: str = "g") -> tuple[str, float, str, bool]:
    return what, measured, f"≤ {target:{form}}", measured <= target


def _figures(report: dict[str, Any]) -> dict[str, float]:
    stages, age = report["stages_ms"], report["frame_age_ms"]
    return {
        "fps": report["fps"],
        "filter_p50_ms": stages.get("deconvolve", {}).get("p50") or 0.0,
        "infer_p50_ms": stages["infer"]["p50"],
        "age_p50_ms": age["p50"],
        "age_p95_ms": age["p95"],
        "dropped": float(report["dropped"]),
        "first_frame_s": report["first_frame_s"],
        "peak_mb": report["peak_rss_mib"] * _MB_PER_MIB,
    }


def _photo_peak_mb(bundle: str, threads: int) -> float:
    with tempfile.TemporaryDirectory(prefix="deblurkit-live-") as folder:
        photo = Path(folder, "photo.jpg")
        write_picture(photo, bare_runtime.photograph())
        sink = f"--sink={Path(folder, 'restored.jpg')}"
        report = run_deblurkit([f"--source={photo}", sink, f"--bundle={bundle}", f"--threads={threads}"])
    return float(report["peak_rss_mib"] * _MB_PER_MIB)


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}
