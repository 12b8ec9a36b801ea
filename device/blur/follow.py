"""Follow the blur of a camera from picture to picture, without flicker. No threads and no clock."""

import math

from device.blur.estimate import estimate, misfit
from device.blur.light import Plane
from device.blur.psf import UNCLEAR, Psf
from device.blur.spectrum import Spectrum

_FORGET = 0.35  # of what is known, at each update: half of the mean is from the last two pictures
_SAME_SIZE, _SAME_ANGLE_DEG = 0.06, 4.0  # estimates that differ by less are the same blur
_AGREE_SIZE, _AGREE_ANGLE_DEG = 0.15, 12.0  # two in a row that differ by less are believed
_UNSURE_UPDATES = 3  # so many in a row without a clear blur end the use of the last one
_LOOK_BLOCKS = 48  # of a picture, to see whether its blur may have changed
_CHANGED = 80.0  # nats of misfit: scenes that drift changed it by up to 70, other blurs mostly by hundreds
_FIRST_UPDATES, _ESTIMATE_EVERY = 3, 32  # updates that estimate even if nothing seems to have changed


class Follower:
    """The blur of a sequence of pictures from one camera.

    Most updates only look whether the picture still fits the PSF, which takes a tenth of the time of an estimate.
    """

    def __init__(self) -> None:
        self._begin(())

    def _begin(self, shape: tuple[int, ...]) -> None:
        self.psf: Psf = UNCLEAR
        """What to undo now. It changes only when the blur does."""
        self.settled = False
        """Whether what was seen last agrees with it; if not, another picture soon tells more."""
        self.estimated = False
        """Whether the last update estimated the blur, or only looked."""
        self._spectrum = Spectrum()
        self._candidate: Psf | None = None
        self._unsure = 0
        self._updates = 0
        self._misfit = 0.0
        self._shape = shape

    def update(self, plane: Plane) -> Psf:
        """See one picture, (height, width) uint8 of sRGB values. Returns the PSF, the same object while the blur is the same."""
        if plane.shape != self._shape:
            self._begin(plane.shape)
        self.estimated = False
        look = Spectrum()
        if not look.add(plane, _LOOK_BLOCKS):
            return self.psf  # nothing to be seen: dark, flat or saturated
        self._updates += 1
        if self.settled:
            changed = abs(misfit(look, self.psf) - self._misfit) > _CHANGED
            if not changed and self._updates > _FIRST_UPDATES and self._updates % _ESTIMATE_EVERY:
                return self.psf
            if changed:
                self._spectrum = Spectrum()
        self._estimate(plane)
        if self.settled:
            self._misfit = misfit(look, self.psf)
        return self.psf

    def _estimate(self, plane: Plane) -> None:
        self.estimated = True
        self._spectrum.forget(_FORGET)
        self._spectrum.add(plane)
        seen = estimate(self._spectrum)
        if seen.is_blind:
            self._unsure += 1
            if self._unsure >= _UNSURE_UPDATES:
                self.psf = UNCLEAR
            self.settled = self.psf.is_blind
            return
        self._unsure = 0
        first = self._updates == 1
        believed = first or (self._candidate is not None and alike(seen, self._candidate, _AGREE_SIZE, _AGREE_ANGLE_DEG))
        self._candidate = seen
        self.settled = alike(seen, self.psf, _SAME_SIZE, _SAME_ANGLE_DEG)
        if believed and not self.settled:
            self.psf, self.settled = seen, True


def alike(one: Psf, other: Psf, size: float, angle_deg: float) -> bool:
    """Whether two PSFs are of one kind and their sizes and angles differ by less than a share and some degrees."""
    if one.kind != other.kind or one.linear != other.linear:
        return False
    if abs(math.log(one.size_px / other.size_px)) > size:
        return False
    turned = abs((one.angle_deg - other.angle_deg + 90) % 180 - 90)
    return one.kind != "motion" or turned <= angle_deg
