"""Kernels of blurs: square arrays of odd side that sum to 1, centred on their middle pixel.

Angles are in radians from the positive x axis towards the positive y axis, which points down in a picture.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]
Path = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x and y of the points of a path, in pixels from its centroid."""


def gaussian_taps(sigma: float) -> NDArray[np.float64]:
    """The 1-D Gaussian of standard deviation `sigma` pixels, truncated at 4 sigma; the sum is 1."""
    reach = math.ceil(4 * sigma)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float) -> Kernel:
    """An anisotropic Gaussian, standard deviations in pixels, rotated by `angle` radians, truncated at 4 times the larger."""
    reach = math.ceil(4 * max(sigma_x, sigma_y))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return kernel / kernel.sum()


def lens_kernel(sigma: float, exponent: float, over: int = 4) -> Kernel:
    """A lens between a Gaussian (`exponent` 2) and a disk (large `exponent`): exp(-(r / a) ** exponent), a generalised Gaussian.

    `sigma` is its standard deviation along one axis, in pixels; anti-aliased by `over` sub-pixels a side. Measured lenses fit
    it better than either (Claxton & Staunton, 2008).
    """
    # The mean of r**2 under exp(-(r/a)**p) in two dimensions is a**2 * gamma(4/p) / gamma(2/p), and twice sigma**2.
    scale = sigma * math.sqrt(2 * math.gamma(2 / exponent) / math.gamma(4 / exponent))
    reach = math.ceil(min(4 * sigma, scale * 9 ** (1 / exponent)))  # exp(-9) is a ten-thousandth
    size = 2 * reach + 1
    at = (np.arange(size * over) + 0.5) / over - size / 2
    kernel = np.exp(-((np.hypot(at[:, None], at[None]) / scale) ** exponent))
    kernel = kernel.reshape(size, over, size, over).mean((1, 3))
    return kernel / kernel.sum()


def disk_kernel(radius: float, over: int = 8) -> Kernel:
    """Defocus: a disk of `radius` pixels, anti-aliased with `over` x `over` sub-pixels."""
    size = 2 * math.ceil(radius) + 3
    at = (np.arange(size * over) + 0.5) / over - size / 2
    inside = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float64)
    kernel = inside.reshape(size, over, size, over).mean((1, 3))
    return kernel / kernel.sum()


def line_kernel(length: float, angle: float) -> Kernel:
    """Uniform straight motion of `length` pixels at `angle` radians, drawn with sub-pixel weights, 32 points a pixel."""
    points = max(32, round(32 * length))
    t = ((np.arange(points) + 0.5) / points - 0.5) * length
    return path_kernel((t * np.cos(angle), t * np.sin(angle)))


def shake_kernel(length: float, rng: np.random.Generator) -> Kernel:
    """Hand shake: a smooth random path of about `length` pixels at varying speed, centred on its centroid.

    The direction is a random walk (0.28 rad per pixel); the path is drawn with sub-pixel weights, 16 points per pixel.
    """
    steps = max(16, round(16 * length))
    angle = np.cumsum(rng.normal(0, 0.07, steps)) + rng.uniform(0, 2 * np.pi)
    speed = length / steps * (1 + 0.5 * np.sin(np.linspace(0, rng.uniform(3, 9), steps) + rng.uniform(0, 6)))
    x, y = np.cumsum(np.cos(angle) * speed), np.cumsum(np.sin(angle) * speed)
    return path_kernel((x - x.mean(), y - y.mean()))


def path_kernel(path: Path) -> Kernel:
    """The kernel of a path whose points all take equally long, each drawn into the four pixels around it."""
    x, y = path
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max())) + 1
    x, y = x + reach, y + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for dx in (0, 1):
        for dy in (0, 1):
            np.add.at(kernel, (top + dy, left + dx), np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top)))
    return kernel / kernel.sum()


def both(first: Kernel, second: Kernel) -> Kernel:
    """The kernel that blurs like `first` and then `second`."""
    (large, small) = (first, second) if len(first) >= len(second) else (second, first)
    reach = len(small) // 2
    room = cv2.copyMakeBorder(large, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    kernel = cv2.filter2D(room, cv2.CV_64F, small[::-1, ::-1], borderType=cv2.BORDER_CONSTANT)
    return kernel / kernel.sum()


def covariance(kernel: Kernel) -> NDArray[np.float64]:
    """(2, 2) covariance of a kernel along x and y, pixels squared."""
    reach = len(kernel) // 2
    at = np.arange(-reach, reach + 1)
    across, down = kernel.sum(0), kernel.sum(1)
    x, y = (across * at).sum(), (down * at).sum()
    xy = at @ kernel.T @ at - x * y
    return np.array([[(across * at**2).sum() - x * x, xy], [xy, (down * at**2).sum() - y * y]])


def resized(kernel: Kernel, scale: float, turn: float = 0.0) -> Kernel:
    """The kernel drawn larger by `scale` and turned by `turn` radians about its centre; it sums to what it summed to."""
    side = len(kernel)
    reach = math.ceil(side / 2 * scale * (math.sqrt(2) if turn else 1))
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    middle = side // 2
    move = np.array([[cos, -sin, reach - cos * middle + sin * middle], [sin, cos, reach - sin * middle - cos * middle]])
    drawn: Kernel = cv2.warpAffine(kernel, move, (2 * reach + 1, 2 * reach + 1), flags=cv2.INTER_LINEAR)  # type: ignore[assignment]
    total = drawn.sum()
    return drawn * (kernel.sum() / total) if abs(total) > 1e-6 else drawn
