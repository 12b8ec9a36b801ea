"""What one photograph file is like: size, sharpness, and properties that training would change.

Sharpness is measured on edges, so that content, contrast and resolution do not count: if an edge with blur s is blurred again
with 1 pixel, its gradient falls by the ratio r = sqrt(s**2 + 1) / s, hence s = 1 / sqrt(r**2 - 1) (Zhuo and Sim, Defocus map
estimation from a single image, 2011). The picture counts as blurred as the sharpest quarter of its strongest edges: a
shallow depth of field is no fault. Camera shake in one direction leaves the edges along it sharp and is not detected.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.frame import Pixels
from device.images.picture import read_picture
from train import near_duplicates

SOFT_PX = 0.8  # the rates are in tests/train/test_check.py
_STRONGEST = 0.01  # share of the pixels that count as the strongest edges
_MIN_EDGES, _MIN_SLOPE = 20, 4.0  # edge pixels; grey levels per pixel


@dataclass(frozen=True)
class PhotographFacts:
    """What is known about one readable photograph."""

    name: str
    size_hw: tuple[int, int]
    blur_px: float | None
    """Blur of its sharpest strong edges, pixels; None without edges."""
    conversions: tuple[str, ...]
    """Properties that reading removes, as kinds of issues: `cmyk`, `deep`, `transparent`, `grey`."""
    thumbnail: near_duplicates.Thumbnail
    digest: bytes
    """Of size and pixels: equal for exact copies, whatever the file format."""


def photograph_facts(path: Path, name: str) -> PhotographFacts:
    """Read and measure one file. Raises DataError if it cannot be decoded."""
    pixels = read_picture(path)
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, key=repr(pixels.shape).encode()).digest()
    return PhotographFacts(
        name=name,
        size_hw=pixels.shape[:2],
        blur_px=edge_blur_px(pixels),
        conversions=_conversions(path, pixels),
        thumbnail=near_duplicates.thumbnail(pixels),
        digest=digest,
    )


def edge_blur_px(pixels: Pixels) -> float | None:
    """Blur of the sharpest quarter of the strongest edges, as the sigma of a Gaussian in pixels; None without edges."""
    luma: NDArray[np.float32] = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)
    slope = _slope(luma)
    crest = (slope >= cv2.dilate(slope, np.ones((3, 3), np.uint8))) & (slope > _MIN_SLOPE)
    edges = np.flatnonzero(crest)
    if len(edges) < _MIN_EDGES:
        return None
    most = max(_MIN_EDGES, int(_STRONGEST * slope.size))
    steepness = slope.ravel()[edges]
    if len(edges) > most:
        strongest = np.argpartition(steepness, -most)[-most:]
        edges, steepness = edges[strongest], steepness[strongest]
    blurred_again = _slope(np.asarray(cv2.GaussianBlur(luma, (0, 0), 1.0), np.float32)).ravel()[edges]
    ratio = steepness / np.maximum(blurred_again, 1e-3)
    return float(np.percentile(1 / np.sqrt(np.maximum(ratio**2 - 1, 1e-3)), 25))


def _slope(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of the gradient, grey levels per pixel."""
    across, down = (cv2.Sobel(luma, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    return cv2.magnitude(across, down)  # type: ignore[return-value]


def _conversions(path: Path, pixels: Pixels) -> tuple[str, ...]:
    """What `read_picture` has converted in this file; see `PhotographFacts.conversions`."""
    conversions = []
    data = path.read_bytes()
    if data[:3] == b"\xff\xd8\xff":
        if jpeg_channels(data) == 4:
            conversions.append("cmyk")
    else:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.dtype == np.uint16:
            conversions.append("deep")
        opaque = 65535 if stored is not None and stored.dtype == np.uint16 else 255
        if stored is not None and stored.ndim == 3 and stored.shape[2] == 4 and stored[..., 3].min() < opaque:
            conversions.append("transparent")
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2]):
        conversions.append("grey")
    return tuple(conversions)


def jpeg_channels(data: bytes) -> int:
    """Number of channels in the frame header of a JPEG: 1 grey, 3 colour, 4 CMYK; 0 if there is no frame header."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[at + 9]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0
