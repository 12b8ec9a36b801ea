"""Measure the runtime without the loop, in a process of its own: its rate, its time per pixel, and what tiles change."""

import json
import statistics
import sys
import time
from typing import Any

import numpy as np

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.bundle.open import Bundle, open_bundle
from device.errors import RunError
from device.images.frame import Pixels, luma_of, pixels_of
from device.images.scenes import dead_leaves
from device.restore.restorer import Restorer
from device.settings import parse_size
from device.system.python_process import run_python
from device.telemetry import peak_rss_mib

_TIMEOUT_S = 600


def photograph() -> Pixels:
    """(3000, 4000, 3) uint8: a generated photograph of 12 megapixels."""
    return np.tile(dead_leaves(500, 500, 1), (6, 8, 1))


def rate(bundle: str, size: str, threads: int, seconds: float) -> dict[str, float]:
    """Measure frames a second of the bare runtime (`fps`) and its peak memory (`peak_mb`). Raises RunError."""
    return _in_a_process("rate", bundle, size, threads, seconds)


def pixels(bundle: str, size: str, threads: int, seconds: float) -> dict[str, Any]:
    """Measure `ratio` (time per pixel of 4000x3000 / 256x256) and `tiled` (variant, grey levels, most). Raises RunError."""
    return _in_a_process("pixels", bundle, size, threads, seconds)


def _in_a_process(what: str, bundle: str, size: str, threads: int, seconds: float) -> dict[str, Any]:
    words = ["benchmarks.bare_runtime", what, bundle, size, str(threads), str(seconds)]
    done = run_python("-m", *words, timeout_s=_TIMEOUT_S)
    if done.returncode:
        raise RunError(f"the measurement of {what} failed: {done.stderr.strip()[-500:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _rate(bundle: str, size: str, threads: int, seconds: float) -> dict[str, float]:
    """Filter the same plane and run the same tensor again and again, without capture and conversion."""
    width, height = parse_size(size)
    with Restorer(open_bundle(bundle), threads=threads) as restorer:
        picture = dead_leaves(height, width, 1)
        tensor, plane = restorer.codec.to_tensor(picture), luma_of(picture)
        deconvolver = Deconvolver(Psf("defocus", 3.5) if restorer.codec.planes == 2 else BLIND)
        warm, end, frames = time.monotonic() + seconds / 4, time.monotonic() + seconds * 5 / 4, 0
        while (now := time.monotonic()) < end:
            deconvolver(plane)
            restorer.runtime.run(tensor)
            frames += now >= warm
    return {"fps": frames / seconds, "peak_mb": peak_rss_mib() * 1.048576}


def _pixels(name: str, threads: int) -> dict[str, Any]:
    bundle = open_bundle(name)
    large = photograph()
    small = np.ascontiguousarray(large[:256, :256])
    with Restorer(bundle, threads=threads) as restorer:
        ratio = _seconds_per_pixel(restorer, large, 3) / _seconds_per_pixel(restorer, small, 50)
    picture = dead_leaves(900, 1200, 2)
    tiled = [(variant, *_tiled(bundle, variant, threads, picture)) for variant in ("fp32", "fp16", "int8", "dynamic")]
    return {"ratio": ratio, "tiled": tiled}


def _seconds_per_pixel(restorer: Restorer, picture: Any, calls: int) -> float:
    restorer.restore(picture)
    samples = []
    for _ in range(calls):
        began = time.perf_counter()
        restorer.restore(picture)
        samples.append(time.perf_counter() - began)
    return statistics.median(samples) / picture[..., 0].size


def _tiled(bundle: Bundle, variant: str, threads: int, picture: Pixels) -> tuple[int, int]:
    """Return (grey levels that tiles change, how many are allowed).

    For `dynamic`, where each tile has its own scales, this is the step at a seam; for the others, the largest change anywhere.
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


def main() -> int:
    """Run the measuring process. Arguments: what, bundle, size, threads, seconds. Prints a JSON object."""
    what, bundle, size, threads, seconds = sys.argv[1:]
    measured = _rate(bundle, size, int(threads), float(seconds)) if what == "rate" else _pixels(bundle, int(threads))
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
