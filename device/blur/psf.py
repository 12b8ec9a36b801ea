"""A point spread function: what a camera makes of a point of light, in words and as a kernel."""

import math
from dataclasses import dataclass, field, replace

from device.blur.kernels import (
    Kernel,
    both,
    disk_kernel,
    gaussian_kernel,
    lens_kernel,
    line_kernel,
    resized,
)

KINDS = ("blind", "gaussian", "lens", "defocus", "motion", "measured")
"""No known blur; a Gaussian; between a Gaussian and a disk; a disk; straight motion, maybe out of focus too; a kernel."""


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
    """`auto`, `hand`, `file` or `target`."""
    confidence: float = 1.0
    """0 to 1."""

    @property
    def is_blind(self) -> bool:
        """Whether no blur is known."""
        return self.kind == "blind"

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
