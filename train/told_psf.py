"""What the network is told of a picture's blur while it trains: the truth, a mistake as estimators make them, or nothing."""

from dataclasses import replace

import numpy as np

from device.blur.psf import BLIND, Psf

WRONG_SHARE, BLIND_SHARE = 0.36, 0.10
"""Of the pictures that one PSF blurs. With the usual mixture 45 % of all pictures are then told the truth, 30 % something wrong
and 25 % nothing: those that no single PSF blurs are told nothing."""
FALSE_SHARE = 0.1
"""Of the pictures without a PSF that are told a slight one: sharp pictures are taken for slightly soft ones."""
_SIZE_ERROR = 0.25
_TURN_DEG = 5.0
_OTHER_DOMAIN_SHARE, _OTHER_KIND_SHARE = 0.25, 0.3  # of what is told wrongly
_UNKNOWN_NOISE_SHARE = 0.25


def told_psf(truth: Psf, rng: np.random.Generator) -> Psf:
    """The PSF that the picture is deconvolved with; the same random numbers give the same one."""
    share = rng.random()
    if truth.is_blind:
        told = _slight(rng) if share < FALSE_SHARE else BLIND
    elif share < BLIND_SHARE:
        return BLIND
    elif share < BLIND_SHARE + WRONG_SHARE:
        told = wrong_psf(truth, rng)
    else:
        told = truth
    noise = None if rng.random() < _UNKNOWN_NOISE_SHARE or truth.noise is None else truth.noise * rng.uniform(0.8, 1.25)
    return replace(told, noise=noise)


def wrong_psf(truth: Psf, rng: np.random.Generator) -> Psf:
    """`truth` with the mistakes of an estimator: in size always, in angle, now and then of another kind or in the other light."""
    scale, turn_deg = rng.uniform(1 - _SIZE_ERROR, 1 + _SIZE_ERROR), rng.uniform(-_TURN_DEG, _TURN_DEG)
    other_kind, other_domain = rng.random() < _OTHER_KIND_SHARE, rng.random() < _OTHER_DOMAIN_SHARE
    told = truth.changed(scale, turn_deg)
    if other_kind:
        told = _of_other_kind(told)
    return replace(told, linear=told.linear != other_domain)


def _of_other_kind(psf: Psf) -> Psf:
    """A Gaussian for a disk or a lens and a disk for a Gaussian, of the same standard deviation; others stay."""
    match psf.kind:
        case "defocus":
            return replace(psf, kind="gaussian", size_px=psf.size_px / 2)
        case "lens":
            return replace(psf, kind="gaussian")
        case "gaussian":
            return replace(psf, kind="defocus", size_px=2 * psf.size_px * psf.flatness**0.5)
    return psf


def _slight(rng: np.random.Generator) -> Psf:
    if rng.random() < 0.5:
        return Psf("gaussian", rng.uniform(0.3, 0.7), linear=rng.random() < 0.7)
    return (
        Psf("motion", rng.uniform(1.5, 4.0), rng.uniform(0, 180)) if rng.random() < 0.5 else Psf("defocus", rng.uniform(0.5, 1.2))
    )
