"""What `--blur` says: estimate the blur, restore blind, leave the picture alone, or undo this PSF."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from device.blur.psf import Psf
from device.blur.psf_file import SUFFIXES, read_psf
from device.config import nearest
from device.errors import DataError, UsageError

AUTO, BLIND, OFF, HAND, FOLDER = "auto", "blind", "off", "hand", "folder"
_WORDS = (AUTO, BLIND, OFF)
_KINDS = {"gaussian": "gaussian:1.6", "lens": "lens:1.6", "defocus": "defocus:3.5", "motion": "motion:17@30"}
FORMS = f"{', '.join(_WORDS)}, {', '.join(_KINDS.values())}, a PSF file or a folder of them"


@dataclass(frozen=True)
class BlurChoice:
    """A parsed `--blur`."""

    mode: str
    """`auto`, `blind`, `off`, `hand` (one PSF, from the words or a file) or `folder`."""
    psf: Psf | None = None
    """Of `hand`."""
    folder: Path | None = None
    domain: str | None = None
    """For kernels in the folder that do not say in which light they hold."""


def parse_blur(text: str, domain: str | None = None) -> BlurChoice:
    """Parse `--blur` and `--blur-domain`. Raises UsageError for words it does not know, DataError for an unsuitable file."""
    if text in _WORDS or re.fullmatch(r"[a-z]+:.*", text):
        return parse_words(text, domain)
    path = Path(text).expanduser()
    if path.is_dir():
        return BlurChoice(FOLDER, folder=path, domain=domain)
    if not path.suffix and not path.exists():
        raise UsageError(f"--blur {text}: {nearest(text, (*_WORDS, *_KINDS))}; or a PSF file or folder, which must exist")
    return BlurChoice(HAND, read_psf(path, domain))


def parse_words(text: str, domain: str | None = None) -> BlurChoice:
    """The same for words only, which name no files: what a page may send. Raises UsageError."""
    if text in _WORDS:
        return BlurChoice(text)
    kind, _, value = text.partition(":")
    if kind not in _KINDS:
        raise UsageError(f"--blur {text}: {nearest(kind, (*_WORDS, *_KINDS))}")
    return BlurChoice(HAND, replace(_by_hand(text, kind, value), linear=domain != "as-is"))


def _by_hand(text: str, kind: str, value: str) -> Psf:
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(?:@(-?\d+(?:\.\d*)?))?", value)
    if match is None or (match[2] is not None and kind != "motion"):
        raise UsageError(
            f"--blur {text}: expected for example {_KINDS[kind]}, in pixels" + ("" if kind != "motion" else " and degrees")
        )
    exponent = 4.0 if kind == "lens" else 2.0
    psf = Psf(kind, float(match[1]), float(match[2] or 0), exponent=exponent)
    try:
        psf.check(f"--blur {text}")
    except DataError as error:
        raise UsageError(str(error)) from error
    return psf


def psf_of_picture(choice: BlurChoice, name: str) -> Psf | None:
    """The PSF in the folder for a picture of this file name: the same name with a suffix of a PSF file. None: there is none."""
    assert choice.folder is not None
    for suffix in SUFFIXES:
        path = choice.folder / f"{Path(name).stem}{suffix}"
        if path.is_file():
            return read_psf(path, choice.domain)
    return None
