"""Follow the blur of a camera from picture to picture, without flicker. No threads and no clock."""

import math

from device.blur.estimate import estimate
from device.blur.light import Plane
from device.blur.psf import UNCLEAR, Psf
from device.blur.spectrum import Spectrum

_FORGET = 0.35  # of what is known, at each update: half of the mean is from the last two pictures
_SAME_SIZE, _SAME_ANGLE_DEG = 0.06, 4.0  # estimates that differ by less are the same blur
_AGREE_SIZE, _AGREE_ANGLE_DEG = 0.15, 12.0  # two in a row that differ by less are believed
_UNSURE_UPDATES = 4  # so many in a row without a clear blur end the use of the last one


class Follower:
    """The blur of a sequence of pictures from one camera."""

    def __init__(self) -> None:
        self._begin(())

    def _begin(self, shape: tuple[int, ...]) -> None:
        self.psf: Psf = UNCLEAR
        """What to undo now. It changes only when the blur does."""
        self._spectrum = Spectrum()
        self._candidate: Psf | None = None
        self._unsure = 0
        self._shape = shape

    def update(self, plane: Plane) -> Psf:
        """See one picture, (height, width) uint8 of sRGB values. Returns the PSF, the same object while the blur is the same."""
        if plane.shape != self._shape:
            self._begin(plane.shape)
        first = self._spectrum.blocks == 0
        self._spectrum.forget(_FORGET)
        if not self._spectrum.add(plane):
            return self.psf  # nothing to be seen: dark, flat or saturated
        seen = estimate(self._spectrum)
        if seen.is_blind:
            self._unsure += 1
            if self._unsure >= _UNSURE_UPDATES:
                self.psf = UNCLEAR
            return self.psf
        self._unsure = 0
        believed = first or (self._candidate is not None and alike(seen, self._candidate, _AGREE_SIZE, _AGREE_ANGLE_DEG))
        self._candidate = seen
        if believed and not alike(seen, self.psf, _SAME_SIZE, _SAME_ANGLE_DEG):
            self.psf = seen
        return self.psf


def alike(one: Psf, other: Psf, size: float, angle_deg: float) -> bool:
    """Whether two PSFs are of one kind and their sizes and angles differ by less than a share and some degrees."""
    if one.kind != other.kind or one.linear != other.linear:
        return False
    if abs(math.log(one.size_px / other.size_px)) > size:
        return False
    turned = abs((one.angle_deg - other.angle_deg + 90) % 180 - 90)
    return one.kind != "motion" or turned <= angle_deg
