"""Estimate the blur of a camera from the power spectrum of its pictures.

Sharp pictures have spectra that fall like a power of the frequency (Field, 1987). A blur multiplies them by |H|², and noise adds
a constant:

    S(f) = A · |f|^(-2a) · (|H(f)|² + leakage) + n

A and a are fitted for each direction by itself, since pictures have directions too. Each candidate blur is judged by its
Whittle likelihood, the sum of log S + P / S over the frequencies (Whittle, 1953), where P is the mean periodogram. What the best
one gains over "no blur" says how sure it is. Costs and gains are in nats of one spectrum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.blur.kernels import Kernel, path_kernel
from device.blur.light import Plane
from device.blur.psf import BLIND, UNCLEAR, Psf
from device.blur.spectrum import AS_IS, BLOCK, LINEAR, Power, Spectrum

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

_LEAKAGES = (np.float32(0.001), np.float32(0.01))
"""Of the window, and what JPEG adds in proportion to the picture: zeros of |H|² are never empty in a periodogram."""
_LEAKAGE = _LEAKAGES[1]
_SLOPES = np.array([0.7, 0.9, 1.1, 1.3, 1.5, 1.8], np.float32)
_SLOPE, _SLOPE_SPREAD, _SLOPE_WEIGHT = 1.2, 0.25, 30.0
"""Photographs: amplitude falls as f^-1.2, with this standard deviation between pictures; the weight is by experiment (val)."""
_NOISES = np.array([0.05, 0.5, 0.8, 1.0], np.float32)
"""Shares of the lowest power that was seen."""
_SECTORS = 8
_RINGS = np.array([*range(4, 17), *range(18, 64, 2)])  # starts, in units of 1/128 cycle a pixel
_HIGHEST_LINE = 0.40  # cycles a pixel, for motion
_CELL = 2  # frequencies a side that are averaged for motion
_SHORTEST_PX, _LONG_PX, _LONGEST_PX = 3.0, 12.0, 60.0
_LEAST_SPREAD_PX = 0.7  # pictures have a softness of their own
_LENS_SHARE = 0.93  # of its gain counts: a lens fits nearly as well wherever a Gaussian or a disk is right
_LEAST_GAIN, _LEAST_LINE_GAIN, _SURE_GAIN = 150.0, 250.0, 250.0
_LEAST_FIT = -100.0
_BEND_DEG = 60.0  # an arc of this bend fits hand shake better than a line
_CLEAR_DISK_PX, _DISK_EVIDENCE = 2.5, 0.5  # a disk whose first zero is seen is a lens, so it blurs light
_LEAST_OVER_RIDGE = -70.0  # the ridges have more parameters: true motion gained -61 or more over them, edges -83 or less


@dataclass(frozen=True)
class _Bins:
    """Groups of frequencies of the half plane whose power is averaged."""

    index: Ints
    """Of each frequency that is used, its group."""
    used: NDArray[np.bool_]
    counts: Floats
    x: Floats
    y: Floats
    """Mean frequency, cycles a pixel."""
    frequency: Floats

    def means(self, power: Power) -> Floats:
        """(128, 65) -> the mean power of each group."""
        return (np.bincount(self.index, power[self.used], len(self.counts)) / np.maximum(self.counts, 1)).astype(np.float32)


def _bins(used: NDArray[np.bool_], key: NDArray[np.intp], groups: int) -> _Bins:
    y, x = _frequencies()
    index, counts = key[used], np.bincount(key[used], minlength=groups)
    mean_x, mean_y, frequency = (
        np.bincount(index, values[used], groups) / np.maximum(counts, 1) for values in (x, y, np.hypot(x, y))
    )
    fields = (counts.astype(np.float32), mean_x.astype(np.float32), mean_y.astype(np.float32), frequency.astype(np.float32))
    return _Bins(index, used, *fields)


@cache
def _frequencies() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.broadcast_arrays(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None])
    return y, x


def _off_axes() -> NDArray[np.bool_]:
    """The axes are left out: that is where borders of pictures, screens and scan lines are."""
    y, x = _frequencies()
    return (np.abs(y) * BLOCK >= 1.5) & (x * BLOCK >= 1.5)


def _sector() -> Ints:
    y, x = _frequencies()
    return np.floor((np.arctan2(y, x) / np.pi % 1) * _SECTORS).astype(np.intp) % _SECTORS


# Round blurs: on sectors of rings


@cache
def _rings() -> _Bins:
    """(sector, ring) in one index; a ring that a sector does not have has no frequencies."""
    y, x = _frequencies()
    radius = np.hypot(y, x) * BLOCK
    ring = np.searchsorted(_RINGS - 0.5, radius, side="right") - 1
    used = _off_axes() & (ring >= 0) & (radius < _RINGS[-1] + 1.5)
    return _bins(used, _sector() * len(_RINGS) + np.maximum(ring, 0), _SECTORS * len(_RINGS))


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
    return psfs, _round_power(psfs, _rings().frequency)


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
    """The cost of each |H|² (candidates, groups of `_rings`), and the power of the noise that goes with it."""
    rings = _rings()
    shape = (_SECTORS, len(_RINGS))
    counts, seen, frequency = rings.counts.reshape(shape), power.reshape(shape), rings.frequency.reshape(shape)
    base = np.where(counts > 0, np.maximum(frequency, 1e-3), 1) ** (-2 * _SLOPES[:, None, None])
    lowest = np.sort(power[rings.counts > 0])[: len(power) // 40].mean()
    prior = _slope_cost(_SLOPES)[:, None] / _SECTORS
    cost, noise = np.full(len(transfer_power), np.inf, np.float32), np.zeros(len(transfer_power), np.float32)
    for leakage in leakages:
        signal = (transfer_power.reshape(-1, 1, *shape) + leakage) * base
        for share in _NOISES:
            floor = np.float32(share * lowest + 1e-10)
            found = (_amplitude_costs(seen, counts, signal, floor, rounds) + prior).min(1).sum(-1)
            noise = np.where(found < cost, floor, noise)
            cost = np.minimum(cost, found)
    return cost, noise


def _slope_cost(slopes: Floats) -> Floats:
    return (_SLOPE_WEIGHT / 2 * np.square((slopes - _SLOPE) / _SLOPE_SPREAD)).astype(np.float32)


def _amplitude_costs(power: Floats, counts: Floats, signal: Floats, floor: np.float32, rounds: int = 3) -> Floats:
    """The cost of S = A · signal + floor with the best A, by reweighted least squares; sums run over the last axis."""
    weight = counts / np.square(np.maximum(power, 1e-12))
    squared = np.square(signal)
    amplitude = _dot(signal, weight * np.maximum(power - floor, 0)) / np.maximum(_dot(squared, weight), 1e-20)
    amplitude = np.maximum(amplitude, 1e-14)
    excess = counts * (power - floor)
    for _ in range(rounds):
        weight = np.float32(1) / np.square(amplitude[..., None] * signal + floor)
        better = _dot(signal * weight, excess) / np.maximum(_dot(squared * weight, counts), 1e-20)
        amplitude = np.where(better > 0, np.sqrt(amplitude * np.maximum(better, 1e-14)), amplitude / 2)
    model = amplitude[..., None] * signal + floor
    return _dot(np.log(model), counts) + _dot(np.float32(1) / model, counts * power)


def _dot(one: NDArray[np.floating], other: NDArray[np.floating]) -> Floats:
    return np.einsum("...k,...k->...", one, other)  # type: ignore[no-any-return]


# Motion: on small cells


@cache
def _cells() -> _Bins:
    """Ordered by sector."""
    y, x = _frequencies()
    radius = np.hypot(y, x)
    used = _off_axes() & (radius >= 0.03) & (radius <= _HIGHEST_LINE)
    rows = np.floor(y * BLOCK / _CELL).astype(np.intp) + BLOCK
    key = (_sector() * 10 * BLOCK + rows) * 10 * BLOCK + np.floor(x * BLOCK / _CELL).astype(np.intp)
    _, index = np.unique(key[used], return_inverse=True)
    groups = np.zeros(used.shape, np.intp)
    groups[used] = index
    return _bins(used, groups, int(index.max()) + 1)


@cache
def _cell_sectors() -> tuple[slice, ...]:
    cells = _cells()
    sector = np.floor((np.arctan2(cells.y, cells.x) / np.pi % 1) * _SECTORS).astype(int) % _SECTORS
    starts = [int(np.argmax(sector == s)) for s in range(_SECTORS)]
    return tuple(slice(a, b) for a, b in zip(starts, [*starts[1:], len(sector)], strict=True))


def _line_power(length: NDArray[np.float64], angle: NDArray[np.float64]) -> Floats:
    """|H|² of straight motion on the cells, averaged over the window's main lobe; angles as in a `Psf`, in radians."""
    cells = _cells()
    along = np.cos(angle)[:, None] * cells.x - np.sin(angle)[:, None] * cells.y
    power = np.zeros(along.shape, np.float32)
    for offset, weight in ((-1.2, 0.25), (0.0, 0.5), (1.2, 0.25)):
        power += np.float32(weight) * np.square(np.sinc(length[:, None] * (along + offset / BLOCK))).astype(np.float32)
    return power


@cache
def _coarse_lines() -> tuple[NDArray[np.float64], NDArray[np.float64], Floats]:
    lengths = np.exp(np.arange(math.log(_SHORTEST_PX), math.log(_LONGEST_PX), 0.13))
    length, angle = (a.ravel() for a in np.meshgrid(lengths, np.radians(np.arange(0, 180, 6)), indexing="ij"))
    return length, angle, _line_power(length, angle)


def _line_costs(
    power: Floats, transfer_power: Floats, slopes: Sequence[float] | Floats, noises: Sequence[float] | Floats, rounds: int
) -> Floats:
    """The cost of each |H|² (candidates, cells) with one amplitude for all directions: cheap, to search with."""
    cells = _cells()
    lowest = np.sort(power)[: len(power) // 40].mean()
    best = np.full(len(transfer_power), np.inf, np.float32)
    for slope in slopes:
        signal = (transfer_power + _LEAKAGE) * cells.frequency ** np.float32(-2 * slope)
        for share in noises:
            best = np.minimum(best, _amplitude_costs(power, cells.counts, signal, np.float32(share * lowest + 1e-10), rounds))
    return best


def _cost_by_sector(power: Floats, transfer_power: Floats) -> float:
    """The cost of one |H|² on the cells with an amplitude and a slope for each direction."""
    cells = _cells()
    lowest = np.sort(power)[: len(power) // 40].mean()
    totals = []
    for share in _NOISES:
        floor = np.float32(share * lowest + 1e-10)
        total = 0.0
        for part in _cell_sectors():
            signal = (transfer_power[part] + _LEAKAGE) * cells.frequency[part] ** (-2 * _SLOPES[:, None])
            costs = _amplitude_costs(power[part], cells.counts[part], signal, floor)
            total += float((costs + _slope_cost(_SLOPES) / _SECTORS).min())
        totals.append(total)
    return min(totals)


def _best_line(power: Floats) -> tuple[float, Psf]:
    """The gain over no blur of the best straight motion, and its PSF.

    With one amplitude for all directions, directions of the picture itself pass for short motion; with an amplitude for each
    direction, long edges pass for long motion. Motion gains both ways.
    """
    length, angle, transfer_power = _coarse_lines()
    costs = _line_costs(power, transfer_power, (1.2,), (0.6,), 2)
    none = np.ones((1, len(power)), np.float32)
    without, alike = _cost_by_sector(power, none[0]), float(_line_costs(power, none, _SLOPES, _NOISES, 3)[0])
    best = (-math.inf, UNCLEAR)
    for start in _distinct(costs, length, angle, 4):
        size, turn = float(length[start]), float(angle[start])
        for step in (1.0, 0.5, 0.2):
            sizes = size * np.exp(np.array([-1, -0.5, 0, 0.5, 1]) * 0.1 * step)
            turns = turn + np.radians(np.array([-1, -0.5, 0, 0.5, 1]) * 5.0 * step)
            ls, ts = (a.ravel() for a in np.meshgrid(sizes, turns))
            i = int(_line_costs(power, _line_power(ls, ts), (1.2,), (0.3, 0.9), 2).argmin())
            size, turn = float(ls[i]), float(ts[i])
        if not _SHORTEST_PX <= size <= _LONGEST_PX:
            continue
        line = _line_power(np.array([size]), np.array([turn]))
        cost = float(_line_costs(power, line, _SLOPES, _NOISES, 3)[0])
        gain = min(without - _cost_by_sector(power, line[0]), alike - cost)
        if size > _LONG_PX:  # without its zeros, it may be long edges
            ridge = float(_line_costs(power, _ridges(size, turn), _SLOPES, _NOISES, 3).min())
            if ridge - cost < _LEAST_OVER_RIDGE:
                continue
        if gain > best[0]:
            best = (gain, Psf("motion", size, math.degrees(turn) % 180))
    if best[0] > _LEAST_LINE_GAIN:
        straight, bent = (_cost_by_sector(power, _arc_power(best[1], math.radians(bend))) for bend in (0, _BEND_DEG))
        if bent < straight:  # hand shake: undoing it as a line costs decibels
            return -math.inf, UNCLEAR
    return best


def _ridges(length: float, angle: float) -> Floats:
    """What long edges at this angle do to a spectrum on the cells: as motion of about this length, but without its zeros."""
    cells = _cells()
    along = (math.cos(angle) * cells.x - math.sin(angle) * cells.y) * length
    ridges = [np.exp(-np.square(along * width)) + rest for width in (0.5, 1.0, 2.0) for rest in (0.03, 0.1, 0.3)]
    return np.array(ridges, np.float32)


def _arc_power(line: Psf, bend: float) -> Floats:
    """|H|² on the cells of motion along an arc as long as the line, which turns by `bend` radians from end to end."""
    points = max(64, round(32 * line.size_px))
    t = (np.arange(points) + 0.5) / points - 0.5
    turn = bend * t - math.radians(line.angle_deg)
    x, y = (np.cumsum(part) * line.size_px / points for part in (np.cos(turn), np.sin(turn)))
    return _kernel_power(path_kernel((x - x.mean(), y - y.mean())))


def _kernel_power(kernel: Kernel) -> Floats:
    """|H|² of any kernel on the cells, averaged over the window's main lobe. What is larger than a block is cut off."""
    room = np.zeros((BLOCK, BLOCK))
    cut = max(0, len(kernel) - BLOCK + 1) // 2
    kernel = kernel[cut : cut + BLOCK, cut : cut + BLOCK]
    room[: len(kernel), : len(kernel)] = kernel
    power = np.square(np.abs(np.fft.rfft2(room)))
    power = 0.25 * np.roll(power, 1, 0) + 0.5 * power + 0.25 * np.roll(power, -1, 0)
    power[:, 1:-1] = 0.25 * power[:, :-2] + 0.5 * power[:, 1:-1] + 0.25 * power[:, 2:]
    return _cells().means(power.astype(np.float32))


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


@dataclass(frozen=True)
class Fit:
    """A candidate."""

    psf: Psf
    gain: float
    """In likelihood over no blur, nats."""
    misfit: float
    """How much worse it is than a model that has every mean power right, nats."""
    noise: float
    """Power of the noise, 1.0 for white."""


def _best_round(power: Floats, kind: str) -> Fit:
    """The best round blur of a kind. `power` is on `_rings`."""
    psfs, transfer_power = _coarse_power(kind)
    leakages = _LEAKAGES if kind == "gaussian" else _LEAKAGES[1:]
    costs, _ = _round_costs(power, transfer_power, leakages, 2)
    i = int(costs[1:].argmin()) + 1
    step = math.log(psfs[2].size_px / psfs[1].size_px)
    finer = tuple(
        replace(psfs[i], size_px=psfs[i].size_px * math.exp(step * share)) for share in (-0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75)
    )
    found, noise = _round_costs(power, _round_power((BLIND, *finer), _rings().frequency), leakages, 4)
    best = int(found[1:].argmin()) + 1
    counts = _rings().counts
    seen = counts > 0
    perfect = float((counts[seen] * (np.log(np.maximum(power[seen], 1e-20)) + 1)).sum())
    return Fit(finer[best - 1], float(found[0] - found[best]), float(found[best]) - perfect, float(noise[best]))


def candidates(spectrum: Spectrum) -> list[Fit]:
    """The best blur of each family: round in linear light, round in the values as they are, straight motion."""
    rings = _rings()
    linear, as_is = rings.means(spectrum.power[LINEAR]), rings.means(spectrum.power[AS_IS])
    fits = [_best_round(linear, kind) for kind in ("gaussian", "defocus", "lens")]
    fits = [replace(fit, gain=fit.gain * (_LENS_SHARE if fit.psf.kind == "lens" else 1)) for fit in fits]
    in_light = max(fits, key=lambda fit: fit.gain)
    stored = _best_round(as_is, "gaussian")
    gain, line = _best_line(_cells().means(spectrum.power[LINEAR]))
    noise = math.sqrt(stored.noise)
    return [
        replace(fit, psf=replace(psf, noise=noise, origin="auto"))
        for fit, psf in (
            (in_light, in_light.psf),
            (stored, replace(stored.psf, linear=False)),
            (Fit(line, gain, 0.0, 0.0), line),
        )
    ]


def estimate(spectrum: Spectrum) -> Psf:
    """The blur of the pictures in the spectrum; a blind one where none is clear."""
    if spectrum.blocks < 1:
        return UNCLEAR
    in_light, stored, line = candidates(spectrum)
    # The wrong light gains less and fits worse.
    evidence = math.log(max(in_light.gain, 1) / max(stored.gain, 1)) + math.log(max(stored.misfit, 1) / max(in_light.misfit, 1))
    if in_light.psf.kind == "defocus" and in_light.psf.size_px > _CLEAR_DISK_PX:
        evidence += _DISK_EVIDENCE
    best = in_light if evidence > 0 else stored
    if line.gain > _LEAST_LINE_GAIN and (line.gain > best.gain or _spread(best.psf) < _LEAST_SPREAD_PX):
        best = line
    if best.gain < _LEAST_GAIN or _spread(best.psf) < _LEAST_SPREAD_PX:
        return UNCLEAR
    return replace(best.psf, confidence=1 - math.exp(-best.gain / _SURE_GAIN))


def fits(spectrum: Spectrum, psf: Psf) -> bool:
    """Whether the pictures in the spectrum may have been blurred by this PSF: they are not far likelier without any blur."""
    power = _cells().means(spectrum.power[LINEAR if psf.linear else AS_IS])
    without = _cost_by_sector(power, np.ones(len(power), np.float32))
    return without - _cost_by_sector(power, _kernel_power(psf.kernel())) > _LEAST_FIT


def estimate_picture(plane: Plane) -> Psf:
    """The blur of one picture, (height, width) uint8 of sRGB values."""
    spectrum = Spectrum()
    spectrum.add(plane)
    return estimate(spectrum)


def _spread(psf: Psf) -> float:
    """Standard deviation along one axis, pixels."""
    return {"defocus": 0.5, "motion": 1 / math.sqrt(12)}.get(psf.kind, 1.0) * psf.size_px
