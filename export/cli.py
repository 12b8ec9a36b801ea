"""deblurkit export"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.bundle.manifest import MANIFEST, VARIANTS
from device.bundle.open import open_bundle
from device.bundle.write import atomic_folder
from device.config import nearest
from device.errors import OK, BundleError, ExportError, GateError, RunError, UsageError
from device.images.degrade import BLURS
from device.settings import parse_size
from device.system.console import Parser, new_parser, quiet_stdio, start_logging

if TYPE_CHECKING:
    from export.convert import Converted
    from export.export_source import ExportSource

EXAMPLE = """deblurkit export runs/small --out bundles/small
  deblurkit export --from model.onnx --colour rgb --pad-multiple 8 --out bundles/theirs"""
RANGES = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}
PIXELS = ("bytes", "float32")
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Convert a finished run, or somebody else's model, to a bundle; the bundle appears only if every file passed."""
    options = _parser().parse_args(argv)
    start_logging(options.quiet)
    _check(options)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # TFLite and tf2onnx read TensorFlow graphs; weights of any backend load
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

    with quiet_stdio():  # TensorFlow writes to stderr before it can be silenced
        from export.convert import Wanted, convert, without_failures
        from export.gate import MAX_LOSS_DB, PARITY_DB, Limits
        from export.result import print_result

    losses = {} if options.max_loss is None else dict.fromkeys(("int8", "dynamic"), options.max_loss)
    parities = {} if options.min_parity is None else dict.fromkeys(("int8", "learned", "dynamic"), options.min_parity)
    wanted = Wanted(
        variants=tuple(options.variants),
        size=options.size,
        pixels=options.pixels,
        limits=Limits(PARITY_DB | parities, MAX_LOSS_DB | losses, options.max_pieces, options.max_transposes),
        layer_sensitivity=options.blame,
        mixed=options.mixed,
        ncnn=options.ncnn,
    )
    given = (options.foreign or options.run).resolve()
    out: Path = options.out or Path("bundles") / (given.name if given.is_dir() else given.stem)
    report: Path | None = options.report
    if report and (out.absolute() in (report.absolute(), *report.absolute().parents) or report.is_file()):
        raise UsageError(f"--report {report}: expected a folder outside of the bundle {out}; choose another")
    before = _hashes(out)
    with atomic_folder(out, options.replace) as folder:
        source = _open_source(options)
        done = convert(source, folder, out.name, wanted)
        report = _write_report(options, out, done)
        failures = [*done.unconverted, *done.failures]
        failure = "; ".join(failures)
        error = ExportError if done.unconverted else GateError
        bundle = without_failures(done) if options.keep_going else done.bundle
        if failures and (not options.keep_going or not bundle.manifest.artifacts):
            print_result(done, None, report, as_json=options.json)
            raise error(f"no bundle was written, {len(failures)} failures: {failure}")
    print_result(done, out, report, as_json=options.json)
    if not options.json:
        print(f"parity and loss: against the network; on {source.pictures.described}")
        _print_changes(before, _hashes(out))
        summary = f"{out}: {len(bundle.manifest.artifacts)} files, halo {bundle.manifest.halo} pixels"
        print(f"{summary}; next: deblurkit run --bundle {out} --source demo")
    if failures:
        raise error(f"{out} holds only the files that passed; missing: {failure}")
    return OK


def _write_report(options: Any, out: Path, done: "Converted") -> Path | None:
    from export.sensitivity_report import write_report

    if not done.sensitivities:
        return None
    folder: Path = options.report or out.with_name(f"{out.name}-report")
    try:
        return write_report(folder, out.name, done.sensitivities)
    except OSError as error:
        raise RunError(f"{folder}: the report cannot be written: {error.strerror}; choose another --report") from error


def _parser() -> Parser:
    parser = new_parser("export", "Convert a network to files for boards, and compare each file with the network.", EXAMPLE)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the bundle's folder (default: bundles/ and the run's name)")
    parser.add_argument("--replace", action="store_true", help="replace an existing bundle")
    parser.add_argument(
        "--variants", nargs="+", default=list(VARIANTS), metavar="V", help=f"which of {', '.join(VARIANTS)} (default: all)"
    )
    parser.add_argument("--ncnn", action="store_true", help="also a file for ncnn (pip install ncnn; pip install --no-deps pnnx)")
    parser.add_argument("--size", metavar="WxH", help="files for pictures of this size only (default: any size)")
    parser.add_argument(
        "--pixels",
        default="bytes",
        help="input and output of int8 files: bytes (int8 in TFLite, uint8 in ONNX; default) or float32",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="photographs to calibrate int8 on (default: the run's own training pictures)",
    )
    gate = parser.add_argument_group("the gate")
    gate.add_argument(
        "--max-loss", type=float, metavar="DB", help="PSNR that 8-bit files may lose (default: int8 0.10, dynamic 0.03)"
    )
    gate.add_argument(
        "--min-parity", type=float, metavar="DB",
        help="PSNR between 8-bit files and network (default: dynamic 45, int8 32, or 40 with learned ranges)",
    )  # fmt: skip
    gate.add_argument("--max-pieces", type=int, default=1, metavar="N", help="most partitions of a graph (default: 1)")
    gate.add_argument("--max-transposes", type=int, default=2, metavar="N", help="most Transposes of an ONNX graph (default: 2)")
    gate.add_argument("--keep-going", action="store_true", help="write the files that passed; the exit code is still 5 or 6")
    gate.add_argument(
        "--blame", action="store_true", help="measure which layers lose in int8 (layer sensitivity), even if no file failed"
    )
    gate.add_argument("--mixed", action="store_true", help="keep the worst layers of a failing int8 file in float")
    gate.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder of the report on layer sensitivity (default: beside the bundle, NAME-report)",
    )
    foreign = parser.add_argument_group("somebody else's model")
    foreign.add_argument(
        "--from", dest="foreign", type=Path, metavar="MODEL", help="a .keras, .onnx or .tflite file, or a SavedModel"
    )
    foreign.add_argument("--colour", help="its channels: rgb (default) or luma")
    foreign.add_argument("--range", help=f"its values from black to white: {', '.join(RANGES)} (default: 0..1)")
    foreign.add_argument("--pad-multiple", type=int, metavar="N", help="sides must be multiples of this (default: 1)")
    foreign.add_argument(
        "--data", type=Path, metavar="DIR", help="photographs to calibrate and judge on (default: scikit-image's)"
    )
    foreign.add_argument("--blur", help=f"how they are blurred: {', '.join(BLURS)} (default: camera)")
    foreign.add_argument("--licence", help="licence of the model, for the manifest")
    return parser


def _check(options: Any) -> None:
    """Check everything that needs no model, and turn --size into (height, width).

    Raises UsageError, or RuntimeMissing where --ncnn lacks a program or package.
    """
    if (options.run is None) == (options.foreign is None):
        raise UsageError("give either the folder of a finished run or --from MODEL")
    of_foreign = {"colour": "rgb", "range": "0..1", "pad_multiple": 1, "data": None, "blur": "camera", "licence": ""}
    for name, default in of_foreign.items():
        if options.run is not None and getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} goes with --from: a run records that itself; leave it out")
        if getattr(options, name) is None:
            setattr(options, name, default)
    for name, value, known in (
        ("pixels", options.pixels, PIXELS), ("colour", options.colour, ("rgb", "luma")),
        ("range", options.range, RANGES), ("blur", options.blur, BLURS),
        *(("variant", variant, VARIANTS) for variant in options.variants),
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"unknown {name} {value!r}; {nearest(value, known)}")
    for option, decibels in (("--max-loss", options.max_loss), ("--min-parity", options.min_parity)):
        if decibels is not None and not decibels >= 0:
            raise UsageError(f"{option} {decibels}: expected decibels, 0 or more")
    for name, least in (("max_pieces", 1), ("pad_multiple", 1), ("max_transposes", 0)):
        if getattr(options, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)}: expected {least} or more")
    if options.size is not None:
        width, height = parse_size(options.size, most=8192)
        options.size = height, width
    if options.ncnn:
        from export.to_ncnn import program

        program()


def _open_source(options: Any) -> "ExportSource":
    from export.trained_run import TrainedRun

    if options.foreign is not None:
        from export.foreign.declared import Declared
        from export.foreign.open_foreign import open_with_photographs

        declared = Declared(options.colour, RANGES[options.range], options.pad_multiple, options.licence)
        return open_with_photographs(options.foreign, declared, options.data, options.calibration, options.blur, options.size)
    source = TrainedRun(options.run, options.calibration, options.size)
    if options.calibration and source.learned_ranges():
        log.warning("%s has learned its int8 ranges, so the pictures in %s do not change them", options.run, options.calibration)
    return source


def _hashes(out: Path) -> dict[str, str]:
    """SHA-256 of each file of the bundle at `out`; empty where there is none or it cannot be read."""
    if not (out / MANIFEST).is_file():
        return {}
    try:
        return {a.file: a.sha256 for a in open_bundle(out).manifest.artifacts}
    except BundleError:
        return {}


def _print_changes(before: dict[str, str], now: dict[str, str]) -> None:
    if before:
        other = [name for name, digest in now.items() if before.get(name) != digest]
        same = f"{len(now) - len(other)} of {len(now)} files have the bytes they had before"
        print(same + (f"; changed: {', '.join(other)}" if other else ""))
