"""deblurkit bench"""

import json
import logging
import pickle
import shlex
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import live_suite, quality, quality_suite, report
from benchmarks.baselines import BASELINES
from benchmarks.environment import environment, warnings
from benchmarks.measure import Job, Workload, measure
from device import runtimes
from device.bundle import DEFAULT, Bundle, open_bundle
from device.console import new_parser, print_json, start_logging
from device.errors import OK, UsageError
from device.picture import write_atomically
from device.scene import chart

EXAMPLE = "deblurkit bench --bundle small --bundle bundles/dense --data photos --report out/bench"
log = logging.getLogger(__name__)
_ROUNDS = 3  # of the live suite


def main(argv: list[str]) -> int:
    """Measure every file of the bundles on every runtime that is installed, each in a process of its own."""
    parser = new_parser("bench", "Milliseconds, memory and picture quality of every file on every runtime.", EXAMPLE)
    parser.add_argument(
        "--bundle", action="append", help=f"a bundle's folder or a shipped bundle's name; repeatable (default: {DEFAULT})"
    )
    parser.add_argument(
        "--suite", choices=["quick", "quality", "live"], default="quick",
        help="quick: every file on every runtime, timed; quality: twelve kinds of arriving picture, with classical methods; "
        "live: the whole loop against the bare runtime",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="sharp pictures to measure quality on (default: generated scenes)"
    )
    parser.add_argument("--pictures", type=int, default=8, help="at most this many pictures of --data, evenly chosen")
    parser.add_argument(
        "--runtimes", nargs="+", metavar="R", help=f"some of {', '.join(runtimes.RUNTIMES)} (default: all installed)"
    )
    parser.add_argument("--variants", nargs="+", metavar="V", help="quality suite: some of the bundles' variants (default: all)")
    parser.add_argument(
        "--oracles", action="store_true", help="quality suite: Wiener and Richardson-Lucy, told the true kernel (slow)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the model (default: 1)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="size of the frame that is timed")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each combination is timed, after its warm-up")
    parser.add_argument("--report", type=Path, metavar="DIR", help="folder for bench.json, bench.txt and quality_latency.png")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    width, height = _size(options.size)
    if options.threads < 1 or options.seconds <= 0 or options.pictures < 1:
        raise UsageError("--threads, --seconds and --pictures must be above 0")
    if options.suite == "quality":
        return _quality(options)
    if options.suite == "live":
        return _live(options)
    bundles = [open_bundle(name) for name in options.bundle or [DEFAULT]]
    wanted = options.runtimes or [name for name in runtimes.RUNTIMES if runtimes.installed(name)]
    for name in runtimes.RUNTIMES:
        if not runtimes.installed(name):
            log.info("without %s, which is not installed: %s", name, runtimes.RUNTIMES[name][2])
    found = environment()
    described, sharp = quality.sharp_pictures(options.data, options.pictures)
    rows: list[dict[str, Any]] = []
    jobs = [Job(name, None, None, None, 1, options.seconds) for name in BASELINES]
    for bundle in bundles:
        jobs += _jobs(bundle, wanted, options.threads, options.seconds)
    for reason in warnings(found):
        log.warning("%s", reason)
    try:
        with tempfile.TemporaryDirectory(prefix="deblurkit-bench-") as folder:
            workload = Path(folder, "workload.pickle")
            workload.write_bytes(pickle.dumps(Workload(chart(height, width), quality.gaussian_cases(sharp))))
            for done, job in enumerate(jobs, 1):
                log.info("%d/%d %s %s %s", done, len(jobs), job.name, job.variant or "", job.runtime or "")
                rows.append(_measured(job, workload))
    except KeyboardInterrupt:
        log.warning("interrupted: %d of %d combinations were measured", len(rows), len(jobs))
        if not rows:
            raise
    result = {
        "schema": 1,
        "command": shlex.join(["deblurkit", "bench", *argv]),
        "complete": len(rows) == len(jobs),
        "size_wh": [width, height],
        "threads": options.threads,
        "pictures": f"{described}, Gaussian blur of {', '.join(map(str, quality.SIGMAS_PX))} pixels, noise 2/255",
        "environment": found,
        "rows": rows,
    }
    if options.report:
        report.write(options.report, result)
        log.info("%s: bench.json, bench.txt, quality_latency.png", options.report)
    if options.json:
        print_json(result)
    else:
        print(report.as_table(rows))
        print(f"frame {width}x{height}; quality on {result['pictures']}; gain: mean over the four blurs")
    return OK if result["complete"] else 130


def _quality(options: Namespace) -> int:
    if options.data is None:
        raise UsageError("--suite quality needs --data: a folder of sharp pictures, or of pairs in CASE and sharp folders")
    runtime = (options.runtimes or ["litert"])[0]
    bundles = [open_bundle(name) for name in options.bundle or [DEFAULT]]
    methods = quality_suite.methods(bundles, runtime, options.variants, options.threads, options.oracles)
    result = quality_suite.run(options.data, methods, options.pictures)
    code = _given(options, "quality.json", result, quality_suite.as_table(result))
    if options.report:
        quality_suite.plot(result, options.report / "gain_severity.png")
        log.info("%s: gain_severity.png", options.report)
    return code


def _live(options: Namespace) -> int:
    result = live_suite.run((options.bundle or [DEFAULT])[0], options.size, options.threads, options.seconds, _ROUNDS)
    return _given(options, "live.json", result, live_suite.as_table(result))


def _given(options: Namespace, name: str, result: dict[str, Any], table: str) -> int:
    """The result as a file of the report, and on stdout as JSON or as a table."""
    if options.report:
        write_atomically(options.report / name, json.dumps(result, indent=1).encode() + b"\n")
        log.info("%s: %s", options.report, name)
    if options.json:
        print_json(result)
    else:
        print(table)
    return OK


def _jobs(bundle: Bundle, wanted: list[str], threads: int, seconds: float) -> list[Job]:
    jobs = []
    for artifact in bundle.manifest.artifacts:
        for runtime in wanted:
            if artifact.format in runtimes.formats(runtime):
                jobs.append(Job(bundle.name, str(bundle.folder), artifact.variant, runtime, threads, seconds))
    return jobs


def _measured(job: Job, workload: Path) -> dict[str, Any]:
    if job.runtime and not runtimes.installed(job.runtime):
        line = runtimes.RUNTIMES[job.runtime][2]
        row = {"name": job.name, "variant": job.variant, "runtime": job.runtime, "threads": job.threads}
        return {**row, "error": f"not installed; {line}"}
    return measure(job, workload)


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise UsageError(f"--size {text}: expected WIDTHxHEIGHT, such as 640x480") from error
    if min(width, height) < 16:
        raise UsageError(f"--size {text}: expected at least 16x16")
    return width, height
