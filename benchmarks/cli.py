"""The command `deblurkit bench`."""

import json
import logging
import shlex
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import compare, live_suite, quality_suite, suites
from benchmarks.boards import contributed, prediction
from benchmarks.measure import KERAS
from benchmarks.records import Result, as_json
from benchmarks.report import write
from benchmarks.request import Request
from benchmarks.tuned_model import tuned_model
from device import runtimes
from device.bundle.manifest import VARIANTS
from device.bundle.open import DEFAULT, open_bundle, shipped
from device.config import nearest
from device.errors import OK, DataError, RuntimeMissing, UsageError
from device.loop import tuned
from device.loop.tuned import TunedModel
from device.settings import parse_size
from device.system.console import Parser, new_parser, print_json, start_logging
from device.system.files import write_atomically

EXAMPLE = """deblurkit bench --pick --fps 30
  deblurkit bench --suite full --report out/bench
  deblurkit bench --bundle bundles/mine --data photos --report out/mine
  deblurkit bench compare before.json after.json --tolerance 5%
  deblurkit bench results"""
SUITES = """quick: every file on every runtime, three minutes;
full: also 1, 2, 4 and all threads, Keras and the non-blind classical methods, twenty minutes;
sustained: at full load; quality: also edges and flicker; live: the whole loop against the bare runtime"""
log = logging.getLogger(__name__)
_LIVE_ROUNDS = 3
_SUBCOMMANDS = {"compare": compare.main, "results": contributed.main}


def main(argv: list[str]) -> int:
    """Measure the files of the bundles on this machine, and recommend what to run."""
    if argv and argv[0] in _SUBCOMMANDS:
        return _SUBCOMMANDS[argv[0]](argv[1:])
    options = _parser().parse_args(argv)
    start_logging(options.quiet)
    if options.suite == "quality":
        return _quality(options)
    if options.suite == "live":
        return _live(options)
    return _bench(options, argv)


def _parser() -> Parser:
    purpose = "Find out what to run on this machine: milliseconds and picture quality of every file on every runtime."
    parser = new_parser("bench", purpose, EXAMPLE)
    add = parser.add_argument
    add("--suite", choices=["quick", "full", "sustained", "quality", "live"], default="quick", help=SUITES)
    add(
        "--bundle",
        action="append",
        help="folder or file of a bundle, or the name of a shipped one; repeatable (default: all shipped)",
    )
    add("--data", type=Path, metavar="DIR", help="sharp pictures, or pairs in CASE and sharp folders (default: generated scenes)")
    add("--pictures", type=int, default=8, help="use at most this many pictures of --data, evenly spaced")
    add("--runtimes", nargs="+", metavar="R", help=f"some of {', '.join([*runtimes.RUNTIMES, KERAS])} (default: the suite's)")
    add("--variants", nargs="+", metavar="V", help=f"some of {', '.join(VARIANTS)} (default: all)")
    add("--threads", type=int, nargs="+", metavar="N", help="CPU threads (default: all cores but one; full: 1, 2, 4 and all)")
    add(
        "--python",
        action="append",
        metavar="PYTHON",
        help="another Python interpreter whose runtimes are measured too, for example that of make setup-legacy",
    )
    add("--size", default="640x480", metavar="WxH", help="size of the timed frame")
    add(
        "--rounds",
        type=int,
        default=3,
        help="how often every combination is measured, each time in a fresh process (two if --minutes allow no more)",
    )
    add("--seconds", type=float, help="how long each process times frames after its warm-up (default: as --minutes allow)")
    add(
        "--minutes", type=float, help="time budget of the rounds (quick 2.75, full 18.5), or length of the load of sustained (10)"
    )
    add("--pick", action="store_true", help="save the pick for `deblurkit run` on this machine")
    add("--fps", type=float, help="frames a second that the pick must reach")
    add("--max-ms", type=float, help="the most milliseconds that restoring a frame may take (p95)")
    add("--min-gain", type=float, metavar="DB", help="mean gain in PSNR that the pick must have")
    add("--oracles", action="store_true", help="quality suite: also Wiener and Richardson-Lucy with the true kernel (slow)")
    add("--report", type=Path, metavar="DIR", help="folder for report.html, report.md, bench.json and raw.csv")
    return parser


def _bench(options: Namespace, argv: list[str]) -> int:
    request = _request(options, argv)
    with tempfile.TemporaryDirectory(prefix="deblurkit-raw-") as folder:
        raw = Path(folder, "raw.csv")
        sustained = options.suite == "sustained"
        outcome = suites.Outcome(suites.load(request)) if sustained else suites.measure(request, raw)
        result = outcome.result
        if options.report:
            hashes = {row.sha256 for row in result.rows if row.sha256}
            names = write.write(options.report, result, raw if raw.is_file() else None, prediction.for_bundles(hashes))
            log.info("%s: %s", options.report, ", ".join(names))
    if options.json:
        print_json(as_json(result))
    else:
        print(write.as_table(result))
    if not result.complete:
        return 130
    if not sustained and not suites.has_measured_network(result.rows):
        raise RuntimeMissing(f"no file could be run on any runtime; {runtimes.RUNTIMES['litert'].install}")
    if options.pick:
        if outcome.no_pick is not None:
            raise outcome.no_pick
        _save_pick(request, result)
    elif outcome.no_pick is not None:
        log.warning("%s", outcome.no_pick)
    return OK


def _save_pick(request: Request, result: Result) -> None:
    assert result.pick is not None
    path = tuned.write(tuned.folder(), tuned_model(result.pick, result, request.bundles))
    log.info("%s: %s; `deblurkit run` uses it from now on", path, result.pick.label)


def _request(options: Namespace, argv: list[str]) -> Request:
    if options.pick and options.suite not in ("quick", "full"):
        raise UsageError(f"--pick needs the figures of --suite quick or full, not {options.suite}")
    numbers = [options.pictures, options.rounds, options.seconds, options.minutes, options.fps, options.max_ms]
    if any(number is not None and not number > 0 for number in [*numbers, *(options.threads or ())]):
        raise UsageError("--threads, --seconds, --minutes, --rounds, --pictures, --fps and --max-ms must be above 0")
    for name in options.runtimes or []:
        if name != KERAS:
            runtimes.formats(name)
    for name in options.variants or []:
        if name not in VARIANTS:
            raise UsageError(f"unknown variant {name!r}; {nearest(name, VARIANTS)}")
    bundles = tuple(open_bundle(name) for name in options.bundle or (shipped() if options.suite != "sustained" else [DEFAULT]))
    if len({bundle.name for bundle in bundles}) < len(bundles):
        raise UsageError("two of the bundles have the same name; export one of them under another name")
    return Request(
        suite=options.suite,
        command=shlex.join(["deblurkit", "bench", *argv]),
        bundles=bundles,
        runtimes=tuple(options.runtimes or ()),
        variants=tuple(options.variants or ()),
        threads=tuple(options.threads or ()),
        interpreters=(sys.executable, *(options.python or ())),
        size_wh=parse_size(options.size, least=16),
        data=options.data,
        pictures=options.pictures,
        rounds=options.rounds,
        seconds=options.seconds,
        minutes=options.minutes,
        fps=options.fps,
        max_ms=options.max_ms,
        min_gain_db=options.min_gain,
        earlier=_earlier() if options.pick else None,
    )


def _earlier() -> TunedModel | None:
    """Return the tuned model of this machine if it is still valid."""
    try:
        earlier = tuned.read(tuned.folder())
    except DataError as error:
        log.warning("%s; the new pick replaces it", error)
        return None
    return earlier if earlier is not None and not tuned.stale_reason(earlier) else None


def _quality(options: Namespace) -> int:
    if options.data is None:
        raise UsageError("--suite quality needs --data: a folder of sharp pictures, or of pairs in CASE and sharp folders")
    runtime = (options.runtimes or ["litert"])[0]
    bundles = [open_bundle(name) for name in options.bundle or [DEFAULT]]
    methods = quality_suite.methods(bundles, runtime, options.variants, (options.threads or [1])[0], options.oracles)
    result = quality_suite.run(options.data, methods, options.pictures)
    _output(options, "quality.json", result, quality_suite.as_table(result))
    if options.report:
        quality_suite.plot(result, options.report / "gain_severity.png")
        log.info("%s: gain_severity.png", options.report)
    return OK


def _live(options: Namespace) -> int:
    threads, seconds = (options.threads or [1])[0], options.seconds or 2.0
    result = live_suite.run((options.bundle or [DEFAULT])[0], options.size, threads, seconds, _LIVE_ROUNDS)
    _output(options, "live.json", result, live_suite.as_table(result))
    return OK


def _output(options: Namespace, name: str, result: dict[str, Any], table: str) -> None:
    """Write the result to the report folder, and print it as JSON or as a table."""
    if options.report:
        write_atomically(options.report / name, json.dumps(result, indent=1).encode() + b"\n")
        log.info("%s: %s", options.report, name)
    if options.json:
        print_json(result)
    else:
        print(table)
