"""deblurkit export"""

import logging
import os
from dataclasses import asdict
from pathlib import Path

from device.bundle import VARIANTS, Artifact, writing
from device.config import nearest
from device.console import new_parser, print_json, quiet_stdio, start_logging, table
from device.errors import OK, GateError, UsageError

EXAMPLE = "deblurkit export runs/small --out bundles/small"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Convert a finished run into a bundle; nothing appears under its name unless every file passed."""
    parser = new_parser("export", "Convert a trained run into seven files, each compared with Keras.", EXAMPLE)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished training run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the bundle's folder (default: bundles/ and the run's name)")
    parser.add_argument("--replace", action="store_true", help="replace a bundle that lies there already")
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="photographs to calibrate int8 on (default: the run's own)"
    )
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="V", help=f"some of {', '.join(VARIANTS)}")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    for variant in options.variants:
        if variant not in VARIANTS:
            raise UsageError(f"unknown variant {variant!r}; {nearest(variant, VARIANTS)}")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # TFLite and tf2onnx read TensorFlow graphs; weights of any backend load
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

    with quiet_stdio():  # TensorFlow greets on stderr before it can be told not to
        from export.convert import convert

    out: Path = options.out or Path("bundles") / options.run.resolve().name
    with writing(out, options.replace) as folder:
        done = convert(options.run, folder, out.name, options.calibration, options.variants)
        artifacts = done.bundle.manifest.artifacts
        rows = [_row(a, done.seconds[a.label]) for a in artifacts]
        header = ["file", "KiB", "s", "parity dB", "max diff", "input dB", "restored dB", "gain dB", "loss dB"]
        if not options.json:
            print(table(header, rows))
        if done.failures:
            raise GateError(f"no bundle was written, {len(done.failures)} failures: " + "; ".join(done.failures))
    if options.json:
        files = {a.label: {**asdict(a), "seconds": round(done.seconds[a.label], 2)} for a in artifacts}
        print_json({"bundle": str(out), "halo": done.bundle.manifest.halo, "files": files})
    else:
        pictures = artifacts[0].quality.pictures if artifacts and artifacts[0].quality else ""
        print(f"parity: against Keras; quality: {pictures}; loss: against fp32 of the same format")
        print(
            f"{out}: {len(rows)} files, halo {done.bundle.manifest.halo} pixels; next: deblurkit run --bundle {out} --source demo"
        )
    return OK


def _row(artifact: Artifact, seconds: float) -> list[str]:
    p, q = artifact.parity, artifact.quality
    row = [artifact.file, f"{artifact.bytes / 1024:.0f}", f"{seconds:.1f}"]
    row += [f"{p.psnr_db:.1f}", f"{p.max_abs:.5f}"] if p else ["-", "-"]
    if q is None:
        return [*row, "-", "-", "-", "-"]
    return [*row, f"{q.input_psnr_db:.2f}", f"{q.restored_psnr_db:.2f}", f"{q.gain_db:+.2f}", f"{q.loss_db:+.3f}"]
