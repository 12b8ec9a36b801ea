"""Fit round blurs, Gaussians, lenses and disks, to a mean periodogram."""

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.blur.frequency_groups import SECTORS, Floats, Groups, frequencies, grouped, off_axes, sector
from device.blur.likelihood import LEAKAGES, NOISES, SLOPES, amplitude_costs, slope_cost
from device.blur.psf import BLIND, Psf
from device.blur.spectrum import BLOCK

_RINGS = np.array([*range(4, 17), *range(18, 64, 2)])  # starts, in units of 1/128 cycle a pixel


@dataclass(frozen=True)
class RoundFit:
    """The best round blur of a kind."""

    psf: Psf
    gain: float
    """In likelihood over no blur, nats."""
    misfit: float
    """How much worse it is than a model that has every mean power right, nats."""
    noise: float
    """Power of the noise, 1.0 for white."""


def best_round(power: Floats, kind: str) -> RoundFit:
    """The best blur of a kind: `gaussian`, `lens` or `defocus`. `power` is that of `rings`."""
    psfs, transfer_power = _coarse_power(kind)
    leakages = LEAKAGES if kind == "gaussian" else LEAKAGES[1:]
    costs, _ = _round_costs(power, transfer_power, leakages, 2)
    i = int(costs[1:].argmin()) + 1
    step = math.log(psfs[2].size_px / psfs[1].size_px)
    finer = tuple(
        replace(psfs[i], size_px=psfs[i].size_px * math.exp(step * share)) for share in (-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75)
    )
    found, noise = _round_costs(power, _round_power((BLIND, *finer), rings().frequency), leakages, 4)
    best = int(found[1:].argmin()) + 1
    counts = rings().counts
    seen = counts > 0
    perfect = float((counts[seen] * (np.log(np.maximum(power[seen], 1e-20)) + 1)).sum())
    return RoundFit(finer[best - 1], float(found[0] - found[best]), float(found[best]) - perfect, float(noise[best]))


@cache
def rings() -> Groups:
    """(sector, ring) in one index; a ring that a sector does not have has no frequencies."""
    y, x = frequencies()
    radius = np.hypot(y, x) * BLOCK
    ring = np.searchsorted(_RINGS - 0.5, radius, side="right") - 1
    used = off_axes() & (ring >= 0) & (radius < _RINGS[-1] + 1.5)
    return grouped(used, sector() * len(_RINGS) + np.maximum(ring, 0), SECTORS * len(_RINGS))


@cache
def _round_blurs() -> tuple[Psf, ...]:
    """Blind first."""
    sigmas = np.exp(np.arange(math.log(0.3), math.log(5.2), 0.08))
    radii = np.exp(np.arange(math.log(0.8), math.log(12), 0.06))
    return (
        BLIND,
        *(Psf("gaussian", float(s)) for s in sigmas),
        *(Psf("lens", float(s), exponent=4.0) for s in sigmas),
        *(Psf("defocus", float(r)) for r in radii),
    )


@cache
def _coarse_power(kind: str) -> tuple[tuple[Psf, ...], Floats]:
    """The candidates of a kind with their |H|²; none of it first."""
    psfs = tuple(psf for psf in _round_blurs() if psf.kind in ("blind", kind))
    return psfs, _round_power(psfs, rings().frequency)


def _round_power(psfs: tuple[Psf, ...], frequency: Floats) -> Floats:
    """|H|² of round blurs at these frequencies, averaged over the window's main lobe: (PSFs, frequencies)."""
    power = np.zeros((len(psfs), len(frequency)), np.float32)
    for offset, weight in ((-1.0, 0.25), (0.0, 0.5), (1.0, 0.25)):
        at = np.abs(frequency + offset / BLOCK)
        power += np.float32(weight) * np.square([_transfer(psf, at) for psf in psfs]).astype(np.float32)
    return power


def _transfer(psf: Psf, at: Floats) -> NDArray[np.float64]:
    match psf.kind:
        case "gaussian":
            return np.exp(-2 * np.square(np.pi * at * psf.size_px))
        case "lens":
            return np.interp(at * psf.size_px, *_lens_transfer(psf.exponent))
        case "defocus":
            return np.interp(at * psf.size_px / 2, *_lens_transfer(math.inf))  # a disk's standard deviation is half its radius
    return np.ones(at.shape)


@cache
def _lens_transfer(exponent: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequency times standard deviation, and the transfer function of a lens of that exponent (infinite: a disk)."""
    at = np.linspace(0, 1, 2001)
    if math.isinf(exponent):
        scale = 2.0
        at *= scale
        profile = np.sqrt(np.maximum(scale**2 - at**2, 0))
    else:  # seen from the side: summed along y
        scale = math.sqrt(2 * math.gamma(2 / exponent) / math.gamma(4 / exponent))
        at *= scale * 12 ** (1 / exponent)
        profile = np.array([np.exp(-((np.hypot(x, at) / scale) ** exponent)).sum() for x in at])
    frequencies = np.linspace(0, 5.5, 1101)
    transfer = np.cos(2 * np.pi * frequencies[:, None] * at) @ profile
    return frequencies, transfer / transfer[0]


def _round_costs(power: Floats, transfer_power: Floats, leakages: tuple[np.float32, ...], rounds: int) -> tuple[Floats, Floats]:
    """The cost of each |H|² (candidates, groups of `rings`), and the power of the noise that goes with it."""
    groups = rings()
    shape = (SECTORS, len(_RINGS))
    counts, seen, frequency = groups.counts.reshape(shape), power.reshape(shape), groups.frequency.reshape(shape)
    base = np.where(counts > 0, np.maximum(frequency, 1e-3), 1) ** (-2 * SLOPES[:, None, None])
    lowest = np.sort(power[groups.counts > 0])[: len(power) // 40].mean()
    prior = slope_cost(SLOPES)[:, None] / SECTORS
    cost, noise = np.full(len(transfer_power), np.inf, np.float32), np.zeros(len(transfer_power), np.float32)
    for leakage in leakages:
        signal = (transfer_power.reshape(-1, 1, *shape) + leakage) * base
        for share in NOISES:
            floor = np.float32(share * lowest + 1e-10)
            found = (amplitude_costs(seen, counts, signal, floor, rounds) + prior).min(1).sum(-1)
            noise = np.where(found < cost, floor, noise)
            cost = np.minimum(cost, found)
    return cost, noise
