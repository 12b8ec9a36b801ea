"""Write a bundle to a temporary folder, sync it and rename it into place: its name never refers to half a bundle."""

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from device.bundle.manifest import MANIFEST, Manifest
from device.errors import RunError, UsageError


@contextmanager
def atomic_folder(out: Path, replace: bool) -> Iterator[Path]:
    """A temporary folder for the files of a bundle; on leaving without an error it is synced and renamed to `out`.

    On an error it is deleted and `out` does not change. Raises UsageError if `out` is not empty and `replace` is false, or if
    it is not a bundle.
    """
    if out.exists() and not replace and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not empty; choose another --out, or --replace it")
    if replace and out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not a bundle, so --replace will not delete it; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.{os.getpid()}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise RunError(f"{out}: cannot be created: {error.strerror}; choose another --out") from error
    try:
        yield aside
        aside.chmod(0o755)
        for path in [*aside.iterdir(), aside]:
            _sync(path)
        _swap(aside, out)
        _sync(out.parent)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}; free some space or choose another place") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json into `folder` (inside `atomic_folder`)."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def _sweep(out: Path) -> None:
    """Delete what killed writers of `out` left behind (their process ids are in the names), and restore a bundle moved aside."""
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        os.rename(old, out)
    for left in out.parent.glob(f".{out.name}.*.part"):
        writer = left.name.split(".")[-3]
        if writer.isdigit() and not Path("/proc", writer).exists():
            shutil.rmtree(left, ignore_errors=True)


def _swap(aside: Path, out: Path) -> None:
    """Rename `aside` to `out`. If `out` exists, exchange the two names atomically, so that there is always a bundle."""
    if not out.exists():
        os.rename(aside, out)
    elif not _exchange(aside, out):
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(out, old)
        os.rename(aside, out)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the two names; False if the system or file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), exchange) == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
