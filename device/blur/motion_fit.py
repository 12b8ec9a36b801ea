"""Fit straight motion to a mean periodogram, and tell it from long edges and from hand shake."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.blur.frequency_groups import SECTORS, Floats, Groups, frequencies, grouped, off_axes, sector
from device.blur.kernels import Kernel, path_kernel
from device.blur.likelihood import LEAKAGE, NOISES, SLOPES, amplitude_costs, slope_cost
from device.blur.psf import UNCLEAR, Psf
from device.blur.spectrum import BLOCK

LEAST_GAIN = 250.0
"""Of a line over no blur, nats. Longer lines must gain more: they have more lobes to fit something else with."""
_MORE_FROM_PX = 16.0
_HIGHEST = 0.40  # cycles a pixel
_CELL = 2  # frequencies a side that are averaged
_SHORTEST_PX, _LONG_PX, _LONGEST_PX = 3.0, 12.0, 60.0
_BEND_DEG = 60.0  # an arc of this bend fits hand shake better than a line
_SLIGHT_FROM_PX, _SLIGHT_BEND_DEG, _SLIGHT_MARGIN = 14.0, 30.0, 30.0  # long paths show slighter bends; the margin in nats
_LEAST_OVER_RIDGE = -70.0  # the ridges have more parameters: true motion gained -61 or more over them, edges -83 or less


@cache
def cells() -> Groups:
    """Ordered by sector."""
    y, x = frequencies()
    radius = np.hypot(y, x)
    used = off_axes() & (radius >= 0.03) & (radius <= _HIGHEST)
    rows = np.floor(y * BLOCK / _CELL).astype(np.intp) + BLOCK
    key = (sector() * 10 * BLOCK + rows) * 10 * BLOCK + np.floor(x * BLOCK / _CELL).astype(np.intp)
    _, index = np.unique(key[used], return_inverse=True)
    numbers = np.zeros(used.shape, np.intp)
    numbers[used] = index
    return grouped(used, numbers, int(index.max()) + 1)


@cache
def _cell_sectors() -> tuple[slice, ...]:
    groups = cells()
    sectors = np.floor((np.arctan2(groups.y, groups.x) / np.pi % 1) * SECTORS).astype(int) % SECTORS
    starts = [int(np.argmax(sectors == s)) for s in range(SECTORS)]
    return tuple(slice(a, b) for a, b in zip(starts, [*starts[1:], len(sectors)], strict=True))


def _line_power(length: NDArray[np.float64], angle: NDArray[np.float64]) -> Floats:
    """|H|² of straight motion on the cells, averaged over the window's main lobe; angles as in a `Psf`, in radians."""
    groups = cells()
    lengths, cos, sin = (part[:, None].astype(np.float32) for part in (length, np.cos(angle), np.sin(angle)))
    along = cos * groups.x - sin * groups.y
    power = np.zeros(along.shape, np.float32)
    for offset, weight in ((-1.2, 0.25), (0.0, 0.5), (1.2, 0.25)):
        power += np.float32(weight) * np.square(np.sinc(lengths * (along + np.float32(offset / BLOCK))))
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
    groups = cells()
    lowest = np.sort(power)[: len(power) // 40].mean()
    best = np.full(len(transfer_power), np.inf, np.float32)
    for slope in slopes:
        signal = (transfer_power + LEAKAGE) * groups.frequency ** np.float32(-2 * slope)
        for share in noises:
            best = np.minimum(best, amplitude_costs(power, groups.counts, signal, np.float32(share * lowest + 1e-10), rounds))
    return best


def cost_by_sector(power: Floats, transfer_power: Floats) -> float:
    """The cost of one |H|² on the cells with an amplitude and a slope for each direction."""
    groups = cells()
    lowest = np.sort(power)[: len(power) // 40].mean()
    floors = (NOISES * lowest + np.float32(1e-10))[:, None, None]
    totals = np.zeros(len(NOISES))
    for part in _cell_sectors():
        signal = (transfer_power[part] + LEAKAGE) * groups.frequency[part] ** (-2 * SLOPES[:, None])
        costs = amplitude_costs(power[part], groups.counts[part], signal, floors)
        totals += (costs + slope_cost(SLOPES) / SECTORS).min(axis=-1)
    return float(totals.min())


def best_line(power: Floats) -> tuple[float, Psf]:
    """The gain over no blur of the best straight motion, and its PSF.

    With one amplitude for all directions, directions of the picture itself pass for short motion; with an amplitude for each
    direction, long edges pass for long motion. Motion gains both ways.
    """
    length, angle, transfer_power = _coarse_lines()
    costs = _line_costs(power, transfer_power, (1.2,), (0.6,), 2)
    none = np.ones((1, len(power)), np.float32)
    without, alike = cost_by_sector(power, none[0]), float(_line_costs(power, none, SLOPES, NOISES, 3)[0])
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
        cost = float(_line_costs(power, line, SLOPES, NOISES, 3)[0])
        gain = min(without - cost_by_sector(power, line[0]), alike - cost)
        if size > _LONG_PX:  # without its zeros, it may be long edges
            ridge = float(_line_costs(power, _ridges(size, turn), SLOPES, NOISES, 3).min())
            if ridge - cost < _LEAST_OVER_RIDGE:
                continue
        if gain > max(best[0], LEAST_GAIN * size / _MORE_FROM_PX):
            best = (gain, Psf("motion", size, math.degrees(turn) % 180))
    if best[0] > LEAST_GAIN and _is_bent(power, best[1]):
        return -math.inf, UNCLEAR
    return best


def _is_bent(power: Floats, line: Psf) -> bool:
    """Whether an arc fits better than the line: then it is hand shake, and undoing it as a line costs decibels."""
    straight = cost_by_sector(power, _arc_power(line, 0.0))
    bends = ((_BEND_DEG, 0.0),) if line.size_px < _SLIGHT_FROM_PX else ((_BEND_DEG, 0.0), (_SLIGHT_BEND_DEG, _SLIGHT_MARGIN))
    return any(cost_by_sector(power, _arc_power(line, math.radians(bend))) < straight - margin for bend, margin in bends)


def _ridges(length: float, angle: float) -> Floats:
    """What long edges at this angle do to a spectrum on the cells: as motion of about this length, but without its zeros."""
    groups = cells()
    along = (math.cos(angle) * groups.x - math.sin(angle) * groups.y) * length
    ridges = [np.exp(-np.square(along * width)) + rest for width in (0.5, 1.0, 2.0) for rest in (0.03, 0.1, 0.3)]
    return np.array(ridges, np.float32)


def _arc_power(line: Psf, bend: float) -> Floats:
    """|H|² on the cells of motion along an arc as long as the line, which turns by `bend` radians from end to end."""
    points = max(64, round(32 * line.size_px))
    t = (np.arange(points) + 0.5) / points - 0.5
    turn = bend * t - math.radians(line.angle_deg)
    x, y = (np.cumsum(part) * line.size_px / points for part in (np.cos(turn), np.sin(turn)))
    return kernel_power(path_kernel((x - x.mean(), y - y.mean())))


def kernel_power(kernel: Kernel) -> Floats:
    """|H|² of any kernel on the cells, averaged over the window's main lobe. What is larger than a block is cut off."""
    room = np.zeros((BLOCK, BLOCK))
    cut = max(0, len(kernel) - BLOCK + 1) // 2
    kernel = kernel[cut : cut + BLOCK, cut : cut + BLOCK]
    room[: len(kernel), : len(kernel)] = kernel
    power = np.square(np.abs(np.fft.rfft2(room)))
    power = 0.25 * np.roll(power, 1, 0) + 0.5 * power + 0.25 * np.roll(power, -1, 0)
    power[:, 1:-1] = 0.25 * power[:, :-2] + 0.5 * power[:, 1:-1] + 0.25 * power[:, 2:]
    return cells().means(power.astype(np.float32))


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
