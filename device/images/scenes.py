"""Generated pictures of known sharpness, so that the demo and the self-check need no photographs.

Dead leaves (overlapping shapes whose sizes follow a power law, which gives the statistics of natural pictures: Lee, Mumford
and Huang, 2001), slanted edges, text and a Siemens star. They are drawn at twice the size and reduced by area averaging, so
that edges are anti-aliased like those of a good lens.
"""

import cv2
import numpy as np

from device.images.frame import Pixels

_OVER = 2  # oversampling factor
_WORDS = [
    "deblurkit",
    "0123456789",
    "sharp",
    "edges,",
    "quiet",
    "skies;",
    "Quick",
    "brown",
    "fox",
    "&",
    "lazy",
    "dog?",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
]


def dead_leaves(height: int, width: int, seed: int = 0) -> Pixels:
    """(height, width, 3) uint8: ellipses, rotated boxes and stripes of random colours that cover each other."""
    rng = np.random.default_rng(seed)
    h, w = height * _OVER, width * _OVER
    canvas = np.full((h, w, 3), 128, np.uint8)
    smallest, largest = 9.0, max(h, w) / 4
    count = int(h * w / 700)
    # Radii follow an inverse-cube law; drawn by inverting its cumulative distribution.
    u = rng.random(count)
    radii = 1 / np.sqrt(u / largest**2 + (1 - u) / smallest**2)
    radii[: count // 60] = largest  # the background: leaves no plain grey between the others
    for radius in radii:
        centre = (float(rng.uniform(0, w)), float(rng.uniform(0, h)))
        grey = rng.uniform(20, 235)
        colour = tuple(float(np.clip(grey + rng.normal(0, 35), 0, 255)) for _ in range(3))
        axes = (radius, radius * float(rng.uniform(0.4, 1.0)))
        angle = float(rng.uniform(0, 180))
        if rng.random() < 0.6:
            centre_px, axes_px = (round(centre[0]), round(centre[1])), (max(1, round(axes[0])), max(1, round(axes[1])))
            cv2.ellipse(canvas, centre_px, axes_px, angle, 0, 360, colour, -1)
        else:
            corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), angle))
            cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], colour)
    return _reduce(canvas)


def siemens_star(size: int, spokes: int = 36, low: int = 20, high: int = 235) -> Pixels:
    """(size, size, 3) uint8: spokes that get finer towards the centre."""
    n = size * _OVER
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    bright = np.sin(spokes * np.arctan2(y, x)) > 0
    inside = np.hypot(y, x) < 0.48 * n
    grey = np.where(inside, np.where(bright, high, low), (low + high) // 2).astype(np.uint8)
    return _reduce(np.repeat(grey[..., None], 3, 2))


def slanted_edge(height: int, width: int, angle_deg: float = 5.0, low: int = 60, high: int = 190) -> Pixels:
    """(height, width, 3) uint8: a dark and a bright half with an edge `angle_deg` off the vertical (ISO 12233)."""
    h, w = height * 4, width * 4
    y, x = np.mgrid[:h, :w]
    bright = (x - w / 2) > (y - h / 2) * np.tan(np.deg2rad(angle_deg))
    grey = np.where(bright, high, low).astype(np.uint8)
    reduced = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(reduced[..., None], 3, 2)


def text_page(height: int, width: int, seed: int = 0) -> Pixels:
    """(height, width, 3) uint8: lines of dark text on light paper, letters 8 to 28 pixels high."""
    rng = np.random.default_rng(seed)
    canvas = np.full((height * _OVER, width * _OVER, 3), (225, 232, 238), np.uint8)
    y = 0.0
    while y < canvas.shape[0]:
        scale = float(rng.uniform(0.5, 1.6))
        y += 34 * scale
        line = " ".join(rng.permutation(_WORDS))
        ink = tuple(float(v) for v in rng.uniform(0, 90, 3))
        cv2.putText(canvas, line, (12, round(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(1.6 * scale)), cv2.LINE_AA)
    return _reduce(canvas)


def chart(height: int, width: int, seed: int = 0) -> Pixels:
    """(height, width, 3) uint8: dead leaves with a page of text, a Siemens star and a slanted edge pasted in."""
    picture = dead_leaves(height, width, seed)
    h, w = height // 3, width // 3
    star = siemens_star(min(h, w))
    panels = (
        (height // 12, width // 14, text_page(h, w, seed)),
        (height - h - height // 14, width // 9, slanted_edge(h, w // 2)),
    )
    for top, left, panel in (*panels, (height // 2 - star.shape[0] // 2, width - star.shape[1] - width // 12, star)):
        picture[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return picture


def _reduce(canvas: Pixels) -> Pixels:
    size = (canvas.shape[1] // _OVER, canvas.shape[0] // _OVER)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
