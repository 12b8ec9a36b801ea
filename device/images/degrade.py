"""Degrade sharp pictures: blur, noise, sharpening and JPEG, for the demo, the self-check, training and the test cases.

Pictures are (height, width, channels); floats are sRGB values with 1.0 for white unless a name says otherwise. A lens or a
shaking hand blurs in linear light, before the sensor adds noise and the camera sharpens and compresses.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.images.frame import Pixels

FloatImage = NDArray[np.float32]
Kernel = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B (ITU-R BT.601)."""

# The sRGB curve for 8-bit values (IEC 61966-2-1).
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)


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


def disk_kernel(radius: float, over: int = 8) -> Kernel:
    """Defocus: a disk of `radius` pixels, anti-aliased with `over` x `over` sub-pixels."""
    size = 2 * math.ceil(radius) + 3
    at = (np.arange(size * over) + 0.5) / over - size / 2
    inside = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float64)
    kernel = inside.reshape(size, over, size, over).mean((1, 3))
    return kernel / kernel.sum()


def shake_kernel(length: float, rng: np.random.Generator) -> Kernel:
    """Hand shake: a smooth random path of about `length` pixels at varying speed, centred on its centroid.

    The direction is a random walk (0.28 rad per pixel); the path is drawn with sub-pixel weights, 16 points per pixel.
    """
    steps = max(16, round(16 * length))
    angle = np.cumsum(rng.normal(0, 0.07, steps)) + rng.uniform(0, 2 * np.pi)
    speed = length / steps * (1 + 0.5 * np.sin(np.linspace(0, rng.uniform(3, 9), steps) + rng.uniform(0, 6)))
    x, y = np.cumsum(np.cos(angle) * speed), np.cumsum(np.sin(angle) * speed)
    x, y = x - x.mean(), y - y.mean()
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max())) + 1
    x, y = x + reach, y + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for dx in (0, 1):
        for dy in (0, 1):
            np.add.at(kernel, (top + dy, left + dx), np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top)))
    return kernel / kernel.sum()


def convolve(picture: FloatImage, kernel: Kernel) -> FloatImage:
    """Convolve every channel; borders are mirrored, with the edge pixel repeated."""
    return cv2.filter2D(picture, cv2.CV_32F, kernel[::-1, ::-1].astype(np.float32), borderType=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def gaussian_blur(picture: FloatImage, sigma: float) -> FloatImage:
    """Convolve with an isotropic Gaussian of `sigma` pixels; borders are mirrored, with the edge pixel repeated."""
    if sigma <= 0:
        return picture
    taps = gaussian_taps(sigma)
    return cv2.sepFilter2D(picture, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def to_float(pixels: Pixels) -> FloatImage:
    """uint8 -> float32; 255 becomes 1.0."""
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)


def to_pixels(picture: FloatImage) -> Pixels:
    """float32 -> uint8, rounded and clipped."""
    return cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)  # type: ignore[return-value, call-overload]


def to_luma(rgb: FloatImage) -> FloatImage:
    """(…, 3) -> (…, 1): BT.601 luma of sRGB values in full range, as in cameras and JPEG."""
    return (rgb @ LUMA)[..., None]


def to_linear(pixels: Pixels) -> FloatImage:
    """sRGB uint8 -> linear light; 255 becomes 1.0."""
    return _LINEAR[pixels]


def to_srgb(linear: FloatImage) -> FloatImage:
    """Linear light, clipped to 0..1, -> sRGB values."""
    v = np.clip(linear, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * cv2.pow(v, 1 / 2.4) - 0.055).astype(np.float32)  # type: ignore[operator]


def add_noise(picture: FloatImage, sigma: float, rng: np.random.Generator) -> FloatImage:
    """Add white Gaussian noise of standard deviation `sigma` (2/255 in the classical literature)."""
    return picture + np.float32(sigma) * rng.standard_normal(picture.shape, dtype=np.float32)


def add_sensor_noise(linear: FloatImage, shot: float, read: float, rng: np.random.Generator) -> FloatImage:
    """Add noise of variance `shot` * light + `read`², in linear light (Foi et al., 2008)."""
    sigma = cv2.sqrt(np.maximum(linear, 0) * np.float32(shot) + np.float32(read**2))
    return linear + sigma * rng.standard_normal(linear.shape, dtype=np.float32)


def sharpen(picture: FloatImage, amount: float) -> FloatImage:
    """Sharpen like a camera's signal processor: an unsharp mask of 1 pixel."""
    return picture + np.float32(amount) * (picture - gaussian_blur(picture, 1.0))


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Encode with OpenCV's JPEG encoder (4:2:0) and decode again."""
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])  # type: ignore[index]


def moving_object(linear: FloatImage, mask: FloatImage, kernel: Kernel) -> FloatImage:
    """Blur the object under `mask` (height, width, 1), including its outline; the background does not change."""
    cover = convolve(mask, kernel)[..., None]
    return convolve(linear * mask, kernel) + (1 - cover) * linear


KINDS = ("sharp", "gaussian", "literature", "defocus", "motion", "mixed", "object", "rolling")


@dataclass(frozen=True)
class CameraBlur:
    """Random degradations of a camera: a kind of blur drawn by `odds`, then noise, sharpening and JPEG, drawn independently.

    If noise and compression depended on the blur, a model would learn to recognise the kind of blur by its noise.
    """

    odds: tuple[float, ...] = (0.15, 0.09, 0.18, 0.16, 0.26, 0.06, 0.06, 0.04)
    """Probability of each of KINDS: sharp; Gaussian in linear light (half of them anisotropic); Gaussian on sRGB values, as in
    the classical literature; defocus; hand shake; hand shake after defocus; an object that moves in front of a still
    background; a shake that changes from row to row, as under a rolling shutter."""
    sigma_px: tuple[float, float] = (0.3, 4.0)
    """Standard deviation of Gaussians."""
    radius_px: tuple[float, float] = (0.5, 6.0)
    """Radius of defocus disks."""
    length_px: tuple[float, float] = (3.0, 35.0)
    """Length of hand-shake paths; short ones are drawn more often, as in real hands."""
    highlight_share: float = 0.25
    """Share of pictures whose brightest parts become up to 4 times brighter before the blur, like light sources."""
    noise: tuple[float, float] = (0.0, 3 / 255)
    """Standard deviation of noise on sRGB values; a third of the pictures get none."""
    sensor_share: float = 0.3
    """Share of the noisy pictures that get sensor noise instead (shot and read noise in linear light)."""
    sharpening: tuple[float, float] = (0.0, 0.5)
    """Amount of the camera's sharpening, applied to half of the pictures."""
    jpeg_share: float = 0.5
    jpeg_quality: tuple[int, int] = (60, 97)
    """OpenCV's JPEG quality."""

    @property
    def margin_px(self) -> int:
        """Pixels outside the picture that contribute most of the blur at its border: blur a crop larger by this, then trim."""
        return math.ceil(max(4 * self.sigma_px[1], self.radius_px[1] + 2, self.length_px[1] / 2 + 2))

    def degrade(self, sharp: Pixels, rng: np.random.Generator, trim: int = 0) -> Pixels:
        """Blur `sharp` (height, width, 3), trim `trim` pixels from every side, then add the effects of sensor and camera."""
        kind = KINDS[int(rng.choice(len(KINDS), p=self.odds))]
        noise = max(0.0, rng.uniform(self.noise[0] - (self.noise[1] - self.noise[0]) / 2, self.noise[1]))
        from_sensor = rng.random() < self.sensor_share
        amount = max(0.0, rng.uniform(self.sharpening[0] - (self.sharpening[1] - self.sharpening[0]), self.sharpening[1]))
        as_jpeg = rng.random() < self.jpeg_share
        quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
        bright = rng.random() < self.highlight_share
        inside = np.s_[trim : sharp.shape[0] - trim, trim : sharp.shape[1] - trim]
        if kind in ("sharp", "literature"):
            srgb = to_float(sharp) if kind == "sharp" else gaussian_blur(to_float(sharp), rng.uniform(*self.sigma_px))
            srgb = srgb[inside]
        else:
            linear = self._optics(to_linear(sharp), kind, bright, rng)[inside]
            if from_sensor and noise:  # a mid-grey of 0.18 then has about half of that noise on sRGB values
                linear = add_sensor_noise(linear, 0.7 * noise**2, 0.2 * noise, rng)
                noise = 0.0
            srgb = to_srgb(linear)
        if noise:
            srgb = add_noise(srgb, noise, rng)
        if amount:
            srgb = sharpen(srgb, amount)
        pixels = to_pixels(np.ascontiguousarray(srgb))
        return jpeg(pixels, quality) if as_jpeg else pixels

    def _optics(self, linear: FloatImage, kind: str, bright: bool, rng: np.random.Generator) -> FloatImage:
        if bright:
            clipped = np.clip((linear.min(2, keepdims=True) - 0.9) / 0.1, 0, 1)  # only the parts that are white in the photograph
            linear = linear + clipped * np.float32(rng.uniform(0, 3))
        match kind:
            case "gaussian":
                sigma = rng.uniform(*self.sigma_px)
                flatness = rng.uniform(0.4, 1.0) if rng.random() < 0.5 else 1.0
                return convolve(linear, gaussian_kernel(sigma, max(0.3, sigma * flatness), rng.uniform(0, np.pi)))
            case "defocus":
                return convolve(linear, disk_kernel(rng.uniform(*self.radius_px)))
            case "motion":
                return convolve(linear, shake_kernel(self._length(rng), rng))
            case "mixed":
                return convolve(convolve(linear, disk_kernel(rng.uniform(0.5, 2.5))), shake_kernel(0.6 * self._length(rng), rng))
            case "object":
                return moving_object(
                    linear, _soft_ellipse(linear.shape[0], linear.shape[1], rng), shake_kernel(self._length(rng), rng)
                )
            case _:
                length = self._length(rng)
                above, below = convolve(linear, shake_kernel(length, rng)), convolve(linear, shake_kernel(length, rng))
                share = np.linspace(0, 1, linear.shape[0], dtype=np.float32)[:, None, None]
                return above * (1 - share) + below * share

    def _length(self, rng: np.random.Generator) -> float:
        low, high = self.length_px
        return float(low + (high - low) * rng.random() ** 2)


BLURS = {
    "camera": CameraBlur(),
    "gaussian": CameraBlur(odds=(0.15, 0.25, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0)),
    "defocus": CameraBlur(odds=(0.15, 0.1, 0.0, 0.75, 0.0, 0.0, 0.0, 0.0)),
    "motion": CameraBlur(odds=(0.15, 0.0, 0.0, 0.05, 0.6, 0.05, 0.1, 0.05)),
    "tutorial": CameraBlur(
        odds=(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        sigma_px=(1.0, 2.5),
        noise=(0.0, 0.0),
        sharpening=(0.0, 0.0),
        jpeg_share=0.0,
    ),
}
"""Choices of `train --blur`. `tutorial` is the plain Gaussian blur that `dense` is trained on."""


def _soft_ellipse(height: int, width: int, rng: np.random.Generator) -> FloatImage:
    """(height, width, 1): 1 inside a random ellipse, 0 outside, with a soft edge of a few pixels."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cy, cx = rng.uniform(0.1, 0.9) * height, rng.uniform(0.1, 0.9) * width
    ry, rx = rng.uniform(0.2, 0.6) * height, rng.uniform(0.2, 0.6) * width
    distance = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
    edge_px = rng.uniform(0.5, 3.0)
    return np.clip((1 - distance) * min(rx, ry) / edge_px + 0.5, 0, 1)[..., None].astype(np.float32)
