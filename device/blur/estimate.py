"""Estimate the blur of a camera from the power spectrum of its pictures.

Sharp pictures have spectra that fall like a power of the frequency (Field, 1987). A blur multiplies them by |H|², and noise adds a
constant:

    S(f) = A · |f|^(-2a) · (|H(f)|² + leakage) + n

Each candidate blur is fitted by its Whittle likelihood, the sum of log S + P / S over the frequencies (Whittle, 1953), where P is the
mean periodogram. What the best one gains over "no blur" says how sure it is. Gains are in nats of one spectrum.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.blur.psf import BLIND, Psf
from device.blur.spectrum import AS_IS, BLOCK, LINEAR, Power

Floats = NDArray[np.float32]

_LEAKAGE = 0.003
"""Of the window and of what JPEG adds in proportion to the picture: zeros of |H|² are never empty in a periodogram."""
_SLOPE, _SLOPE_SPREAD, _SLOPE_WEIGHT = 1.2, 0.25, 30.0
"""Photographs: amplitude falls as f^-1.2, with this standard deviation between pictures; the weight is by experiment (val)."""
_SLOPES = np.arange(0.7, 1.91, 0.1, dtype=np.float32)
_NOISES = np.array([0.0, 0.1, 0.3, 0.6, 0.8, 0.9, 0.97, 1.03], np.float32)  # of the lowest power that was seen
_RINGS = np.arange(4, 64)
_CELL = 2  # frequencies a side that are averaged for motion
_HIGHEST = 0.40  # cycles a pixel
_SECTORS = 8
_SHORTEST_PX, _LONGEST_PX = 3.0, 45.0
_COARSE_SLOPES = np.array([0.9, 1.2, 1.5], np.float32)
_COARSE_NOISES = np.array([0.2, 0.6, 0.9], np.float32)


@dataclass(frozen=True)
class Fit:
    """One candidate, fitted."""

    psf: Psf
    cost: float
    """Negative log likelihood and prior."""
    noise: float
    """Standard deviation of the noise, 1.0 for white."""


# Round blurs: on means over rings


@cache
def _rings() -> tuple[list[tuple[NDArray[np.intp], NDArray[np.intp]]], Floats, list[Floats]]:
    """Indices of each ring of frequencies, how many frequencies it has, and their weights.

    The axes are left out: that is where borders of pictures, screens and scan lines are.
    """
    y, x = np.fft.fftfreq(BLOCK)[:, None] * BLOCK, np.fft.rfftfreq(BLOCK)[None] * BLOCK
    radius = np.rint(np.hypot(y, x)).astype(int)
    weight = np.where((x == 0) | (x == BLOCK / 2), 0.5, 1.0) * np.ones_like(y)
    off_axes = (np.abs(y) >= 1.5) & (x >= 1.5)
    indices = [np.nonzero((radius == ring) & off_axes) for ring in _RINGS]
    weights = [weight[i].astype(np.float32) for i in indices]
    return indices, np.array([w.sum() for w in weights], np.float32), weights  # type: ignore[return-value]


@cache
def _round_blurs() -> tuple[list[Psf], Floats]:
    """Blind first, then every candidate, and their |H|² on the rings, averaged over the window's main lobe."""
    frequencies = np.arange(_RINGS[0] - 2, _RINGS[-1] + 3) / BLOCK

    def smeared(transfer: NDArray[np.float64]) -> NDArray[np.float64]:
        power = transfer**2
        return 0.25 * power[1:-3] + 0.5 * power[2:-2] + 0.25 * power[3:-1]

    psfs, rows = [BLIND], [np.ones(len(_RINGS))]
    for sigma in np.exp(np.arange(math.log(0.3), math.log(5.2), 0.04)):
        psfs.append(Psf("gaussian", float(sigma)))
        rows.append(smeared(np.exp(-2 * (np.pi * frequencies * sigma) ** 2)))
    for exponent in (4.0,):
        table = _lens_transfer(exponent)
        for sigma in np.exp(np.arange(math.log(0.3), math.log(5.2), 0.04)):
            psfs.append(Psf("lens", float(sigma), exponent=exponent))
            rows.append(smeared(np.interp(frequencies * sigma, *table)))
    table = _lens_transfer(math.inf)
    for radius in np.exp(np.arange(math.log(0.8), math.log(10), 0.03)):
        psfs.append(Psf("defocus", float(radius)))
        rows.append(smeared(np.interp(frequencies * radius / 2, *table)))  # a disk's standard deviation is half its radius
    return psfs, np.array(rows, np.float32)


@cache
def _lens_transfer(exponent: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequency times standard deviation, and the transfer function of a lens of that exponent (infinite: a disk)."""
    if math.isinf(exponent):
        scale = 2.0
    else:
        scale = math.sqrt(2 * math.gamma(2 / exponent) / math.gamma(4 / exponent))
    at = np.linspace(0, 1, 2001) * scale * (1 if math.isinf(exponent) else 12 ** (1 / exponent))
    if math.isinf(exponent):
        profile = np.sqrt(np.maximum(scale**2 - at**2, 0))
    else:  # seen from the side: summed along y
        step = at[1] - at[0]
        profile = np.array([np.exp(-((np.hypot(x, at) / scale) ** exponent)).sum() * step for x in at])
    frequencies = np.linspace(0, 5.5, 1101)
    transfer = np.cos(2 * np.pi * frequencies[:, None] * at) @ profile
    return frequencies, transfer / transfer[0]


def _fit_round(ring_power: Floats) -> tuple[Floats, NDArray[np.intp], Floats]:
    """For every round candidate: its cost, the index of its slope, and its noise power."""
    _, counts, _ = _rings()
    transfer = _round_blurs()[1]
    shape = (transfer + _LEAKAGE)[:, None] * (_RINGS / BLOCK).astype(np.float32) ** (-2 * _SLOPES[None, :, None])
    lowest = np.sort(ring_power)[: len(ring_power) // 5].min()
    cost = np.full(shape.shape[:2], np.inf, np.float32)
    noise = np.zeros_like(cost)
    for share in _NOISES:
        floor = share * lowest + np.float32(1e-10)
        found = _amplitude_cost(ring_power, counts, shape, floor)
        noise = np.where(found < cost, floor, noise)
        cost = np.minimum(cost, found)
    cost = cost + _slope_cost(_SLOPES)
    best = cost.argmin(1)
    rows = np.arange(len(cost))
    return cost[rows, best], best, noise[rows, best]


def _slope_cost(slopes: Floats | float) -> Floats:
    return np.asarray(_SLOPE_WEIGHT * ((slopes - _SLOPE) / _SLOPE_SPREAD) ** 2 / 2, np.float32)


def _amplitude_cost(power: Floats, counts: Floats, shape: Floats, floor: np.float32, rounds: int = 5) -> Floats:
    """The cost of S = A · shape + floor with the best A, found by reweighted least squares; one for each leading index."""
    amplitude = (shape @ (counts * np.maximum(power - floor, 0) / power**2)) / ((shape * shape) @ (counts / power**2))
    amplitude = np.maximum(amplitude, 1e-14)
    excess = counts * (power - floor)
    for _ in range(rounds):
        weighted = shape / np.square(amplitude[..., None] * shape + floor)
        better = (weighted @ excess) / ((weighted * shape) @ counts)
        amplitude = np.where(better > 0, np.sqrt(amplitude * np.maximum(better, 1e-14)), amplitude / 2)
    model = amplitude[..., None] * shape + floor
    cost: Floats = np.log(model) @ counts + (1 / model) @ (counts * power)
    return cost


# Motion: on means over small cells of the half plane


@dataclass(frozen=True)
class _Cells:
    index: NDArray[np.intp]
    """Of each frequency that is used, its cell."""
    used: NDArray[np.bool_]
    counts: Floats
    x: Floats
    y: Floats
    """Mean frequency, cycles a pixel."""
    frequency: Floats
    sector_starts: NDArray[np.intp]
    """Cells are ordered by direction; where each sector begins."""


@cache
def _cells() -> _Cells:
    y, x = np.broadcast_arrays(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None])
    radius = np.hypot(y, x)
    used = (np.abs(y) * BLOCK >= 1.5) & (x * BLOCK >= 1.5) & (radius >= 0.03) & (radius <= _HIGHEST)
    key = np.floor(y[used] * BLOCK / _CELL).astype(int) * 1000 + np.floor(x[used] * BLOCK / _CELL).astype(int)
    _, index = np.unique(key, return_inverse=True)
    counts = np.bincount(index)
    mean_x, mean_y = np.bincount(index, x[used]) / counts, np.bincount(index, y[used]) / counts
    sector = np.floor((np.arctan2(mean_y, mean_x) / np.pi % 1) * _SECTORS).astype(int) % _SECTORS
    order = np.argsort(sector, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    starts = np.searchsorted(sector[order], np.arange(_SECTORS))
    fields = (counts[order], mean_x[order], mean_y[order], np.hypot(mean_x, mean_y)[order])
    counts, mean_x, mean_y, frequency = (a.astype(np.float32) for a in fields)  # type: ignore[assignment]
    return _Cells(rank[index], used, counts, mean_x, mean_y, frequency, starts)  # type: ignore[arg-type]


def _line_power(length: NDArray[np.float64], angle: NDArray[np.float64]) -> Floats:
    """|H|² of straight motion on the cells, averaged over the window's main lobe; angles as in a `Psf`, in radians."""
    cells = _cells()
    along = np.cos(angle)[:, None] * cells.x - np.sin(angle)[:, None] * cells.y
    power = np.zeros(along.shape, np.float32)
    for offset, weight in ((-1.2, 0.25), (0.0, 0.5), (1.2, 0.25)):
        power += weight * np.sinc(length[:, None] * (along + offset / BLOCK)).astype(np.float32) ** 2
    return power


@cache
def _coarse_lines() -> tuple[NDArray[np.float64], NDArray[np.float64], Floats]:
    lengths = np.exp(np.arange(math.log(_SHORTEST_PX), math.log(_LONGEST_PX), 0.13))
    length, angle = (a.ravel() for a in np.meshgrid(lengths, np.radians(np.arange(0, 180, 6)), indexing="ij"))
    return length, angle, _line_power(length, angle)


def _cost_on_cells(power: Floats, transfer: Floats, slopes: Floats, noises: Floats, rounds: int) -> Floats:
    """The least cost of each |H|² (candidates, cells) over the slopes and noises."""
    cells = _cells()
    lowest = np.sort(power)[: len(power) // 40].mean()
    best = np.full(len(transfer), np.inf, np.float32)
    for slope in slopes:
        shape = (transfer + np.float32(_LEAKAGE)) * cells.frequency ** (-2 * slope)
        for share in noises:
            cost = _amplitude_cost(power, cells.counts, shape, np.float32(share * lowest + 1e-10), rounds)
            best = np.minimum(best, cost + _slope_cost(slope))
    return best


def _cost_without_blur(power: Floats) -> float:
    """The cost of a picture without blur whose directions differ: each sector has its own amplitude and slope."""
    cells = _cells()
    ends = [*cells.sector_starts[1:], len(power)]
    lowest = np.sort(power)[: len(power) // 40].mean()
    totals = []
    for share in _COARSE_NOISES:
        total = 0.0
        for start, end in zip(cells.sector_starts, ends, strict=True):
            part = slice(int(start), int(end))
            shape = cells.frequency[part] ** (-2 * _SLOPES[:, None])
            costs = _amplitude_cost(power[part], cells.counts[part], shape, np.float32(share * lowest + 1e-10))
            total += float((costs + _slope_cost(_SLOPES) / _SECTORS).min())
        totals.append(total)
    return min(totals)


def _best_line(power: Floats) -> tuple[float, float, float]:
    """Cost, length in pixels and angle in degrees of the best straight motion."""
    length, angle, transfer = _coarse_lines()
    costs = _cost_on_cells(power, transfer, np.array([1.2], np.float32), np.array([0.6], np.float32), 2)
    best = (math.inf, 0.0, 0.0)
    for start in _distinct(costs, length, angle, 3):
        here = (math.inf, float(length[start]), float(angle[start]))
        for step in (1.0, 0.5, 0.2):
            lengths = here[1] * np.exp(np.array([-1, -0.5, 0, 0.5, 1]) * 0.1 * step)
            angles = here[2] + np.radians(np.array([-1, -0.5, 0, 0.5, 1]) * 5.0 * step)
            ls, ts = (a.ravel() for a in np.meshgrid(lengths, angles))
            found = _cost_on_cells(power, _line_power(ls, ts), np.array([1.0, 1.3], np.float32), np.array([0.3, 0.7, 0.95], np.float32), 3)
            i = int(found.argmin())
            here = (float(found[i]), float(ls[i]), float(ts[i]))
        best = min(best, here)
    return best[0], best[1], math.degrees(best[2]) % 180


def _distinct(costs: Floats, length: NDArray[np.float64], angle: NDArray[np.float64], most: int) -> list[int]:
    """Indices of the best candidates that are not neighbours of a better one."""
    chosen: list[int] = []
    for i in np.argsort(costs):
        turned = [abs((angle[i] - angle[j] + math.pi / 2) % math.pi - math.pi / 2) for j in chosen]
        if all(abs(math.log(length[i] / length[j])) > 0.3 or t > math.radians(10) for j, t in zip(chosen, turned, strict=True)):
            chosen.append(int(i))
            if len(chosen) == most:
                break
    return chosen


def on_rings(power: Power) -> Floats:
    """(128, 65) -> the mean of each ring."""
    indices, counts, weights = _rings()
    return np.array([(power[i] * w).sum() for i, w in zip(indices, weights, strict=True)], np.float32) / counts


def on_cells(power: Power) -> Floats:
    """(128, 65) -> the mean of each cell."""
    cells = _cells()
    total = np.bincount(cells.index, power[cells.used])
    return (total / np.bincount(cells.index)).astype(np.float32)
