"""Read and write picture files, for every command: any common format in, 8-bit R G B inside; files are written atomically."""

from pathlib import Path

import cv2
import numpy as np

from device.errors import DataError, RunError
from device.images.frame import Pixels
from device.system.files import write_atomically

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")


def is_picture(path: str | Path) -> bool:
    """Whether the name has a known picture suffix. `R/gauss-1.6` has none: it is a folder."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def is_video(path: str | Path) -> bool:
    """Whether the name has a known video suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def pictures_in(folder: str | Path) -> list[Path]:
    """The pictures in a folder, sorted by name. Raises DataError if the folder is missing or has none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of pictures ({', '.join(PICTURE_SUFFIXES)})")
    pictures = sorted(p for p in folder.iterdir() if p.is_file() and is_picture(p) and not p.name.startswith("."))
    if not pictures:
        others = sum(1 for _ in folder.iterdir())
        raise DataError(f"{folder}: no picture among its {others} entries; expected {', '.join(PICTURE_SUFFIXES)}")
    return pictures


def read_picture(path: str | Path) -> Pixels:
    """Read a picture as (height, width, 3) uint8 R G B.

    Grey becomes three equal channels, 16 bits become 8, CMYK becomes RGB, EXIF orientation is applied, and transparency is
    composited onto white. Raises DataError for a file that is missing, truncated or not a picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give an existing picture file") from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, name: str) -> Pixels:
    """Decode the bytes of a picture file, as `read_picture` does; `name` is for error messages."""
    if not data:
        raise DataError(f"{name}: the file is empty; fetch or save it again")
    if _truncated(data):
        raise DataError(f"{name}: the file ends before the picture does ({len(data)} bytes); fetch or save it again")
    buffer = np.frombuffer(data, np.uint8)
    bgr: object = None
    try:
        if _may_be_transparent(data):
            bgr = _on_white(cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED))
        if bgr is None:
            bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DataError(f"{name}: cannot be decoded: {error.err}") from error
    if bgr is None:
        raise DataError(f"{name}: not a picture that can be decoded; expected {', '.join(PICTURE_SUFFIXES)}")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[call-overload]


def encode_picture(pixels: Pixels, suffix: str, jpeg_quality: int = 95) -> bytes:
    """Encode R G B pixels for a file of this suffix (".png", ".jpg", …)."""
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100 means lossless
    }.get(suffix.lower(), [])
    done, data = cv2.imencode(suffix.lower(), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RunError(f"a {pixels.shape[1]}x{pixels.shape[0]} picture could not be encoded as {suffix}; use .png")
    return data.tobytes()


def write_picture(path: str | Path, pixels: Pixels) -> None:
    """Write R G B pixels to `path` in the format of its suffix, atomically."""
    write_atomically(path, encode_picture(pixels, Path(path).suffix))


def _on_white(decoded: object) -> Pixels | None:
    """8-bit B G R of a decoded picture with alpha, composited onto white; None if it has no alpha channel."""
    if not isinstance(decoded, np.ndarray) or decoded.ndim != 3 or decoded.shape[2] != 4:
        return None
    full = float(np.iinfo(decoded.dtype).max)
    alpha = decoded[..., 3:].astype(np.float32) / full
    colour = decoded[..., :3].astype(np.float32) / full
    return np.rint(255 * (colour * alpha + 1 - alpha)).astype(np.uint8)


def _may_be_transparent(data: bytes) -> bool:
    """Whether it is a PNG of colour type 4 or 6 or with tRNS, or a WebP with VP8X alpha or lossless."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25:26] in (b"\x04", b"\x06") or b"tRNS" in data[: data.find(b"IDAT")]
    return data[:4] == b"RIFF" and data[12:16] in (b"VP8X", b"VP8L")


def _truncated(data: bytes) -> bool:
    """Whether the end of a JPEG, PNG or WebP is missing. OpenCV would fill the missing part with grey and report nothing."""
    if data[:3] == b"\xff\xd8\xff":
        scan = _jpeg_scan_offset(data)
        return scan < 0 or data.find(b"\xff\xd9", scan) < 0
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data.rfind(b"IEND") < 0
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return False


def _jpeg_scan_offset(data: bytes) -> int:
    """Offset of the first scan, or -1. Searching from there skips the end marker of the thumbnail in the EXIF segment."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return -1
