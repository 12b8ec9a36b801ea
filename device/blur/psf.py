"""A point spread function: what a camera makes of a point of light, in words and as a kernel."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from device.blur.kernels import (
    Kernel,
    both,
    covariance,
    disk_kernel,
    gaussian_kernel,
    lens_kernel,
    line_kernel,
    resized,
)
from device.errors import DataError

ORIGINS = ("auto", "hand", "file", "target")
"""Estimated from pictures, set by hand, read from a file, measured with a target."""
KINDS = ("blind", "gaussian", "lens", "defocus", "motion", "measured")
"""No known blur; a Gaussian; between a Gaussian and a disk; a disk; straight motion, maybe out of focus too; a kernel."""

SMALLEST_PX, LARGEST_PX = 0.2, 200.0
_SURE = 0.75
_ROUND = 0.75  # the smaller spread over the larger one


@dataclass(frozen=True, eq=False)
class Psf:
    """One blur for a whole picture. Two are the same only if they are one object: filters are kept by it."""

    kind: str
    size_px: float = 0.0
    """Standard deviation (gaussian, lens), radius (defocus) or full length (motion)."""
    angle_deg: float = 0.0
    """Direction of motion, or of a Gaussian's larger axis, counter-clockwise from horizontal."""
    flatness: float = 1.0
    """A Gaussian's smaller standard deviation over its larger one."""
    exponent: float = 2.0
    """Of a lens: 2 is a Gaussian, large ones are disks."""
    defocus_px: float = 0.0
    """Radius of the disk that comes on top of motion."""
    measured: Kernel | None = field(default=None, repr=False)
    """The kernel itself, where it is measured."""
    linear: bool = True
    """Whether it blurs linear light, as lenses and movement do; False: the values as they are."""
    noise: float | None = None
    """Standard deviation of the noise it was seen with, 1.0 for white; None where nobody knows."""
    origin: str = "hand"
    """One of `ORIGINS`."""
    confidence: float = 1.0
    """0 to 1."""
    picture_wh: tuple[int, int] | None = None
    """Width and height of the pictures that it holds for; None: of every size."""

    @property
    def is_blind(self) -> bool:
        """Whether no blur is known."""
        return self.kind == "blind"

    @property
    def is_round(self) -> bool:
        """Whether it spreads about as far in every direction, as a lens does."""
        match self.kind:
            case "lens" | "defocus":
                return True
            case "blind" | "motion":
                return False
        narrow, wide = np.linalg.eigvalsh(covariance(self.kernel()))
        return bool(narrow > _ROUND**2 * wide)

    @property
    def spread_px(self) -> float:
        """Standard deviation along the widest axis, in pixels; 0 for a blind one."""
        match self.kind:
            case "blind":
                return 0.0
            case "gaussian" | "lens":
                return self.size_px
            case "defocus":
                return self.size_px / 2
            case "motion":
                return math.hypot(self.size_px / math.sqrt(12), self.defocus_px / 2)
        return math.sqrt(max(float(np.linalg.eigvalsh(covariance(self.kernel()))[-1]), 0.0))

    def kernel(self) -> Kernel:
        """The kernel, of odd side, centred on its middle pixel. Raises ValueError for a blind one."""
        turn = -math.radians(self.angle_deg)  # y points down in a picture
        match self.kind:
            case "gaussian":
                return gaussian_kernel(self.size_px, self.size_px * self.flatness, turn)
            case "lens":
                return lens_kernel(self.size_px, self.exponent)
            case "defocus":
                return disk_kernel(self.size_px)
            case "motion":
                line = line_kernel(self.size_px, turn)
                return both(line, disk_kernel(self.defocus_px)) if self.defocus_px else line
        if self.kind == "measured" and self.measured is not None:
            return self.measured
        raise ValueError(f"a PSF of kind {self.kind!r} has no kernel")

    @property
    def sureness(self) -> str:
        """In words, how sure an estimate is; empty for what was not estimated."""
        if self.origin != "auto":
            return ""
        if self.is_blind:
            return "no clear blur"
        return "sure" if self.confidence >= _SURE else "a guess"

    def check(self, where: str) -> None:
        """Raise DataError, which calls it `where`, for sizes that no blur has."""
        for name, value, most in (("size_px", self.size_px, LARGEST_PX), ("defocus_px", self.defocus_px, LARGEST_PX)):
            if not 0 <= value <= most:  # NaN too
                raise DataError(f"{where}: {name} {value:g}; expected 0 to {most:g} pixels")
        if self.kind in ("gaussian", "lens", "defocus", "motion") and self.size_px < SMALLEST_PX:
            raise DataError(f"{where}: {self.kind} of {self.size_px:g} pixels; expected at least {SMALLEST_PX:g}")
        for name, value, least, most in (
            ("angle_deg", self.angle_deg, -360, 360),
            ("flatness", self.flatness, 0.05, 1),
            ("exponent", self.exponent, 1, 64),
            ("confidence", self.confidence, 0, 1),
            ("noise", self.noise or 0.0, 0, 1),
        ):
            if not least <= value <= most:
                raise DataError(f"{where}: {name} {value:g}; expected {least:g} to {most:g}")

    def describe(self) -> str:
        """In words: "defocus of 3.5 pixels", "motion of 17 pixels at 30 degrees"."""
        match self.kind:
            case "gaussian":
                words = f"a Gaussian of {self.size_px:.3g} pixels"
                return (
                    words
                    if self.flatness == 1
                    else f"{words} at {self.angle_deg:.0f} degrees, {self.flatness:.2g} as wide across"
                )
            case "lens":
                return f"a lens blur of {self.size_px:.3g} pixels"
            case "defocus":
                return f"defocus of {self.size_px:.3g} pixels"
            case "motion":
                words = f"motion of {self.size_px:.3g} pixels at {self.angle_deg:.0f} degrees"
                return f"{words} and defocus of {self.defocus_px:.3g}" if self.defocus_px else words
            case "measured" if self.measured is not None:
                return f"a measured kernel of {len(self.measured)} pixels a side"
        return "no known blur"

    def for_picture(self, width: int, height: int) -> "Psf":
        """The same blur in a picture of this size: scaled by its width."""
        if self.picture_wh is None or self.picture_wh == (width, height):
            return self
        return replace(self.changed(width / self.picture_wh[0]), picture_wh=(width, height))

    def changed(self, scale: float, turn_deg: float = 0.0) -> "Psf":
        """The same blur in a picture `scale` times as large, turned by `turn_deg` degrees counter-clockwise."""
        kernel = None if self.measured is None else resized(self.measured, scale, -math.radians(turn_deg))
        return replace(
            self,
            size_px=self.size_px * scale,
            angle_deg=self.angle_deg + turn_deg,
            defocus_px=self.defocus_px * scale,
            measured=kernel,
        )


BLIND = Psf("blind")
UNCLEAR = Psf("blind", origin="auto", confidence=0.0)
"""What was estimated where no blur is clear."""
