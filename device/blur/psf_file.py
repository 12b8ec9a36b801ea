"""Read and write a PSF: our JSON file, or a bare kernel as `.npy` or grey PNG. docs/psf.md describes the form."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.blur.kernels import Kernel
from device.blur.psf import KINDS, ORIGINS, Psf
from device.config import build, nearest
from device.errors import DataError
from device.system.files import write_atomically

SUFFIXES = (".json", ".npy", ".png")
DOMAINS = ("linear", "as-is")
SCHEMA = 1
_MOST_SIDE = 1025  # pixels
_LEAST_SUM = 1e-3  # of a kernel, compared with the sum of its absolute values


@dataclass(frozen=True)
class PsfFile:
    """The keys of a PSF file."""

    schema: int
    kind: str
    size_px: float = 0.0
    angle_deg: float = 0.0
    flatness: float = 1.0
    exponent: float = 2.0
    defocus_px: float = 0.0
    kernel: tuple[tuple[float, ...], ...] | None = None
    """Rows from top to bottom; only for the kind `measured`."""
    domain: str = "linear"
    """`linear`: it blurs linear light. `as-is`: it blurs the values as they are stored."""
    picture_wh: tuple[int, ...] | None = None
    """Width and height of the pictures that it holds for; for another size it is scaled. Left out: for every size as it is."""
    noise: float | None = None
    origin: str = "hand"
    confidence: float = 1.0


def read_psf(path: Path, domain: str | None = None) -> Psf:
    """Read a PSF. `domain` is for kernels that do not say in which light they hold (`.npy`, PNG): `linear` (default) or `as-is`.

    Raises DataError for what cannot be a PSF.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; --blur takes a PSF file ({', '.join(SUFFIXES)}) or a folder of them")
    match path.suffix.lower():
        case ".json":
            return _from_json(path)
        case ".npy":
            try:
                kernel = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"{path}: not a NumPy array ({error}); expected a kernel of 2 dimensions") from error
        case ".png":
            kernel = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
            if kernel is None:
                raise DataError(f"{path}: not a PNG; expected a grey picture of the kernel")
            if kernel.ndim == 3:
                if (np.ptp(kernel[..., :3].astype(int), axis=2) > 0).any():
                    raise DataError(f"{path}: a picture in colour; expected a grey picture of the kernel")
                kernel = kernel[..., 0]
        case _:
            raise DataError(f"{path}: expected a PSF file: {', '.join(SUFFIXES)}")
    return Psf("measured", measured=checked_kernel(kernel, str(path)), linear=domain != "as-is", origin="file")


def write_psf(path: Path, psf: Psf, picture_wh: tuple[int, int] | None) -> None:
    """Write the PSF of pictures of this width and height. Raises RunError if that fails; an older file then stays."""
    record: dict[str, Any] = {"schema": SCHEMA, "kind": psf.kind}
    standard = PsfFile(SCHEMA, "blind")
    for key in ("size_px", "angle_deg", "flatness", "exponent", "defocus_px", "noise", "origin", "confidence"):
        if getattr(psf, key) != getattr(standard, key):
            value = getattr(psf, key)
            record[key] = value if isinstance(value, str) else round(float(value), 6)
    record["domain"] = DOMAINS[0] if psf.linear else DOMAINS[1]
    if picture_wh:
        record["picture_wh"] = list(picture_wh)
    if psf.measured is not None:
        record["kernel"] = [[round(float(v), 8) for v in row] for row in psf.measured]
    write_atomically(path, (json.dumps(record) + "\n").encode())


def _from_json(path: Path) -> Psf:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not JSON ({error}); expected a PSF file, see docs/psf.md") from error
    if isinstance(content, dict) and isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
        raise DataError(f"{path}: schema {content['schema']}, newer than {SCHEMA}; update deblurkit")
    record = build(PsfFile, content, str(path), DataError)
    for key, value, known in (
        ("kind", record.kind, KINDS),
        ("domain", record.domain, DOMAINS),
        ("origin", record.origin, ORIGINS),
    ):
        if value not in known:
            raise DataError(f"{path}: {key} {value!r}; {nearest(value, known)}")
    if (record.kernel is None) != (record.kind != "measured"):
        raise DataError(f"{path}: expected a kernel for the kind 'measured', and for no other; found kind {record.kind!r}")
    wh = record.picture_wh
    if wh is not None and (len(wh) != 2 or min(wh) < 1):
        raise DataError(f"{path}: picture_wh {list(wh)}; expected width and height in pixels")
    kernel = None
    if record.kernel is not None:
        if len({len(row) for row in record.kernel}) != 1:
            raise DataError(f"{path}: kernel: rows of different lengths; expected a rectangle of numbers")
        kernel = checked_kernel(np.array(record.kernel), str(path))
    psf = Psf(
        record.kind,
        record.size_px,
        record.angle_deg,
        record.flatness,
        record.exponent,
        record.defocus_px,
        kernel,
        record.domain == DOMAINS[0],
        record.noise,
        "file" if record.origin in ("hand", "auto") else record.origin,
        record.confidence,
        picture_wh=None if wh is None else (wh[0], wh[1]),
    )
    psf.check(str(path))
    return psf


def checked_kernel(kernel: np.ndarray, where: str) -> Kernel:
    """The kernel as float64 of odd sides, square, with the sum 1. Negative values are allowed: a camera's sharpening makes them.

    Raises DataError for one that is not finite, has no sum, or has the wrong shape; `where` names it.
    """
    if kernel.ndim != 2 or min(kernel.shape) < 1 or max(kernel.shape) > _MOST_SIDE:
        shape = " x ".join(map(str, kernel.shape))
        raise DataError(f"{where}: a kernel of {shape}; expected 2 dimensions of up to {_MOST_SIDE} pixels")
    if not (np.issubdtype(kernel.dtype, np.floating) or np.issubdtype(kernel.dtype, np.integer)):
        raise DataError(f"{where}: a kernel of type {kernel.dtype}; expected numbers")
    values = kernel.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{where}: the kernel has NaN or infinite values; expected finite ones")
    total = values.sum()
    if total <= _LEAST_SUM * np.abs(values).sum():
        raise DataError(f"{where}: the kernel sums to {total:.3g}; expected a positive sum, so that brightness stays")
    side = max(values.shape) | 1
    top, left = (side - values.shape[0]) // 2, (side - values.shape[1]) // 2
    square = np.zeros((side, side))
    square[top : top + values.shape[0], left : left + values.shape[1]] = values
    return square / total
