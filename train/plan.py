"""Everything that is decided before the first step: recipe, pictures, split and the run's record."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from device.errors import UsageError
from device.images.degrade import BLURS, to_luma
from train import accelerator, distil, photographs, quantise
from train.architectures import Architecture, architecture_config
from train.batches import Batch, Batches, GrowingPatches, Patches, WholePictures, fixed_pairs
from train.networks import build_network
from train.networks.describe import macs_per_pixel, summary
from train.photographs import Photograph
from train.picture_cache import PixelCache, default_cache_bytes
from train.presets import Preset, Recipe, find_preset
from train.run_folder import SCHEMA, DataRecord, RunRecord, create_folder, read_run, write_run
from train.split import scene_groups, split, split_by_names
from train.weights import load_initial

_VALIDATION_PX = 256  # side of the validation crops
_MAX_VALIDATION_CROPS = 48


@dataclass(frozen=True)
class TrainingPlan:
    """A training that is ready to start."""

    record: RunRecord
    train: Sequence[Photograph]
    validation: Sequence[Photograph]
    cache: PixelCache

    @property
    def whole_pictures(self) -> bool:
        """Whether the run trains on whole pictures of the network's fixed size instead of patches."""
        return self.record.recipe.patch == 0


def new_run(options: argparse.Namespace, out: Path, cache_bytes: int | None, command: str) -> TrainingPlan:
    """Plan a new run from the options of the command line; creates the run folder `out`, except for --profile.

    Nothing is written until all options, pictures and weights have been checked. Raises UsageError, DataError or BundleError.
    """
    preset = find_preset(options.preset)
    architecture = preset.architecture
    recipe = _recipe(preset, options)
    _require_fitting_patches(preset, recipe)
    teacher = options.teacher.resolve() if options.teacher else None
    teacher_sha256 = distil.teacher_sha256(teacher) if teacher else ""
    if teacher:
        distil.require_compatible(teacher, architecture, _input_sides(architecture, recipe))
    elif options.teacher_weight is not None:
        raise UsageError("--teacher-weight: there is no teacher; name its run with --teacher")
    kind = "pairs" if options.pairs else "photographs" if options.data else "package"
    folders = [path.resolve() for path in options.pairs or ([options.data] if options.data else [])]
    _require_divisible_batches(recipe)
    pictures, cache = _load_pictures(kind, folders, recipe, cache_bytes)
    train, validation = split(pictures, options.val_share, options.seed, scene_groups(pictures))

    network = build_network(architecture)
    if recipe.quantise and not quantise.can_quantise(network):
        raise UsageError(f"--quantise: {preset.name} has layers other than convolutions; its int8 file can only be calibrated")
    if not options.profile:
        create_folder(out)
    if options.init:
        load_initial(options.init, architecture, network)  # reports weights that do not fit before run.json is written
    record = RunRecord(
        schema=SCHEMA,
        preset=preset.name,
        architecture=architecture_config(architecture),
        recipe=recipe,
        blur=BLURS[options.blur or preset.blur],
        init=options.init or "",
        teacher=str(teacher or ""),
        teacher_sha256=teacher_sha256,
        data=DataRecord(
            kind=kind,
            folders=tuple(map(str, folders)),
            train=tuple(p.name for p in train),
            validation=tuple(p.name for p in validation),
            val_share=options.val_share,
            licences=options.licence or ("the photographs of the scikit-image package" if kind == "package" else "not stated"),
        ),
        seed=options.seed,
        parameters=network.count_params(),
        macs_per_pixel=macs_per_pixel(architecture),
        command=command,
        versions=_versions(),
        device=accelerator.training_device(),
    )
    if not options.profile:
        write_run(out, record)
        (out / "summary.txt").write_text(summary(architecture))
    return TrainingPlan(record, train, validation, cache)


def resume_run(out: Path, cache_bytes: int | None) -> TrainingPlan:
    """Plan the rest of the run in `out`, with the settings and the split that it stored.

    Raises BundleError if there is no run, UsageError if its pictures have changed.
    """
    record = read_run(out)
    data = record.data
    _require_divisible_batches(record.recipe)
    pictures, cache = _load_pictures(data.kind, [Path(folder) for folder in data.folders], record.recipe, cache_bytes)
    return TrainingPlan(record, *split_by_names(pictures, data.train, data.validation, out), cache)


def validation_pairs(plan: TrainingPlan) -> Batch:
    """The pairs that every epoch is validated on, in the colour of the network."""
    pictures = plan.validation if plan.whole_pictures else plan.validation[:_MAX_VALIDATION_CROPS]
    return _fixed_pairs(plan, pictures, plan.record.seed)


def training_batches(plan: TrainingPlan, validation: Batch) -> Batches:
    """The batches of the whole training; `validation` is what `validation_pairs` returned."""
    record, recipe = plan.record, plan.record.recipe
    if plan.whole_pictures:
        # With --val-share 0 the validation pairs are the training pairs, as in the tutorial.
        pairs = validation if record.data.val_share == 0 else _fixed_pairs(plan, plan.train, record.seed + 1)
        return WholePictures(pairs, batch=recipe.batch, seed=record.seed)
    luma = record.parse_architecture().colour == "luma" and not record.teacher  # a teacher needs rgb and converts to luma
    stages: list[Batches] = [
        Patches(
            plan.train,
            record.blur,
            patch=patch,
            batch=batch,
            steps_per_epoch=recipe.steps_per_epoch,
            seed=record.seed,
            luma=luma,
        )
        for patch, batch in recipe.stages
    ]
    return GrowingPatches(stages, recipe.epochs) if recipe.grow else stages[0]


def _fixed_pairs(plan: TrainingPlan, pictures: Sequence[Photograph], seed: int) -> Batch:
    architecture = plan.record.parse_architecture()
    side = architecture.fixed_hw[0] if architecture.fixed_hw else _VALIDATION_PX
    blurred, sharp = fixed_pairs(
        pictures, plan.record.blur, side=side, whole=plan.whole_pictures, multiple=architecture.pad_multiple, seed=seed
    )
    return (to_luma(blurred), to_luma(sharp)) if architecture.colour == "luma" else (blurred, sharp)


def _recipe(preset: Preset, options: argparse.Namespace) -> Recipe:
    """The recipe of the preset, changed by the options, with the precision resolved. Raises UsageError."""
    given: dict[str, Any] = {
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
    if options.quantise and options.branches:
        raise UsageError("--quantise --branches: branches are folded before kernels are rounded; train with --branches first")
    if options.quantise and not options.init:
        raise UsageError("--quantise: it fine-tunes finished weights; name their run or bundle with --init")
    changes = {name: value for name, value in given.items() if value is not None}
    if options.loss:
        changes["last_share"] = 0.0
    recipe = replace(preset.recipe, **changes)
    if recipe.precision != "auto":
        return recipe
    # bfloat16 has only 8 significant bits itself, which would hide the rounding of an 8-bit file.
    return replace(recipe, precision="float32" if recipe.quantise else accelerator.best_precision())


def _require_fitting_patches(preset: Preset, recipe: Recipe) -> None:
    """Raise UsageError if the network does not take the patches of the recipe."""
    fixed, multiple = preset.architecture.fixed_hw, preset.architecture.pad_multiple
    if recipe.patch and fixed and recipe.patch != fixed[0]:
        raise UsageError(f"--patch {recipe.patch}: {preset.name} takes {fixed[1]}x{fixed[0]} only; omit --patch")
    if recipe.grow and (fixed or not recipe.patch):
        raise UsageError(f"--grow: {preset.name} is not trained on patches; omit --grow, or choose another --preset")
    sides = [recipe.patch, *recipe.grow]
    if sorted(set(sides)) != sides:
        raise UsageError(f"--grow {' '.join(map(str, recipe.grow))}: expected rising sides above --patch {recipe.patch}")
    for side, option in [(recipe.patch, "--patch"), *((side, "--grow") for side in recipe.grow)]:
        if side % multiple:
            raise UsageError(f"{option} {side}: {preset.name} needs a multiple of {multiple}")


def _require_divisible_batches(recipe: Recipe) -> None:
    for _, batch in recipe.stages:
        accelerator.require_divisible(batch, accelerator.parallel_accelerators())


def _input_sides(architecture: Architecture, recipe: Recipe) -> tuple[int, ...]:
    return tuple(side for side, _ in recipe.stages) or architecture.fixed_hw or ()


def _load_pictures(
    kind: str, folders: Sequence[Path], recipe: Recipe, cache_bytes: int | None
) -> tuple[Sequence[Photograph], PixelCache]:
    """The pictures of a data set (see `DataRecord`), none smaller than the largest patch, and the cache that they use."""
    smallest = max((side for side, _ in recipe.stages), default=32)
    cache = PixelCache(default_cache_bytes() if cache_bytes is None else cache_bytes)
    match kind:
        case "photographs":
            return photographs.load_photographs(folders[0], smallest, cache), cache
        case "pairs":
            return photographs.load_pairs(folders[0], folders[1], smallest, cache), cache
        case _:
            return photographs.package_photographs(), cache


def _versions() -> dict[str, str]:
    versions = {}
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
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
