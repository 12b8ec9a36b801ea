"""Estimate the blur of a camera from the power spectrum of its pictures.

Sharp pictures have spectra that fall like a power of the frequency (Field, 1987). A blur multiplies them by |H|², and noise adds
a constant:

    S(f) = A · |f|^(-2a) · (|H(f)|² + leakage) + n

A and a are fitted for each direction by itself, since pictures have directions too. Each candidate blur is judged by its
Whittle likelihood, the sum of log S + P / S over the frequencies (Whittle, 1953), where P is the mean periodogram. What the best
one gains over "no blur" says how sure it is. Costs and gains are in nats of one spectrum.
"""

import math
from dataclasses import replace

import numpy as np

from device.blur.frequency_groups import Floats
from device.blur.light import Plane
from device.blur.motion_fit import LEAST_GAIN as LEAST_LINE_GAIN
from device.blur.motion_fit import best_line, cells, cost_by_sector, kernel_power
from device.blur.psf import BLIND, UNCLEAR, Psf
from device.blur.round_fit import RoundFit, best_round, rings
from device.blur.spectrum import AS_IS, LINEAR, Spectrum

_LEAST_SPREAD_PX = 0.7  # pictures have a softness of their own
_LENS_SHARE = 0.93  # of its gain counts: a lens fits nearly as well wherever a Gaussian or a disk is right
_LEAST_GAIN, _SURE_GAIN = 150.0, 250.0
_LEAST_FIT = -100.0
_CLEAR_DISK_PX, _DISK_EVIDENCE = 2.5, 0.5  # a disk whose first zero is seen is a lens, so it blurs light


def estimate(spectrum: Spectrum) -> Psf:
    """The blur of the pictures in the spectrum; a blind one where none is clear."""
    if spectrum.blocks < 1:
        return UNCLEAR
    light, stored = rings().means(spectrum.power[LINEAR]), rings().means(spectrum.power[AS_IS])
    in_light = _best_in_light([best_round(light, kind) for kind in ("gaussian", "defocus", "lens")])
    as_is = best_round(stored, "gaussian")
    as_is = replace(as_is, psf=replace(as_is.psf, linear=False))
    best = in_light if _blurs_light(in_light, as_is) else as_is
    psf, gain = best.psf, best.gain
    line_gain, line = best_line(cells().means(spectrum.power[LINEAR]))
    if line_gain > LEAST_LINE_GAIN and (line_gain > gain or psf.spread_px < _LEAST_SPREAD_PX):
        psf, gain = line, line_gain
    if gain < _LEAST_GAIN or psf.spread_px < _LEAST_SPREAD_PX:
        return UNCLEAR
    return replace(psf, noise=math.sqrt(as_is.noise), origin="auto", confidence=1 - math.exp(-gain / _SURE_GAIN))


def _best_in_light(found: list[RoundFit]) -> RoundFit:
    return max(found, key=lambda fit: fit.gain * (_LENS_SHARE if fit.psf.kind == "lens" else 1.0))


def _blurs_light(in_light: RoundFit, as_is: RoundFit) -> bool:
    """Whether the blur is in linear light rather than in the stored values: the wrong one gains less and fits worse."""
    gained = math.log(max(in_light.gain, 1.0) / max(as_is.gain, 1.0))
    fitted = math.log(max(as_is.misfit, 1.0) / max(in_light.misfit, 1.0))
    clear_disk = in_light.psf.kind == "defocus" and in_light.psf.size_px > _CLEAR_DISK_PX
    return gained + fitted + (_DISK_EVIDENCE if clear_disk else 0.0) > 0


def fits(spectrum: Spectrum, psf: Psf) -> bool:
    """Whether the pictures in the spectrum may have been blurred by this PSF: they are not far likelier without any blur."""
    power = cells().means(spectrum.power[LINEAR if psf.linear else AS_IS])
    return _cost(power, BLIND) - _cost(power, psf) > _LEAST_FIT


def misfit(spectrum: Spectrum, psf: Psf) -> float:
    """How much worse this PSF explains the spectrum than a model that has every mean power right, nats.

    It says little by itself, since scenes differ; but while a scene drifts past, it changes only with the blur.
    """
    power = cells().means(spectrum.power[LINEAR if psf.linear else AS_IS])
    return _cost(power, psf) - float((cells().counts * (np.log(np.maximum(power, 1e-20)) + 1)).sum())


def _cost(power: Floats, psf: Psf) -> float:
    return cost_by_sector(power, np.ones(len(power), np.float32) if psf.is_blind else kernel_power(psf.kernel()))


def estimate_picture(plane: Plane) -> Psf:
    """The blur of one picture, (height, width) uint8 of sRGB values."""
    spectrum = Spectrum()
    spectrum.add(plane)
    return estimate(spectrum)
