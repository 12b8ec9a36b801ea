"""deblurkit train"""

import importlib.util
import logging
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2

from device.errors import OK, UsageError
from device.images.degrade import BLURS, to_luma
from device.system.console import new_parser, print_json, quiet_stdio, start_logging

EXAMPLE = "deblurkit train --preset small --data photos --out runs/mine"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Train a preset; the run folder holds weights, curves, examples and what is needed to repeat it."""
    parser = new_parser("train", "Train a network on sharp photographs (blurred as they are read) or on pairs.", EXAMPLE)
    parser.add_argument("--preset", default="small", help="nano, small (default), base, teacher, or dense (baseline)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="DIR", help="sharp photographs, sub-folders too (default: scikit-image's)")
    source.add_argument("--pairs", type=Path, nargs=2, metavar=("BLURRED", "SHARP"), help="two folders, matched by sorted name")
    parser.add_argument("--blur", choices=list(BLURS), help="how photographs are blurred (default: the preset's)")
    parser.add_argument("--init", metavar="BUNDLE", help="begin with the weights of a bundle or finished run, to fine-tune them")
    parser.add_argument("--teacher", type=Path, metavar="RUN", help="a finished run to learn from, beside the sharp pictures")
    parser.add_argument("--teacher-weight", type=float, help="weight of the loss against the teacher's (default: the preset's)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/PRESET)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out; its own settings apply")
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        help="share of the pictures held out; 0 validates on the training pictures",
    )
    parser.add_argument("--epochs", type=int, help="epochs (default: the preset's)")
    parser.add_argument("--steps", type=int, help="steps an epoch (default: the preset's)")
    parser.add_argument("--batch", type=int, help="patches in a step (default: the preset's)")
    parser.add_argument("--patch", type=int, help="side of a training patch, pixels (default: the preset's)")
    parser.add_argument(
        "--grow", type=int, nargs="+", metavar="SIDE", help="sides of larger patches, each for an equal share of the epochs"
    )
    parser.add_argument("--branches", action="store_true", help="train each 3x3 kernel as a sum of branches, folded at the end")
    parser.add_argument("--quantise", action="store_true", help="fine-tune the weights of --init for int8 files")
    parser.add_argument(
        "--loss", choices=["charbonnier", "log_mse", "mse"], help="what is minimised, to the end (default: the preset's)"
    )
    parser.add_argument("--fft-weight", type=float, help="weight of the error in the frequencies (default: the preset's)")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate (default: the preset's)")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "mixed_bfloat16", "mixed_float16"], help="default: the preset's"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights, patches and blur")
    parser.add_argument("--licence", default="", help="licence of the pictures, for the manifest of what is exported")
    parser.add_argument(
        "--cache",
        type=int,
        metavar="MIB",
        help="memory for decoded pictures (default: half of what is free)",
    )
    parser.add_argument("--profile", action="store_true", help="measure steps a second with and without the input, then stop")
    parser.add_argument("--check", type=Path, metavar="DIR", help="look over a folder of photographs, then stop")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even where the driver shows a GPU")
    options = parser.parse_args(argv)
    start_logging(options.quiet)
    if options.cache is not None and options.cache < 0:
        raise UsageError(f"--cache {options.cache}: expected MiB, at least 0")
    if not 0 <= options.val_share < 1:
        raise UsageError(f"--val-share {options.val_share}: expected a share of at least 0 and below 1")
    if options.check:
        from train import check

        return check.run(options)
    if options.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("KERAS_BACKEND", _installed_backend())
    cv2.setNumThreads(1)  # batches are made by threads of our own
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    with quiet_stdio():  # TensorFlow greets on stderr before it can be told not to
        from train import (
            accelerator,
            architectures,
            data,
            distil,
            fit,
            networks,
            picture_cache,
            presets,
            profile,
            quantise,
            run_folder,
            split,
            weights,
        )
        from train.networks import describe

    out: Path = options.out or Path("runs") / options.preset
    if not options.cpu:
        accelerator.require_visible_gpu()
    if options.resume:
        record = run_folder.read_run(out)
        folders = [Path(f) for f in record.data.folders]
        kind, val_share = record.data.kind, record.data.val_share
    else:
        preset = presets.find_preset(options.preset)
        recipe = _changed(preset.recipe, options)
        if recipe.precision == "auto":
            # bfloat16 itself rounds to 8 bits, which would hide what quantisation rounds.
            recipe = replace(recipe, precision="float32" if recipe.quantise else accelerator.best_precision())
        kind = "pairs" if options.pairs else "photographs" if options.data else "package"
        folders, val_share = (
            [p.resolve() for p in options.pairs or ([options.data] if options.data else [])],
            options.val_share,
        )
        fixed = preset.architecture.fixed_hw
        if recipe.patch and fixed and recipe.patch != fixed[0]:
            raise UsageError(f"--patch {recipe.patch}: {preset.name} takes {fixed[1]}x{fixed[0]} only; leave --patch out")
        if recipe.grow and (fixed or not recipe.patch or sorted({recipe.patch, *recipe.grow}) != [recipe.patch, *recipe.grow]):
            raise UsageError(
                f"--grow {recipe.grow}: expected rising sides above --patch {recipe.patch}; {preset.name} must take patches"
            )
        for side, option in [(recipe.patch, "--patch"), *((side, "--grow") for side in recipe.grow)]:
            if side % preset.architecture.pad_multiple:
                raise UsageError(f"{option} {side}: {preset.name} needs a multiple of {preset.architecture.pad_multiple}")
        teacher = options.teacher.resolve() if options.teacher else None
        teacher_sha256 = distil.teacher_sha256(teacher) if teacher else ""
        if teacher:
            distil.require_fitting(teacher, preset.architecture, tuple(side for side, _ in recipe.stages) or fixed or ())
        elif options.teacher_weight is not None:
            raise UsageError("--teacher-weight: there is no teacher; name its run with --teacher")
        record = None

    stages = (record.recipe if record else recipe).stages
    for _, batch in stages:
        accelerator.require_divisible(batch, accelerator.several_accelerators())
    smallest = max((side for side, _ in stages), default=32)
    cache = picture_cache.PixelCache(picture_cache.default_cache_bytes() if options.cache is None else options.cache << 20)
    pictures: Sequence[picture_cache.Photograph]
    if kind == "photographs":
        pictures = data.load_photographs(folders[0], smallest, cache)
    elif kind == "pairs":
        pictures = data.load_pairs(folders[0], folders[1], smallest, cache)
    else:
        pictures = data.package_photographs()
    if record:
        train_pictures, val_pictures = split.split_as_before(pictures, record.data.train, record.data.validation, out)
    else:
        train_pictures, val_pictures = split.split(pictures, val_share, options.seed, split.side_by_side(pictures))

    if record is None:
        architecture = preset.architecture
        network = networks.build_network(architecture)
        if recipe.quantise and not quantise.takes_ranges(network):
            raise UsageError(f"--quantise: {preset.name} has other layers than convolutions; its int8 file is calibrated only")
        if not options.profile:
            run_folder.fresh_folder(out)
        if options.init:
            weights.load_initial(options.init, architecture, network)  # a mistake shall show before anything is written
        record = run_folder.RunRecord(
            schema=run_folder.SCHEMA,
            preset=preset.name,
            architecture=architectures.architecture_config(architecture),
            recipe=recipe,
            blur=BLURS[options.blur or preset.blur],
            init=options.init or "",
            teacher=str(teacher or ""),
            teacher_sha256=teacher_sha256,
            data=run_folder.DataRecord(
                kind,
                tuple(map(str, folders)),
                tuple(p.name for p in train_pictures),
                tuple(p.name for p in val_pictures),
                val_share,
                options.licence or ("the photographs of the scikit-image package" if kind == "package" else "not stated"),
            ),
            seed=options.seed,
            parameters=network.count_params(),
            macs_per_pixel=describe.macs_per_pixel(architecture),
            command=shlex.join(["deblurkit", "train", *argv]),
            versions=_versions(),
            device=accelerator.training_device(),
        )
        if not options.profile:
            run_folder.write_run(out, record)
            (out / "summary.txt").write_text(describe.summary(architecture))
    architecture, recipe = record.parse_architecture(), record.recipe
    log.info(
        "%s: %s parameters, %.0f MAC per pixel; %d pictures to train on, %d to validate on; training on %s",
        record.preset, f"{record.parameters:,}", record.macs_per_pixel, len(train_pictures), len(val_pictures),
        accelerator.training_device(),
    )  # fmt: skip
    if val_share == 0:
        log.warning("--val-share 0: validated on the training pictures, so the figures say nothing about other pictures")
    whole, luma = recipe.patch == 0, architecture.colour == "luma"
    side = architecture.fixed_hw[0] if architecture.fixed_hw else 256
    multiple = architecture.pad_multiple
    validation = data.fixed_pairs(
        val_pictures[:48] if not whole else val_pictures,
        record.blur,
        side=side,
        whole=whole,
        multiple=multiple,
        seed=record.seed,
    )
    batches: data.Batches
    if whole:
        pairs = validation if val_share == 0 else data.fixed_pairs(
            train_pictures, record.blur, side=side, whole=True, multiple=multiple, seed=record.seed + 1
        )  # fmt: skip
        batches = data.WholePictures(pairs, batch=recipe.batch, seed=record.seed)
    else:
        patches: list[data.Batches] = [
            data.Patches(
                train_pictures,
                record.blur,
                patch=patch,
                batch=batch,
                steps_per_epoch=recipe.steps_per_epoch,
                seed=record.seed,
                luma=luma and not record.teacher,  # a teacher wants rgb and hands on luma
            )
            for patch, batch in recipe.stages
        ]
        batches = data.Growing(patches, recipe.epochs) if recipe.grow else patches[0]
    if luma:
        validation = to_luma(validation[0]), to_luma(validation[1])
    if options.profile:
        return profile.run(record, batches, cache, options.json)
    record = fit.fit(record, out, batches, validation, options.quiet)
    found = record.results
    if not options.json:
        print(f"{record.preset} on {found['pictures']} validation pictures: blurred input {found['input_psnr_db']:.2f} dB, "
              f"restored {found['restored_psnr_db']:.2f} dB")  # fmt: skip
        if architecture.colour == "rgb":
            print(f"share of pixels whose largest channel is right: blurred input {found['input_accuracy']:.1%}, "
                  f"restored {found['restored_accuracy']:.1%}")  # fmt: skip
        then = f"train --teacher {out}" if isinstance(architecture, architectures.NAFNet) else f"export {out}"
        print(f"{out}: weights, curves.png, examples.png, history.csv, run.json; next: deblurkit {then}")
    else:
        print_json({"run": str(out), "preset": record.preset, "seconds": record.seconds, **found})
    return OK


def _changed(recipe, options):  # type: ignore[no-untyped-def]
    given = {
        "epochs": options.epochs,
        "steps_per_epoch": options.steps,
        "batch": options.batch,
        "patch": options.patch,
        "grow": tuple(options.grow) if options.grow else None,
        "loss": options.loss,
        "fft_weight": options.fft_weight,
        "teacher_weight": options.teacher_weight,
        "learning_rate": options.learning_rate,
        "branches": options.branches or None,
        "quantise": options.quantise or None,
        "precision": options.precision,
    }
    for name, value in given.items():
        if value is not None and not isinstance(value, str | tuple) and value <= 0:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected a number above 0")
    changed = {name: value for name, value in given.items() if value is not None}
    if options.quantise and options.branches:
        raise UsageError("--quantise --branches: branches are folded before kernels are rounded; train with --branches first")
    if options.quantise and not options.init:
        raise UsageError("--quantise: it fine-tunes finished weights; name their run or bundle with --init")
    if options.loss:
        changed["last_share"] = 0.0
    return replace(recipe, **changed)


def _installed_backend() -> str:
    """The first of Keras' backends that is installed; `make setup` brings TensorFlow, `make setup-gpu` JAX."""
    return next((name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)), "tensorflow")


def _versions() -> dict[str, str]:
    found = {}
    for package in (
        "deblurkit",
        "keras",
        "tensorflow-cpu",
        "tensorflow",
        "jax",
        "torch",
        "numpy",
        "opencv-python-headless",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
