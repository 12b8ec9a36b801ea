"""The live loop against the bare runtime: what capturing, showing and recording cost, as ratios within one run.

Every figure comes from `deblurkit run` in a process of its own; the bare runtime runs the same file on a frame of the same
size with the same threads. Rounds over all of them are repeated, so that a drift of the machine hits all alike.
"""

import json
import logging
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environment
from device.bundle.open import Bundle, open_bundle
from device.errors import RunError
from device.images.frame import Pixels, pixels_of
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from device.restore.restorer import Restorer
from device.settings import parse_size
from device.system.console import table
from device.system.python_process import run_python
from device.telemetry import peak_rss_mib

log = logging.getLogger(__name__)
PHOTO_HW = (3000, 4000)  # 12 megapixels
_FASTER = 1.5  # the source's rate, as a share of what the bare runtime reaches: the source is never what limits
_PATIENCE_S = 60


def run(bundle: str, size: str, threads: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure; plain data for the report. Raises RunError when a run fails."""
    found = asdict(environment.machine())
    bare, loops = [], []
    for number in range(rounds):
        log.info("round %d of %d", number + 1, rounds)
        bare.append(_here("bare", bundle, size, threads, seconds))
        fps = round(_FASTER * bare[-1]["fps"])
        usual = partial(loop, bundle, size, threads, seconds, fps)
        loops.append(
            {
                "null": _figures(usual(["null"], watched=False)),
                "web, one viewer": _figures(usual(["web"], watched=True)),
                "web, one viewer, recorder": _figures(usual(["web", "record:"], watched=True)),
                "null, camera of 30 fps": _figures(loop(bundle, size, threads, seconds, 30, ["null"], watched=False)),
                "null, two threads": _figures(loop(bundle, size, 2, seconds, 80, ["null"], watched=False)),
            }
        )
    middle = {name: _median([r[name] for r in loops]) for name in loops[0]}
    of_bare = {name: statistics.median(r[name]["fps"] / b["fps"] for r, b in zip(loops, bare, strict=True)) for name in loops[0]}
    calm = middle["null, camera of 30 fps"]
    recorded = statistics.median(r["web, one viewer, recorder"]["fps"] / r["null"]["fps"] for r in loops)
    pixels = _here("pixels", bundle, size, threads, seconds)
    photo = _photograph(bundle, threads)
    age_bound = 2 * calm["infer_p50_ms"] + 1000 / 30
    rows = [
        ("null sink / bare runtime", of_bare["null"], "≥ 0.95", of_bare["null"] >= 0.95),
        ("web, one viewer / bare runtime", of_bare["web, one viewer"], "≥ 0.90", of_bare["web, one viewer"] >= 0.90),
        ("web, one viewer, recorder / null sink", recorded, "≥ 0.75", recorded >= 0.75),
        ("frame age p95, ms, camera of 30 fps", calm["age_p95_ms"], f"≤ {age_bound:.1f}", calm["age_p95_ms"] <= age_bound),
        ("frames a second, two threads", middle["null, two threads"]["fps"], "≥ 60", middle["null, two threads"]["fps"] >= 60),
        ("first restored frame, s after start", calm["first_frame_s"], "≤ 1.5", calm["first_frame_s"] <= 1.5),
        ("peak memory, MB", calm["peak_mb"], "≤ 180", calm["peak_mb"] <= 180),
        ("peak memory, MB, 12-megapixel photograph", photo["peak_mb"], "≤ 500", photo["peak_mb"] <= 500),
        ("time a pixel, 4000x3000 / 256x256", pixels["ratio"], "≤ 1.35", pixels["ratio"] <= 1.35),
        *(
            (f"tiled, {variant}, grey levels{' at seams' if variant == 'dynamic' else ''}", levels, f"≤ {most}", levels <= most)
            for variant, levels, most in pixels["tiled"]
        ),
    ]
    return {
        "schema": 1,
        "environment": found,
        "bundle": bundle,
        "size": size,
        "threads": threads,
        "rounds": rounds,
        "bare": _median(bare),
        "loops": middle,
        "rows": [dict(zip(("what", "measured", "bar", "holds"), row, strict=True)) for row in rows],
    }


def as_table(result: dict[str, Any]) -> str:
    """For the terminal and the README."""
    loops = [
        [name, *(f"{loop[key]:.2f}" for key in ("fps", "infer_p50_ms", "age_p50_ms", "age_p95_ms")), f"{loop['dropped']:.0f}"]
        for name, loop in result["loops"].items()
    ]
    bare = ["bare runtime", f"{result['bare']['fps']:.2f}", f"{1000 / result['bare']['fps']:.2f}", "", "", ""]
    judged = [[r["what"], f"{r['measured']:.3g}", r["bar"], "holds" if r["holds"] else "misses"] for r in result["rows"]]
    return "\n".join(
        [
            table(["loop", "fps", "infer p50 ms", "age p50 ms", "age p95 ms", "dropped"], [bare, *loops]),
            "",
            table(["figure", "measured", "bar", ""], judged),
            f"{result['bundle']}, {result['size']}, {result['threads']} thread(s); medians of {result['rounds']} rounds",
        ]
    )


def loop(
    bundle: str, size: str, threads: int, seconds: float, fps: int, sinks: list[str], *, watched: bool, words: Sequence[str] = ()
) -> dict[str, Any]:
    """One `deblurkit run` on the demo, by its own --json, with a viewer of the page's stream if it is to be watched.

    `words` are further flags. Raises RunError when the run fails.
    """
    with tempfile.TemporaryDirectory(prefix="deblurkit-live-") as folder:
        port = _free_port()
        config = Path(folder, "run.toml")
        config.write_text(f'[camera]\nsize = "{size}"\nfps = {fps}\n[web]\nport = {port}\n')
        wanted = [f"--sink={sink}{folder if sink == 'record:' else ''}" for sink in sinks]
        line = ["run", "--json", "--quiet", "--source=demo", f"--bundle={bundle}", f"--threads={threads}", f"--seconds={seconds}"]
        with _viewer(port) if watched else _nobody():
            state = _command([*line, f"--config={config}", *wanted, *words])
    return state


def _figures(state: dict[str, Any]) -> dict[str, float]:
    stages, age = state["stages_ms"], state["frame_age_ms"]
    return {
        "fps": state["fps"],
        "infer_p50_ms": stages["infer"]["p50"],
        "age_p50_ms": age["p50"],
        "age_p95_ms": age["p95"],
        "dropped": float(state["dropped"]),
        "first_frame_s": state["first_frame_s"],
        "peak_mb": state["peak_rss_mib"] * 1.048576,
    }


def _photograph(bundle: str, threads: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="deblurkit-live-") as folder:
        photo = Path(folder, "photo.jpg")
        write_picture(photo, np.tile(dead_leaves(500, 500, 1), (6, 8, 1)))
        line = ["run", "--json", "--quiet", f"--source={photo}", f"--sink={Path(folder, 'restored.jpg')}"]
        state = _command([*line, f"--bundle={bundle}", f"--threads={threads}"])
    return {"peak_mb": state["peak_rss_mib"] * 1.048576}


def _command(line: list[str]) -> dict[str, Any]:
    done = run_python("-m", "deblurkit", *line, timeout_s=10 * _PATIENCE_S)
    if done.returncode:
        raise RunError(f"deblurkit {' '.join(line)}: ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    state: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return state


def _here(what: str, bundle: str, size: str, threads: int, seconds: float) -> dict[str, Any]:
    """Call a function of this file in a process of its own."""
    line = ["benchmarks.live_suite", what, bundle, size, str(threads), str(seconds)]
    done = run_python("-m", *line, timeout_s=10 * _PATIENCE_S)
    if done.returncode:
        raise RunError(f"the measurement of {what} failed: {done.stderr.strip()[-500:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _bare(bundle: str, size: str, threads: int, seconds: float) -> dict[str, float]:
    """Frames a second of the runtime alone: no capture, no conversion, one tensor again and again."""
    width, height = parse_size(size)
    with Restorer(open_bundle(bundle), threads=threads) as restorer:
        tensor = restorer.codec.to_tensor(dead_leaves(height, width, 1))
        warm, end, frames = time.monotonic() + seconds / 4, time.monotonic() + seconds * 5 / 4, 0
        while (now := time.monotonic()) < end:
            restorer.runtime.run(tensor)
            frames += now >= warm
    return {"fps": frames / seconds, "peak_mb": peak_rss_mib() * 1.048576}


def _pixels(bundle: str, threads: int) -> dict[str, Any]:
    """Seconds a pixel of a large picture against a small one, and what tiles change."""
    opened = open_bundle(bundle)
    large = np.tile(dead_leaves(500, 500, 1), (6, 8, 1))
    small = np.ascontiguousarray(large[:256, :256])

    def seconds(restorer: Restorer, picture: Any, calls: int) -> float:
        restorer.restore(picture)
        samples = []
        for _ in range(calls):
            began = time.perf_counter()
            restorer.restore(picture)
            samples.append(time.perf_counter() - began)
        return statistics.median(samples) / picture[..., 0].size

    with Restorer(opened, threads=threads) as restorer:
        ratio = seconds(restorer, large, 3) / seconds(restorer, small, 50)
    picture = dead_leaves(900, 1200, 2)
    tiled = [(variant, *_tiled(opened, variant, threads, picture)) for variant in ("fp32", "fp16", "int8", "dynamic")]
    return {"ratio": ratio, "tiled": tiled}


def _tiled(bundle: Bundle, variant: str, threads: int, picture: Pixels) -> tuple[int, int]:
    """(grey levels, how many are allowed): the difference that tiles make.

    Of `dynamic`, whose scales are each tile's own, the step that they leave at a seam; of the others, anywhere.
    """
    most_pixels = (2 * bundle.manifest.halo + 128) ** 2
    with (
        Restorer(bundle, variant, "litert", threads) as whole,
        Restorer(bundle, variant, "litert", threads, most_pixels=most_pixels) as tiled,
    ):
        difference = pixels_of(tiled.restore(picture)).astype(int) - pixels_of(whole.restore(picture))
        tiles = tiled.plan_for(*picture.shape[:2]).tiles
    if variant != "dynamic":
        return int(np.abs(difference).max()), 1
    rows, columns = ({getattr(tile, side) for tile in tiles} - {0} for side in ("top", "left"))
    steps = [np.abs(difference[y] - difference[y - 1]).max() for y in rows]
    steps += [np.abs(difference[:, x] - difference[:, x - 1]).max() for x in columns]
    return int(max(steps)), 2


@contextmanager
def _viewer(port: int) -> Iterator[None]:
    """Somebody who watches the page's stream, and takes it as fast as it comes."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream?view=both", timeout=5) as stream:
                    while not over.is_set() and stream.read1(1 << 20):
                        pass
            except OSError:
                over.wait(0.05)

    thread = threading.Thread(target=watch, name="viewer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE_S)


@contextmanager
def _nobody() -> Iterator[None]:
    yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main() -> int:
    """The measuring process: what, bundle, size, threads, seconds; a row as JSON on stdout."""
    what, bundle, size, threads, seconds = sys.argv[1:]
    row = _bare(bundle, size, int(threads), float(seconds)) if what == "bare" else _pixels(bundle, int(threads))
    print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
