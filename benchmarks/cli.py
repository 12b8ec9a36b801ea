"""deblurkit bench"""

import json
import logging
import shlex
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import compare, live_suite, quality_suite, suites
from benchmarks.boards import contributed, predict
from benchmarks.measure import KERAS
from benchmarks.pick import as_measured
from benchmarks.records import Result, as_json
from benchmarks.report import write
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
full: with 1, 2, 4 and all threads, Keras and the classical methods that are told the kernel, twenty minutes;
sustained: at full load; quality: edges and flicker too; live: the whole loop against the bare runtime"""
log = logging.getLogger(__name__)
_LIVE_ROUNDS = 3
_OTHERS = {"compare": compare.main, "results": contributed.main}


def main(argv: list[str]) -> int:
    """Measure what the bundles' files do on this machine, and say what to run."""
    if argv and argv[0] in _OTHERS:
        return _OTHERS[argv[0]](argv[1:])
    options = _parser().parse_args(argv)
    start_logging(options.quiet)
    if options.suite == "quality":
        return _quality(options)
    if options.suite == "live":
        return _live(options)
    return _bench(options, argv)


def _parser() -> Parser:
    purpose = "What to run on this machine: milliseconds and picture quality of every file on every runtime."
    parser = new_parser("bench", purpose, EXAMPLE)
    add = parser.add_argument
    add("--suite", choices=["quick", "full", "sustained", "quality", "live"], default="quick", help=SUITES)
    add(
        "--bundle",
        action="append",
        help="a bundle's folder or file, or a shipped one's name; repeatable (default: all shipped)",
    )
    add("--data", type=Path, metavar="DIR", help="sharp pictures, or pairs in CASE and sharp folders (default: generated scenes)")
    add("--pictures", type=int, default=8, help="at most this many pictures of --data, evenly chosen")
    add("--runtimes", nargs="+", metavar="R", help=f"some of {', '.join([*runtimes.RUNTIMES, KERAS])} (default: the suite's)")
    add("--variants", nargs="+", metavar="V", help=f"some of {', '.join(VARIANTS)} (default: all)")
    add("--threads", type=int, nargs="+", metavar="N", help="CPU threads (default: all cores but one; full: 1, 2, 4 and all)")
    add(
        "--python",
        action="append",
        metavar="PYTHON",
        help="a further Python whose runtimes are measured, such as make setup-legacy's",
    )
    add("--size", default="640x480", metavar="WxH", help="size of the frame that is timed")
    add(
        "--rounds",
        type=int,
        default=3,
        help="how often all combinations are gone through (two where --minutes allow no more), in fresh processes each time",
    )
    add("--seconds", type=float, help="how long each process is timed after its warm-up (default: what --minutes allow)")
    add("--minutes", type=float, help="how long the rounds may take (quick 2.75, full 18.5), or the load of sustained (10)")
    add("--pick", action="store_true", help="keep the answer for `deblurkit run` on this machine")
    add("--fps", type=float, help="frames a second that the answer has to reach")
    add("--max-ms", type=float, help="milliseconds that a frame may take at most (p95)")
    add("--min-gain", type=float, metavar="DB", help="mean gain in PSNR that the answer has to have")
    add("--oracles", action="store_true", help="quality suite: Wiener and Richardson-Lucy, told the true kernel (slow)")
    add("--report", type=Path, metavar="DIR", help="folder for report.html, report.md, bench.json and raw.csv")
    return parser


def _bench(options: Namespace, argv: list[str]) -> int:
    wanted = _wanted(options, argv)
    with tempfile.TemporaryDirectory(prefix="deblurkit-raw-") as folder:
        raw = Path(folder, "raw.csv")
        result = suites.load(wanted) if options.suite == "sustained" else suites.measure(wanted, raw)
        if options.report:
            hashes = {row.sha256 for row in result.rows if row.sha256}
            names = write.write(options.report, result, raw if raw.is_file() else None, predict.for_bundles(hashes))
            log.info("%s: %s", options.report, ", ".join(names))
    if options.json:
        print_json(as_json(result))
    else:
        print(write.as_table(result))
    if not result.complete:
        return 130
    if options.suite != "sustained" and suites.nothing_runs(result.rows):
        raise RuntimeMissing(f"no file could be run on any runtime; {runtimes.RUNTIMES['litert'].install}")
    if options.pick:
        _keep(wanted, result)
    return OK


def _keep(wanted: suites.Wanted, result: Result) -> None:
    chosen = suites.choose(wanted, result.rows, result.loops)
    path = tuned.write(tuned.folder(), as_measured(chosen, result, wanted.bundles))
    log.info("%s: %s; `deblurkit run` takes it from now on", path, chosen.label)


def _wanted(options: Namespace, argv: list[str]) -> suites.Wanted:
    if options.pick and options.suite not in ("quick", "full"):
        raise UsageError(f"--pick needs figures to choose by: --suite quick or full, not {options.suite}")
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
    return suites.Wanted(
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
    """The answer that is kept for this machine, if it still holds."""
    try:
        measured = tuned.read(tuned.folder())
    except DataError as error:
        log.warning("%s; the new answer takes its place", error)
        return None
    return measured if measured is not None and not tuned.stale_reason(measured) else None


def _quality(options: Namespace) -> int:
    if options.data is None:
        raise UsageError("--suite quality needs --data: a folder of sharp pictures, or of pairs in CASE and sharp folders")
    runtime = (options.runtimes or ["litert"])[0]
    bundles = [open_bundle(name) for name in options.bundle or [DEFAULT]]
    methods = quality_suite.methods(bundles, runtime, options.variants, (options.threads or [1])[0], options.oracles)
    result = quality_suite.run(options.data, methods, options.pictures)
    code = _given(options, "quality.json", result, quality_suite.as_table(result))
    if options.report:
        quality_suite.plot(result, options.report / "gain_severity.png")
        log.info("%s: gain_severity.png", options.report)
    return code


def _live(options: Namespace) -> int:
    threads, seconds = (options.threads or [1])[0], options.seconds or 2.0
    result = live_suite.run((options.bundle or [DEFAULT])[0], options.size, threads, seconds, _LIVE_ROUNDS)
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
