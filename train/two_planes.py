"""Batches for networks of two planes: brightness as seen, and the same deconvolved by what is told of the blur."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.images.degrade import to_float, to_luma
from device.images.frame import Pixels, luma_of
from train.batches import Crop, Patches, crop_with_margin
from train.told_psf import told_psf

MIRRORED_SHARE, INNER_SHARE = 0.2, 0.4
"""How a crop's borders come about: blurred from its own mirror image, as test pairs are; or none is seen, as in the middle of a
picture; else as a camera has them: light from outside went into the blur, but is not there to deconvolve."""


def planes_of(pixels: Pixels, psf: Psf) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 -> (h, w, 2): brightness as seen, and deconvolved as the board does it."""
    seen = luma_of(pixels)
    return cv2.merge([seen, Deconvolver(psf)(seen)])  # type: ignore[return-value]


def network_inputs(blurred: NDArray[np.float32], psfs: Sequence[Psf]) -> NDArray[np.float32]:
    """(n, h, w, 3) in 0..1, exact in 8 bits -> (n, h, w, 2)."""
    pixels = np.rint(blurred * 255).astype(np.uint8)
    return np.stack([to_float(planes_of(picture, psf)) for picture, psf in zip(pixels, psfs, strict=True)])


class PlanePatches(Patches):
    """As `Patches`, with inputs of (n, patch, patch, 2); sharp ones are brightness, (n, patch, patch, 1)."""

    def _compute_crop(self, index: int) -> tuple[Crop, Crop]:
        rng = np.random.default_rng([self._seed, index, 1])
        picture, top, left, height, width = self._place(rng)
        blurred, sharp = picture.blurred, picture.sharp
        inside = np.s_[top : top + height, left : left + width]
        if blurred is not None:
            return planes_of(np.ascontiguousarray(blurred[inside]), BLIND), _brightness(sharp[inside])
        border = rng.random()
        margin = 0 if border < MIRRORED_SHARE else self._blur.margin_px
        crop = crop_with_margin(sharp, top, left, height, width, margin)
        trim = margin if border >= MIRRORED_SHARE + INNER_SHARE else 0
        soft, truth = self._blur.degrade_with_psf(np.ascontiguousarray(crop), rng, trim=trim)
        planes = planes_of(soft, told_psf(truth, rng))
        rest = margin - trim
        return planes[rest : rest + height, rest : rest + width].copy(), _brightness(sharp[inside])


def _brightness(pixels: Pixels) -> Crop:
    return to_luma(to_float(np.ascontiguousarray(pixels)))[..., 0]
