"""deblurkit export"""

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.bundle.manifest import MANIFEST, VARIANTS
from device.bundle.open import open_bundle
from device.bundle.write import atomic_folder
from device.config import nearest
from device.errors import OK, BundleError, ExportError, GateError, RunError, UsageError
from device.images.degrade import BLURS
from device.settings import parse_size
from device.system.console import Parser, new_parser, print_json, quiet_stdio, start_logging, table

if TYPE_CHECKING:
    from export.convert import Converted
    from export.export_source import ExportSource
    from export.graph import Graph

EXAMPLE = """deblurkit export runs/small --out bundles/small
  deblurkit export --from model.onnx --colour rgb --pad-multiple 8 --out bundles/theirs"""
RANGES = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}
PIXELS = ("bytes", "float32")
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Convert a finished run, or somebody else's model, into a bundle; it appears only if every file passed."""
    options = _parser().parse_args(argv)
    start_logging(options.quiet)
    _check(options)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # TFLite and tf2onnx read TensorFlow graphs; weights of any backend load
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

    with quiet_stdio():  # TensorFlow greets on stderr before it can be told not to
        from export import convert, gate

    losses = {} if options.max_loss is None else dict.fromkeys(("int8", "dynamic"), options.max_loss)
    parities = {} if options.min_parity is None else dict.fromkeys(("int8", "learned", "dynamic"), options.min_parity)
    limits = gate.Limits(gate.PARITY_DB | parities, gate.MAX_LOSS_DB | losses, options.max_pieces, options.max_transposes)
    wanted = convert.Wanted(
        tuple(options.variants),
        options.size,
        options.pixels,
        limits,
        options.blame,
        options.mixed,
        options.ncnn,
    )
    resolved = (options.foreign or options.run).resolve()
    out: Path = options.out or Path("bundles") / (resolved.name if resolved.is_dir() else resolved.stem)
    report: Path | None = options.report
    if report and (out.absolute() in (report.absolute(), *report.absolute().parents) or report.is_file()):
        raise UsageError(f"--report {report}: expected a folder outside of the bundle {out}; choose another")
    before = _hashes(out)
    with atomic_folder(out, options.replace) as folder:
        source = _open_source(options)
        done = convert.convert(source, folder, out.name, wanted)
        report = _write_report(options, out, done)
        said = "; ".join([*done.unmade, *done.failures])
        failed = (ExportError if done.unmade else GateError) if said else None
        bundle = convert.without_failures(done) if options.keep_going else done.bundle
        if failed and (not options.keep_going or not bundle.manifest.artifacts):
            _print_result(options, done, None, report)
            raise failed(f"no bundle was written, {len(done.unmade) + len(done.failures)} failures: {said}")
    _print_result(options, done, out, report)
    if not options.json:
        print(f"parity and loss: against the network; on {source.pictures.described}")
        _say_what_changed(before, _hashes(out))
        made = f"{out}: {len(bundle.manifest.artifacts)} files, halo {bundle.manifest.halo} pixels"
        print(f"{made}; next: deblurkit run --bundle {out} --source demo")
    if failed:
        raise failed(f"{out} holds only what passed; missing: {said}")
    return OK


def _write_report(options: Any, out: Path, done: "Converted") -> Path | None:
    from export.layer_sensitivity import write_report

    if not done.sensitivities:
        return None
    folder: Path = options.report or out.with_name(f"{out.name}-report")
    try:
        return write_report(folder, out.name, done.sensitivities)
    except OSError as error:
        raise RunError(f"{folder}: the report cannot be written: {error.strerror}; choose another --report") from error


def _print_result(options: Any, done: "Converted", out: Path | None, report: Path | None) -> None:
    """Every file's figures, as a table or as JSON; `out` is where the bundle lies, if one was written."""
    if options.json:
        files = {v.artifact.label: _facts(done, v) for v in done.verdicts}
        print_json(
            {
                "bundle": str(out) if out else None, "halo": done.bundle.manifest.halo, "files": files,
                "unmade": list(done.unmade), "notes": list(done.notes), "report": str(report) if report else None,
            }
        )  # fmt: skip
        return
    from export.layer_sensitivity import describe

    print("\n".join([_table(done), *done.notes, *(f"int8: {sentence}" for sentence in describe(done.sensitivities))]))
    if report:
        print(f"int8, layer by layer: {report}")


def _parser() -> Parser:
    parser = new_parser("export", "Convert a network into files for boards, each compared with it and judged.", EXAMPLE)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the bundle's folder (default: bundles/ and the run's name)")
    parser.add_argument("--replace", action="store_true", help="replace a bundle that lies there already")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="V", help=f"some of {', '.join(VARIANTS)}")
    parser.add_argument("--ncnn", action="store_true", help="a file for ncnn too (pip install ncnn; pip install --no-deps pnnx)")
    parser.add_argument("--size", metavar="WxH", help="files for pictures of this size only (default: any size)")
    parser.add_argument(
        "--pixels",
        default="bytes",
        help="in and out of int8 files: bytes (int8 in TFLite, uint8 in ONNX; default) or float32",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="photographs to calibrate int8 on (default: the run's own training pictures)",
    )
    gate = parser.add_argument_group("the gate")
    gate.add_argument(
        "--max-loss", type=float, metavar="DB", help="PSNR that a file may lose (default: int8 0.10, dynamic 0.03, fp16 0.01)"
    )
    gate.add_argument(
        "--min-parity", type=float, metavar="DB",
        help="PSNR between 8-bit files and network (default: dynamic 45, int8 32, or 40 with learned ranges)",
    )  # fmt: skip
    gate.add_argument("--max-pieces", type=int, default=1, metavar="N", help="partitions that a graph may fall into (default: 1)")
    gate.add_argument("--max-transposes", type=int, default=2, metavar="N", help="Transposes of an ONNX graph (default: 2)")
    gate.add_argument("--keep-going", action="store_true", help="write the files that passed; still ends with 5 or 6")
    gate.add_argument("--blame", action="store_true", help="say which layers lose in int8, even if no file failed")
    gate.add_argument("--mixed", action="store_true", help="keep the worst layers of a failing int8 file in float")
    gate.add_argument("--report", type=Path, metavar="DIR", help="where the blame goes (default: beside the bundle, NAME-report)")
    foreign = parser.add_argument_group("somebody else's model")
    foreign.add_argument(
        "--from", dest="foreign", type=Path, metavar="MODEL", help="a .keras, .onnx or .tflite file, or a SavedModel"
    )
    foreign.add_argument("--colour", help="what its channels are: rgb (default) or luma")
    foreign.add_argument("--range", help=f"its values from black to white: {', '.join(RANGES)} (default: 0..1)")
    foreign.add_argument("--pad-multiple", type=int, metavar="N", help="sides must be multiples of this (default: 1)")
    foreign.add_argument(
        "--data", type=Path, metavar="DIR", help="photographs to calibrate and judge on (default: scikit-image's)"
    )
    foreign.add_argument("--blur", help=f"how they are blurred: {', '.join(BLURS)} (default: camera)")
    foreign.add_argument("--licence", help="licence of the model, for the manifest")
    return parser


def _check(options: Any) -> None:
    """Raise UsageError for what needs no model to be seen; turn --size into (height, width).

    Raises RuntimeMissing where --ncnn lacks what it needs.
    """
    if (options.run is None) == (options.foreign is None):
        raise UsageError("give the folder of a finished run, or --from MODEL; exactly one of them")
    of_foreign = {"colour": "rgb", "range": "0..1", "pad_multiple": 1, "data": None, "blur": "camera", "licence": ""}
    for name, default in of_foreign.items():
        if options.run is not None and getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} goes with --from: a run says that itself; leave it out")
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


def _table(done: "Converted") -> str:
    header = [
        "file",
        "KiB",
        "s",
        "parity dB",
        "max diff",
        "input dB",
        "restored dB",
        "loss dB",
        "operators",
        "partitions",
        "outside",
        "verdict",
    ]
    rows = []
    for verdict in done.verdicts:
        artifact, seen = verdict.artifact, verdict.graph
        parity, quality = artifact.parity, artifact.quality
        row = [artifact.file, f"{artifact.bytes / 1024:.0f}", f"{done.seconds[artifact.label]:.1f}"]
        row += [f"{parity.psnr_db:.1f}", f"{parity.max_abs:.5f}"] if parity else ["-", "-"]
        row += (
            [f"{quality.input_psnr_db:.2f}", f"{quality.restored_psnr_db:.2f}", f"{quality.loss_db:+.3f}"]
            if quality
            else ["-"] * 3
        )
        row += [str(seen.operators), str(seen.partitions), ", ".join(seen.outside) or "none"] if seen else ["-"] * 3
        rows.append([*row, "FAILED" if verdict.failures else "passed"])
    lines = [table(header, rows)]
    for verdict in done.verdicts:
        calibrated = verdict.artifact.calibrated
        if calibrated and calibrated.tried:
            tried = ", ".join(f"{method} {db:.3f}" for method, db in calibrated.tried.items())
            lines.append(f"{verdict.artifact.file}: calibrated by {calibrated.method} (dB: {tried})")
    return "\n".join([*lines, *(f"FAILED {failure}" for failure in [*done.unmade, *done.failures])])


def _facts(done: "Converted", verdict: Any) -> dict[str, Any]:
    artifact = verdict.artifact
    return {
        **asdict(artifact),
        "seconds": round(done.seconds[artifact.label], 2),
        "graph": _graph_facts(verdict.graph) if verdict.graph else None,
        "failures": list(verdict.failures),
    }


def _graph_facts(graph: "Graph") -> dict[str, Any]:
    """The key for the partitions stays `pieces`, as other programs read it."""
    return {"pieces" if name == "partitions" else name: value for name, value in asdict(graph).items()}


def _hashes(out: Path) -> dict[str, str]:
    """SHA-256 by file of the bundle that lies there; empty where there is none that can be read."""
    if not (out / MANIFEST).is_file():
        return {}
    try:
        return {a.file: a.sha256 for a in open_bundle(out).manifest.artifacts}
    except BundleError:
        return {}


def _say_what_changed(before: dict[str, str], now: dict[str, str]) -> None:
    if before:
        other = [name for name, digest in now.items() if before.get(name) != digest]
        same = f"{len(now) - len(other)} of {len(now)} files have the bytes they had before"
        print(same + (f"; changed: {', '.join(other)}" if other else ""))
