"""How likely a mean periodogram is under S(f) = A · shape(f) + n (Whittle, 1953). Costs are negative log likelihoods in nats."""

import numpy as np
from numpy.typing import NDArray

from device.blur.frequency_groups import Floats

LEAKAGES = (np.float32(0.001), np.float32(0.01))
"""Of the window, and what JPEG adds in proportion to the picture: zeros of |H|² are never empty in a periodogram."""
LEAKAGE = LEAKAGES[1]
SLOPES = np.array([0.7, 0.9, 1.1, 1.3, 1.5, 1.8], np.float32)
NOISES = np.array([0.05, 0.5, 0.8, 1.0], np.float32)
"""Shares of the lowest power that was seen."""
_SLOPE, _SLOPE_SPREAD, _SLOPE_WEIGHT = 1.2, 0.25, 30.0
"""Photographs: amplitude falls as f^-1.2, with this standard deviation between pictures; the weight is by experiment (val)."""


def slope_cost(slopes: Floats) -> Floats:
    """What a slope costs because few photographs have it."""
    return (_SLOPE_WEIGHT / 2 * np.square((slopes - _SLOPE) / _SLOPE_SPREAD)).astype(np.float32)


def amplitude_costs(power: Floats, counts: Floats, signal: Floats, floor: np.float32 | Floats, rounds: int = 3) -> Floats:
    """The cost of S = A · signal + floor with the best A, by reweighted least squares; sums run over the last axis.

    Several floors broadcast against the signal.
    """
    weight = counts / np.square(np.maximum(power, 1e-12))
    squared = np.square(signal)
    amplitude = _dot(signal, weight * np.maximum(power - floor, 0)) / np.maximum(_dot(squared, weight), 1e-20)
    amplitude = np.maximum(amplitude, 1e-14)
    excess = counts * (power - floor)
    # In place: the memory of fresh arrays of this size costs as much as the arithmetic.
    model, ratio = np.empty((2, *np.broadcast_shapes(signal.shape, np.shape(floor))), np.float32)
    for _ in range(rounds):
        np.multiply(amplitude[..., None], signal, out=model)
        model += floor
        np.divide(signal, model, out=ratio)
        better = _dot(np.divide(ratio, model, out=model), excess)
        better /= np.maximum(_dot(np.square(ratio, out=ratio), counts), 1e-20)
        amplitude = np.where(better > 0, np.sqrt(amplitude * np.maximum(better, 1e-14)), amplitude / 2)
    np.multiply(amplitude[..., None], signal, out=model)
    model += floor
    return _dot(np.log(model, out=ratio), counts) + _dot(np.divide(np.float32(1), model, out=model), counts * power)


def _dot(one: NDArray[np.floating], other: NDArray[np.floating]) -> Floats:
    return np.einsum("...k,...k->...", one, other)  # type: ignore[no-any-return]
