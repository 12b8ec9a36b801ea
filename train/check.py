"""deblurkit train --check: looks a folder of photographs over before hours are spent on it. Needs no Keras.

Softness is measured on edges, so that neither content, contrast nor resolution count: an edge of blur s that is blurred
again with 1 pixel loses gradient by the ratio r = sqrt(s**2 + 1) / s, hence s = 1 / sqrt(r**2 - 1) (Zhuo and Sim, Defocus
map estimation from a single image, 2011). The picture counts as blurred as the sharper quarter of its strongest edges is:
a shallow depth of field is no fault. Hand-shake along one direction leaves edges sharp and is not seen.
"""

import argparse
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.config import nearest
from device.errors import OK, DataError, UsageError
from device.images.frame import Pixels
from device.images.picture import read_picture
from device.system.console import print_json
from train import near_duplicates
from train.data import in_threads, photographs_in
from train.picture_cache import default_cache_bytes
from train.split import split

log = logging.getLogger(__name__)
SOFT_PX = 0.8  # see the rates in tests/train/test_check.py
_STRONG = 0.01  # share of the pixels that count as the strongest edges
_FEWEST_EDGES, _WEAKEST = 20, 4.0  # edge pixels; grey levels a pixel
SMALLEST = {"nano": 128, "small": 128, "base": 128, "teacher": 256, "dense": 1}  # sides of the presets' patches, pixels
_OTHER_PHOTOGRAPHS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf")
_LISTED = 10  # findings of a kind that the terminal shows

# What each finding means and what to do; --json names them by these keys.
KINDS = {
    "unreadable": "cannot be decoded and are skipped; fetch or save them again, or take them out",
    "unknown": "are photographs in a format that is passed over; convert them to PNG or JPEG",
    "tiny": "are smaller than the patch and are skipped; a smaller --patch would take them",
    "soft": "are soft, so the network would learn that soft is sharp; take them out, or reduce them",
    "plain": "have hardly an edge and teach little",
    "copies": "are copies of one another; keep the best of each",
    "burst": "show one scene, slightly shifted; they stay on one side of the split",
    "grey": "hold no colour; they are trained on as three equal channels",
    "transparent": "are partly transparent; they are laid on white, which makes edges that no camera saw",
    "deep": "have 16 bits; they are reduced to 8",
    "cmyk": "are CMYK, made for print; they are converted without their colour profile",
}


@dataclass(frozen=True)
class Finding:
    """Something to know about one picture, or about several that belong together."""

    kind: str
    files: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Looked:
    """What was seen of one readable picture."""

    name: str
    size_hw: tuple[int, int]
    blur_px: float | None
    """Blur of its sharpest strong edges, pixels; None without edges."""
    oddities: tuple[str, ...]
    thumbnail: near_duplicates.Thumbnail
    digest: bytes
    """Of size and pixels: equal in exact copies, whatever the file format."""


def run(options: argparse.Namespace) -> int:
    """The command: looks over `options.check`, prints findings and what a training would take. Raises DataError."""
    if options.preset not in SMALLEST:
        raise UsageError(f"unknown preset {options.preset!r}; {nearest(options.preset, SMALLEST)}")
    smallest = max([options.patch or SMALLEST[options.preset], *(options.grow or [])])
    folder: Path = options.check
    looked, findings = look_over(folder, smallest)
    usable = [one for one in looked if min(one.size_hw) >= smallest]
    pairs = near_duplicates.alike([one.thumbnail for one in usable])
    groups = near_duplicates.groups(len(usable), pairs)
    findings += _of_groups(usable, pairs, groups)
    findings.sort(key=lambda f: (list(KINDS).index(f.kind), f.files))
    if len(usable) < 2:
        seen = _sentence(findings[0]) if findings else "no picture in it or below it"
        raise DataError(f"{folder}: {len(usable)} usable pictures, at least 2 are needed ({seen})")
    train, validation = split([one.name for one in usable], options.val_share, options.seed, groups)
    decoded = sum(3 * h * w for h, w in (one.size_hw for one in usable))
    sides = sorted(min(one.size_hw) for one in usable)
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
        counts = {kind: sum(f.kind == kind for f in findings) for kind in KINDS}
        print_json({**summary, "counts": counts, "findings": [asdict(f) for f in findings]})
    else:
        print(_report(summary, findings, options))
    return OK


def look_over(folder: Path, smallest: int) -> tuple[list[Looked], list[Finding]]:
    """Every picture of the folder that can be read, in order, and what each file by itself gives to say.

    Raises DataError without the folder.
    """
    paths = photographs_in(folder)
    findings = [
        Finding("unknown", (path.relative_to(folder).as_posix(),))
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _OTHER_PHOTOGRAPHS and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    looked: list[Looked] = []

    def look(path: Path) -> Looked | str:
        try:
            return _look(path, path.relative_to(folder).as_posix())
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")

    for done, (path, seen) in enumerate(zip(paths, in_threads(look, paths), strict=True), start=1):
        if isinstance(seen, str):
            findings.append(Finding("unreadable", (path.relative_to(folder).as_posix(),), seen))
        else:
            looked.append(seen)
            findings += _of_one(seen, smallest)
        if done % 500 == 0:
            log.info("%d of %d pictures", done, len(paths))
    return looked, findings


def edge_blur_px(pixels: Pixels) -> float | None:
    """Blur of the sharper quarter of the strongest edges, as the sigma of a Gaussian in pixels; None without edges."""
    luma: NDArray[np.float32] = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)
    slope = _slope(luma)
    crest = (slope >= cv2.dilate(slope, np.ones((3, 3), np.uint8))) & (slope > _WEAKEST)
    found = np.flatnonzero(crest)
    if len(found) < _FEWEST_EDGES:
        return None
    most = max(_FEWEST_EDGES, int(_STRONG * slope.size))
    steep = slope.ravel()[found]
    if len(found) > most:
        chosen = np.argpartition(steep, -most)[-most:]
        found, steep = found[chosen], steep[chosen]
    again = _slope(np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.0), np.float32)).ravel()[found]
    ratio = steep / np.maximum(again, 1e-3)
    return float(np.percentile(1 / np.sqrt(np.maximum(ratio**2 - 1, 1e-3)), 25))


def _slope(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of the gradient, grey levels a pixel."""
    across, down = (cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    return cv2.magnitude(across, down)  # type: ignore[return-value]


def _look(path: Path, name: str) -> Looked:
    pixels = read_picture(path)
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).digest()
    return Looked(
        name, pixels.shape[:2], edge_blur_px(pixels), _oddities(path, pixels), near_duplicates.thumbnail(pixels), digest
    )


def _oddities(path: Path, pixels: Pixels) -> tuple[str, ...]:
    """What `read_picture` has changed, of this file: kinds of findings."""
    odd = []
    data = path.read_bytes()
    if data[:3] == b"\xff\xd8\xff":
        if jpeg_channels(data) == 4:
            odd.append("cmyk")
    else:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.dtype == np.uint16:
            odd.append("deep")
        opaque = 65535 if stored is not None and stored.dtype == np.uint16 else 255
        if stored is not None and stored.ndim == 3 and stored.shape[2] == 4 and stored[..., 3].min() < opaque:
            odd.append("transparent")
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2]):
        odd.append("grey")
    return tuple(odd)


def jpeg_channels(data: bytes) -> int:
    """Channels that the frame header of a JPEG states: 1 grey, 3 colour, 4 CMYK; 0 where there is none."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _of_one(one: Looked, smallest: int) -> list[Finding]:
    height, width = one.size_hw
    found = [Finding(kind, (one.name,)) for kind in one.oddities]
    if min(one.size_hw) < smallest:
        found.append(Finding("tiny", (one.name,), f"{width}x{height}, the patch is {smallest}"))
    if one.blur_px is None:
        found.append(Finding("plain", (one.name,)))
    elif one.blur_px > SOFT_PX:
        scale = SOFT_PX / one.blur_px / 1.1  # a little to spare
        reduced = f"{int(width * scale)}x{int(height * scale)}"
        found.append(Finding("soft", (one.name,), f"edges as if blurred by {one.blur_px:.2f} pixels; {reduced} would be sharp"))
    return found


def _of_groups(usable: Sequence[Looked], pairs: list[near_duplicates.Pair], groups: list[list[int]]) -> list[Finding]:
    first: dict[bytes, int] = {}
    exact_pairs = [(first.setdefault(one.digest, i), i, True) for i, one in enumerate(usable)]
    copies = near_duplicates.groups(len(usable), [*(pair for pair in pairs if pair[2]), *exact_pairs])
    copy_of = {i: number for number, members in enumerate(copies) for i in members}
    found = []
    for group in copies:
        if len(group) > 1:
            exact = len({usable[i].digest for i in group}) == 1
            found.append(
                Finding("copies", tuple(usable[i].name for i in group), "exact" if exact else "resized or compressed again")
            )
    for group in groups:
        if len({copy_of[i] for i in group}) > 1:
            found.append(Finding("burst", tuple(usable[i].name for i in group)))
    return found


def _sentence(finding: Finding) -> str:
    return " = ".join(finding.files) + (f": {finding.detail}" if finding.detail else "")


def _report(summary: dict[str, Any], findings: list[Finding], options: argparse.Namespace) -> str:
    side = summary["shorter_side_px"]
    fits = "all stay decoded" if summary["decoded_mib"] <= summary["cache_mib"] else "they are decoded again as needed"
    lines = []
    for kind, meaning in KINDS.items():
        these = [f for f in findings if f.kind == kind]
        if these:
            lines.append(f"{kind}: {sum(len(f.files) for f in these)} {meaning}")
            lines += [f"  {_sentence(f)}" for f in these[:_LISTED]]
            lines += [f"  and {len(these) - _LISTED} more; --json names all"] if len(these) > _LISTED else []
    share = f"--val-share {options.val_share:g} --seed {options.seed}"
    return "\n".join(
        [
            *(lines or ["nothing to find fault with"]),
            f"{summary['folder']}: {summary['usable']} usable pictures of {summary['megapixels']:.1f} megapixels together; "
            f"shorter side {side['least']} to {side['most']} pixels, median {side['median']}",
            f"decoded {summary['decoded_mib']} MiB, --cache {summary['cache_mib']} MiB: {fits}",
            f"split ({share}): {summary['train']} to train on, {summary['validation']} to validate on; "
            f"{summary['groups_of_one_scene']} groups of pictures of one scene",
        ]
    )
