"""Batches for networks of two planes: brightness as seen, and the same deconvolved by what is told of the blur."""

from collections.abc import Sequence

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
    return Deconvolver(psf).with_seen(luma_of(pixels))


def network_inputs(blurred: NDArray[np.float32], psfs: Sequence[Psf]) -> NDArray[np.float32]:
    """(n, h, w, 3) in 0..1, exact in 8 bits -> (n, h, w, 2)."""
    pixels = np.rint(blurred * 255).astype(np.uint8)
    return np.stack([to_float(planes_of(picture, psf)) for picture, psf in zip(pixels, psfs, strict=True)])


class PlanePatches(Patches):
    """As `Patches`, with a deconvolved plane: the last channel of the blurred patches, of two with `luma`, else of four."""

    def _compute_crop(self, index: int) -> tuple[Crop, Crop]:
        rng = np.random.default_rng([self._seed, index, 1])
        picture, top, left, height, width = self._place(rng)
        blurred, sharp = picture.blurred, picture.sharp
        inside = np.s_[top : top + height, left : left + width]
        if blurred is not None:
            return self._with_plane(np.ascontiguousarray(blurred[inside]), BLIND), self._sharp(sharp[inside])
        border = rng.random()
        margin = 0 if border < MIRRORED_SHARE else self._blur.margin_px
        crop = crop_with_margin(sharp, top, left, height, width, margin)
        trim = margin if border >= MIRRORED_SHARE + INNER_SHARE else 0
        soft, truth = self._blur.degrade_with_psf(np.ascontiguousarray(crop), rng, trim=trim)
        channels = self._with_plane(soft, told_psf(truth, rng))
        rest = margin - trim
        return channels[rest : rest + height, rest : rest + width].copy(), self._sharp(sharp[inside])

    def _with_plane(self, pixels: Pixels, psf: Psf) -> NDArray[np.uint8]:
        planes = planes_of(pixels, psf)
        return planes if self._luma else np.dstack([pixels, planes[..., 1]])

    def _sharp(self, pixels: Pixels) -> Crop:
        pixels = np.ascontiguousarray(pixels)
        return to_luma(to_float(pixels))[..., 0] if self._luma else pixels.copy()
