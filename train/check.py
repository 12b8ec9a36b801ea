"""deblurkit train --check: inspects a folder of photographs before hours of training. Needs no Keras."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.errors import OK, DataError
from device.system.console import print_json
from train import near_duplicates
from train.near_duplicates import Pair
from train.photograph_facts import SOFT_PX, PhotographFacts, photograph_facts
from train.photographs import map_in_threads, photographs_in
from train.picture_cache import default_cache_bytes
from train.presets import find_preset
from train.split import split

log = logging.getLogger(__name__)
_OTHER_PHOTOGRAPHS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf")
_MAX_LISTED = 10  # issues of a kind that the terminal shows

# What each kind of issue means and what to do; --json uses the same keys.
KINDS = {
    "unreadable": "cannot be decoded and are skipped; download or save them again, or remove them",
    "unknown": "are photographs in a format that is ignored; convert them to PNG or JPEG",
    "tiny": "are smaller than the patch and are skipped; a smaller --patch would use them",
    "soft": "are soft, and would teach the network that soft is sharp; remove them or reduce their size",
    "plain": "have hardly any edges and teach little",
    "copies": "are copies of each other; keep the best of each",
    "burst": "show one scene, slightly shifted; they stay on one side of the split",
    "grey": "have no colour; they are trained on with three equal channels",
    "transparent": "are partly transparent; they are placed on white, which creates edges that no camera saw",
    "deep": "have 16 bits; they are reduced to 8",
    "cmyk": "are CMYK, made for print; they are converted without their colour profile",
}


@dataclass(frozen=True)
class PhotographIssue:
    """An issue of one photograph, or of several that belong together."""

    kind: str
    files: tuple[str, ...]
    detail: str = ""


def run(options: argparse.Namespace) -> int:
    """Run the command: inspect the folder `options.check`, print the issues and what a training would use.

    Raises UsageError for an unknown preset, DataError if fewer than two photographs are usable.
    """
    patch = options.patch or find_preset(options.preset).recipe.patch or 1  # a preset of whole pictures takes any size
    smallest = max([patch, *(options.grow or [])])
    folder: Path = options.check
    readable, issues = inspect_folder(folder, smallest)
    usable = [facts for facts in readable if min(facts.size_hw) >= smallest]
    pairs = near_duplicates.find_pairs([facts.thumbnail for facts in usable])
    groups = near_duplicates.connected_groups(len(usable), pairs)
    issues += _duplicate_issues(usable, pairs, groups)
    issues.sort(key=lambda issue: (list(KINDS).index(issue.kind), issue.files))
    if len(usable) < 2:
        reason = _sentence(issues[0]) if issues else "no picture in it or its sub-folders"
        raise DataError(f"{folder}: {len(usable)} usable pictures, at least 2 are needed ({reason})")
    train, validation = split([facts.name for facts in usable], options.val_share, options.seed, groups)
    decoded = sum(3 * h * w for h, w in (facts.size_hw for facts in usable))
    sides = sorted(min(facts.size_hw) for facts in usable)
    summary = {
        "folder": str(folder),
        "usable": len(usable),
        "megapixels": round(decoded / 3e6, 2),
        "shorter_side_px": {"least": sides[0], "median": sides[len(sides) // 2], "most": sides[-1]},
        "decoded_mib": decoded >> 20,
        "cache_mib": (default_cache_bytes() if options.cache is None else options.cache << 20) >> 20,
        "train": len(train),
        "validation": len(validation),
        "groups_of_one_scene": sum(len(group) > 1 for group in groups),
        "smallest_px": smallest,
    }
    if options.json:
        counts = {kind: sum(issue.kind == kind for issue in issues) for kind in KINDS}
        print_json({**summary, "counts": counts, "findings": [asdict(issue) for issue in issues]})
    else:
        print(_report(summary, issues, options))
    return OK


def inspect_folder(folder: Path, smallest: int) -> tuple[list[PhotographFacts], list[PhotographIssue]]:
    """Facts about every readable photograph in the folder, in order, and the issues of single files.

    Raises DataError if there is no such folder.
    """
    paths = photographs_in(folder)
    issues = [
        PhotographIssue("unknown", (path.relative_to(folder).as_posix(),))
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _OTHER_PHOTOGRAPHS and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    readable: list[PhotographFacts] = []

    def inspect(path: Path) -> PhotographFacts | str:
        try:
            return photograph_facts(path, path.relative_to(folder).as_posix())
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")

    for done, (path, facts) in enumerate(zip(paths, map_in_threads(inspect, paths), strict=True), start=1):
        if isinstance(facts, str):
            issues.append(PhotographIssue("unreadable", (path.relative_to(folder).as_posix(),), facts))
        else:
            readable.append(facts)
            issues += _file_issues(facts, smallest)
        if done % 500 == 0:
            log.info("%d of %d pictures", done, len(paths))
    return readable, issues


def _file_issues(facts: PhotographFacts, smallest: int) -> list[PhotographIssue]:
    height, width = facts.size_hw
    issues = [PhotographIssue(kind, (facts.name,)) for kind in facts.conversions]
    if min(facts.size_hw) < smallest:
        issues.append(PhotographIssue("tiny", (facts.name,), f"{width}x{height}, the patch is {smallest}"))
    if facts.blur_px is None:
        issues.append(PhotographIssue("plain", (facts.name,)))
    elif facts.blur_px > SOFT_PX:
        scale = SOFT_PX / facts.blur_px / 1.1  # with a small reserve
        reduced = f"{int(width * scale)}x{int(height * scale)}"
        detail = f"edges as if blurred by {facts.blur_px:.2f} pixels; {reduced} would be sharp"
        issues.append(PhotographIssue("soft", (facts.name,), detail))
    return issues


def _duplicate_issues(usable: Sequence[PhotographFacts], pairs: list[Pair], groups: list[list[int]]) -> list[PhotographIssue]:
    first_with: dict[bytes, int] = {}
    exact_copies = [Pair(first_with.setdefault(facts.digest, i), i, is_copy=True) for i, facts in enumerate(usable)]
    copies = near_duplicates.connected_groups(len(usable), [*(pair for pair in pairs if pair.is_copy), *exact_copies])
    copies_of = {i: number for number, members in enumerate(copies) for i in members}
    issues = []
    for group in copies:
        if len(group) > 1:
            detail = "exact" if len({usable[i].digest for i in group}) == 1 else "resized or compressed again"
            issues.append(PhotographIssue("copies", tuple(usable[i].name for i in group), detail))
    for group in groups:
        if len({copies_of[i] for i in group}) > 1:
            issues.append(PhotographIssue("burst", tuple(usable[i].name for i in group)))
    return issues


def _sentence(issue: PhotographIssue) -> str:
    return " = ".join(issue.files) + (f": {issue.detail}" if issue.detail else "")


def _report(summary: dict[str, Any], issues: list[PhotographIssue], options: argparse.Namespace) -> str:
    side = summary["shorter_side_px"]
    fits = "all stay decoded" if summary["decoded_mib"] <= summary["cache_mib"] else "they are decoded again as needed"
    lines = []
    for kind, meaning in KINDS.items():
        of_kind = [issue for issue in issues if issue.kind == kind]
        if of_kind:
            lines.append(f"{kind}: {sum(len(issue.files) for issue in of_kind)} {meaning}")
            lines += [f"  {_sentence(issue)}" for issue in of_kind[:_MAX_LISTED]]
            lines += [f"  and {len(of_kind) - _MAX_LISTED} more; --json lists all"] if len(of_kind) > _MAX_LISTED else []
    share = f"--val-share {options.val_share:g} --seed {options.seed}"
    return "\n".join(
        [
            *(lines or ["no issues"]),
            f"{summary['folder']}: {summary['usable']} usable pictures of {summary['megapixels']:.1f} megapixels together; "
            f"shorter side {side['least']} to {side['most']} pixels, median {side['median']}",
            f"decoded {summary['decoded_mib']} MiB, --cache {summary['cache_mib']} MiB: {fits}",
            f"split ({share}): {summary['train']} to train on, {summary['validation']} to validate on; "
            f"{summary['groups_of_one_scene']} groups of pictures of one scene",
        ]
    )
