"""deblurkit train"""

import importlib.util
import logging
import os
import shlex
from pathlib import Path

import cv2

from device.errors import OK, UsageError
from device.images.degrade import BLURS
from device.system.console import new_parser, print_json, quiet_stdio, start_logging
from train.presets import PRESETS

EXAMPLE = "deblurkit train --preset small --data photos --out runs/mine"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Train a preset; the run folder gets weights, curves, examples and everything needed to repeat the run."""
    parser = new_parser("train", "Train a network on sharp photographs (blurred as they are read) or on pairs.", EXAMPLE)
    parser.add_argument("--preset", default="small", help=f"{', '.join(PRESETS)} (default: small)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="DIR", help="sharp photographs, with sub-folders (default: scikit-image's)")
    source.add_argument("--pairs", type=Path, nargs=2, metavar=("BLURRED", "SHARP"), help="two folders, matched by sorted name")
    parser.add_argument("--blur", choices=list(BLURS), help="how photographs are blurred (default: the preset's)")
    parser.add_argument("--init", metavar="BUNDLE", help="start from the weights of a bundle or finished run (fine-tuning)")
    parser.add_argument("--teacher", type=Path, metavar="RUN", help="a finished run to learn from, besides the sharp pictures")
    parser.add_argument("--teacher-weight", type=float, help="weight of the loss against the teacher (default: the preset's)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/PRESET)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out with its own settings")
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        help="share of the pictures held out for validation; 0 validates on the training pictures",
    )
    parser.add_argument("--epochs", type=int, help="epochs (default: the preset's)")
    parser.add_argument("--steps", type=int, help="steps per epoch (default: the preset's)")
    parser.add_argument("--batch", type=int, help="patches per step (default: the preset's)")
    parser.add_argument("--patch", type=int, help="side of a training patch, pixels (default: the preset's)")
    parser.add_argument(
        "--grow", type=int, nargs="+", metavar="SIDE", help="sides of larger patches, each for an equal share of the epochs"
    )
    parser.add_argument("--branches", action="store_true", help="train each 3x3 kernel as a sum of branches, folded at the end")
    parser.add_argument("--quantise", action="store_true", help="fine-tune the weights of --init for int8 files")
    parser.add_argument(
        "--loss", choices=["charbonnier", "log_mse", "mse"], help="the loss of all epochs (default: the preset's)"
    )
    parser.add_argument("--fft-weight", type=float, help="weight of the error in the frequencies (default: the preset's)")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate (default: the preset's)")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "mixed_bfloat16", "mixed_float16"], help="default: the preset's"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights, patches and blur")
    parser.add_argument("--licence", default="", help="licence of the pictures, for the manifest of an exported bundle")
    parser.add_argument(
        "--cache",
        type=int,
        metavar="MIB",
        help="memory for decoded pictures (default: half of the free memory)",
    )
    parser.add_argument("--profile", action="store_true", help="measure steps per second with and without the input, then stop")
    parser.add_argument("--check", type=Path, metavar="DIR", help="inspect a folder of photographs, then stop")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even if the driver shows a GPU")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.cache is not None and options.cache < 0:
        raise UsageError(f"--cache {options.cache}: expected MiB, at least 0")
    if not 0 <= options.val_share < 1:
        raise UsageError(f"--val-share {options.val_share}: expected a share of at least 0 and below 1")
    if options.check:
        from train import check

        return check.run(options)
    _set_up_keras(cpu=options.cpu)
    with quiet_stdio():  # TensorFlow writes to stderr while it is imported, before its logging can be configured
        from train import accelerator, fit, plan, profile
        from train.architectures import NAFNet

    if not options.cpu:
        accelerator.require_visible_gpu()
    out: Path = options.out or Path("runs") / options.preset
    cache_bytes = None if options.cache is None else options.cache << 20
    if options.resume:
        planned = plan.resume_run(out, cache_bytes)
    else:
        planned = plan.new_run(options, out, cache_bytes, shlex.join(["deblurkit", "train", *argv]))
    record = planned.record
    log.info(
        "%s: %s parameters, %.0f MAC per pixel; %d pictures to train on, %d to validate on; training on %s",
        record.preset, f"{record.parameters:,}", record.macs_per_pixel, len(planned.train), len(planned.validation),
        accelerator.training_device(),
    )  # fmt: skip
    if record.data.val_share == 0:
        log.warning("--val-share 0: validated on the training pictures, so the figures say nothing about other pictures")
    validation = plan.validation_pairs(planned)
    batches = plan.training_batches(planned, validation)
    if options.profile:
        return profile.run(record, batches, planned.cache, options.json)
    record = fit.fit(record, out, batches, validation, options.quiet)
    results = record.results
    if options.json:
        print_json({"run": str(out), "preset": record.preset, "seconds": record.seconds, **results})
        return OK
    architecture = record.parse_architecture()
    print(f"{record.preset} on {results['pictures']} validation pictures: blurred input {results['input_psnr_db']:.2f} dB, "
          f"restored {results['restored_psnr_db']:.2f} dB")  # fmt: skip
    if architecture.colour == "rgb":
        print(f"share of pixels whose largest channel is right: blurred input {results['input_accuracy']:.1%}, "
              f"restored {results['restored_accuracy']:.1%}")  # fmt: skip
    next_command = f"train --teacher {out}" if isinstance(architecture, NAFNet) else f"export {out}"
    print(f"{out}: weights, curves.png, examples.png, history.csv, run.json; next: deblurkit {next_command}")
    return OK


def _set_up_keras(cpu: bool) -> None:
    """Choose backend and device through the environment, which Keras and its backends read only while they are imported."""
    if cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("KERAS_BACKEND", _installed_backend())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cv2.setNumThreads(1)  # our own threads compute the batches


def _installed_backend() -> str:
    """The first Keras backend that is installed; `make setup` installs TensorFlow, `make setup-gpu` JAX."""
    return next((name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)), "tensorflow")
