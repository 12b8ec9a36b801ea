"""How sharp pictures become blurred ones: what the demo, the self-check, training and the test cases all draw from.

Pictures are (height, width, channels); floats are sRGB values with 1.0 for white unless a name says otherwise.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.frame import Pixels

Plane = NDArray[np.float32]


def gaussian_taps(sigma: float) -> NDArray[np.float64]:
    """The 1-D Gaussian of standard deviation `sigma` pixels, cut at 4 sigma, summing to 1."""
    reach = math.ceil(4 * sigma)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def gaussian_blur(picture: Plane, sigma: float) -> Plane:
    """Convolve with a Gaussian of `sigma` pixels; borders are mirrored (edge pixel repeated)."""
    if sigma <= 0:
        return picture
    taps = gaussian_taps(sigma)
    return cv2.sepFilter2D(picture, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def to_float(pixels: Pixels) -> Plane:
    """uint8 -> float32, 255 becomes 1.0."""
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)


def to_pixels(picture: Plane) -> Pixels:
    """float32 -> uint8, rounded and saturated."""
    return cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)  # type: ignore[return-value, call-overload]


def add_noise(picture: Plane, sigma: float, rng: np.random.Generator) -> Plane:
    """Add white Gaussian noise of standard deviation `sigma` (2/255 is the classical literature's)."""
    return picture + np.float32(sigma) * rng.standard_normal(picture.shape, dtype=np.float32)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Through OpenCV's JPEG encoder (4:2:0) and back."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])  # type: ignore[index]


@dataclass(frozen=True)
class GaussianCamera:
    """A camera out of focus as the literature draws it: Gaussian blur on sRGB values, then noise, then perhaps JPEG.

    Noise and JPEG are drawn independently of the blur; otherwise a model would learn to tell the cases by their noise.
    """

    sigma_px: tuple[float, float] = (0.3, 4.0)
    """Range of the blur's standard deviation, pixels, drawn uniformly."""
    sharp_share: float = 0.15
    """Share of pictures left without blur, so that a sharp frame is learned to pass unharmed."""
    noise: tuple[float, float] = (0.0, 3 / 255)
    """Range of the noise's standard deviation; a third of the pictures get none."""
    jpeg_share: float = 0.4
    """Share of pictures that go through JPEG."""
    jpeg_quality: tuple[int, int] = (60, 97)
    """Range of OpenCV's JPEG quality."""

    @property
    def margin_px(self) -> int:
        """Pixels beyond the picture that the blur reaches: blur a crop larger by this on every side, then trim."""
        return math.ceil(4 * self.sigma_px[1])

    def degrade(self, sharp: Pixels, rng: np.random.Generator, trim: int = 0) -> Pixels:
        """Blur `sharp` (height, width, 3), trim `trim` pixels from every side, then add what the camera adds."""
        is_sharp = rng.random() < self.sharp_share
        sigma = rng.uniform(*self.sigma_px)
        noise = max(0.0, rng.uniform(self.noise[0] - (self.noise[1] - self.noise[0]) / 2, self.noise[1]))
        quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
        through_jpeg = rng.random() < self.jpeg_share
        picture = gaussian_blur(to_float(sharp), 0.0 if is_sharp else sigma)
        picture = picture[trim : picture.shape[0] - trim, trim : picture.shape[1] - trim]
        pixels = to_pixels(add_noise(picture, noise, rng) if noise else picture)
        return jpeg(pixels, quality) if through_jpeg else pixels
