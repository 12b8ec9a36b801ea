"""How blurred a restored picture still is, by the blur and the noise before: measured once, when a bundle is exported.

A restored picture counts as blurred as the Gaussian blur that leaves the same scene as far from the truth (mean squared error).
So noise, ringing and false detail count against it, which measures of contrast would reward.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np

from device.blur.psf import Psf
from device.bundle.manifest import RestoredBlur
from device.images.degrade import add_noise, convolve, gaussian_blur, to_linear, to_pixels, to_srgb
from device.images.frame import Pixels
from device.images.scenes import dead_leaves
from device.restore.restorer import Restorer

NOISES = (0.5 / 255, 2 / 255, 5 / 255)
_PSFS = (
    *(Psf("gaussian", size) for size in (0.7, 1.2, 2.0, 3.5)),
    *(Psf("defocus", size) for size in (1.4, 2.4, 4.0, 7.0)),
    *(Psf("motion", size, 20.0) for size in (4.0, 8.0, 15.0, 30.0)),
)
_SPREADS = np.geomspace(0.2, 12.0, 40)  # of the Gaussians that are compared with, in pixels


def measure_restored_blur(restorer: Restorer) -> tuple[RestoredBlur, ...]:
    """Measure a bundle's model on generated scenes, with each blur known and at each of `NOISES`."""
    before, rows = restorer.psf, []
    sharp, as_blurred = _scene(), _errors_of_gaussians()
    for psf in _PSFS:
        linear = convolve(to_linear(sharp), psf.kernel())
        for noise in NOISES:
            seen = to_pixels(add_noise(to_srgb(linear), noise, np.random.default_rng(1)))
            restorer.use_psf(psf)
            error = _error(restorer.restore(seen), sharp)
            restored_px = float(np.interp(error, as_blurred, _SPREADS))
            rows.append(RestoredBlur(_family(psf.kind), round(psf.spread_px, 3), round(noise, 5), round(restored_px, 3)))
    restorer.use_psf(before)
    return tuple(rows)


def restored_spread_px(table: Iterable[RestoredBlur], psf: Psf) -> float | None:
    """What is left of this blur, as a Gaussian's standard deviation in pixels; None where the table does not reach.

    Interpolated between spreads, of the least noise of the table that is not less than the PSF's.
    """
    rows = [row for row in table if row.kind == _family(psf.kind)]
    noises = sorted({row.noise for row in rows})
    if not noises:
        return None
    noise = next((level for level in noises if level >= (psf.noise or 0.0) - 1e-4), noises[-1])
    known = sorted((row.spread_px, row.restored_px) for row in rows if row.noise == noise)
    spread = psf.spread_px
    if not known[0][0] / 2 <= spread <= known[-1][0]:
        return None
    spreads, restored = zip(*known, strict=True)
    return round(float(np.interp(spread, spreads, restored)), 2)


def _family(kind: str) -> str:
    return {"lens": "gaussian", "measured": "gaussian"}.get(kind, kind)


def _error(picture: Pixels, sharp: Pixels) -> float:
    return float(np.mean((picture.astype(np.float64) - sharp) ** 2))


@cache
def _scene() -> Pixels:
    return np.hstack([dead_leaves(256, 256, seed) for seed in (11, 12)])


@cache
def _errors_of_gaussians() -> tuple[float, ...]:
    sharp = _scene()
    linear = to_linear(sharp)
    return tuple(_error(to_pixels(to_srgb(gaussian_blur(linear, spread))), sharp) for spread in _SPREADS)
