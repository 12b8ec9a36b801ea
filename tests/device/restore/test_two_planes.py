"""The restorer with a model of two planes: a runtime that answers with the deconvolved plane shows what was put in."""

from dataclasses import replace

import numpy as np
import pytest

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.bundle.open import Bundle
from device.images.degrade import convolve, to_linear, to_pixels, to_srgb
from device.images.frame import Pixels, Tensor, luma_of
from device.images.quality import psnr
from device.images.scenes import dead_leaves
from device.images.yuv import from_rgb
from device.restore import restorer as restorer_module
from device.restore.restorer import Restorer

DISK = Psf("defocus", 2.5)


class LastPlane:
    """A runtime whose model passes its last channel through."""

    def __init__(self, planes: int) -> None:
        self.planes = planes

    def run(self, tensor: Tensor) -> Tensor:
        assert tensor.shape[3] == self.planes
        return tensor[..., -1:]

    def close(self) -> None:
        pass


@pytest.fixture
def two_planes(small: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle of two planes whose model passes the deconvolved one through."""
    monkeypatch.setattr(restorer_module, "open_runtime", lambda *_: LastPlane(planes=2))
    return Bundle(small.folder, replace(small.manifest, planes=2))


def scene() -> tuple[Pixels, Pixels]:
    """(blurred, sharp)"""
    sharp = dead_leaves(203, 331, 1)
    return to_pixels(to_srgb(convolve(to_linear(sharp), DISK.kernel()))), sharp


def test_the_deconvolved_plane_is_that_of_the_whole_picture(two_planes: Bundle) -> None:
    blurred, sharp = scene()
    restorer = Restorer(two_planes, "fp32", threads=1)
    assert np.array_equal(restorer.restore(blurred), blurred)  # blind: the second plane is the first
    restorer.use_psf(DISK)
    restored = restorer.restore(blurred)
    assert psnr(restored, sharp) > psnr(blurred, sharp) + 1.5
    camera = from_rgb(blurred)
    assert np.array_equal(restorer.restore(camera).y, Deconvolver(DISK)(camera.y))  # type: ignore[union-attr]
    change = Deconvolver(DISK)(luma_of(blurred)).astype(int) - luma_of(blurred)
    assert np.array_equal(restored, np.clip(blurred + change[..., None], 0, 255))
    assert restorer.telemetry.snapshot().stages_ms["deconvolve"].p50 is not None
    restorer.use_psf(BLIND)
    assert np.array_equal(restorer.restore(blurred), blurred)


def test_tiles_of_the_model_are_cut_from_both_planes(two_planes: Bundle) -> None:
    sharp = dead_leaves(700, 900, 2)
    blurred = to_pixels(to_srgb(convolve(to_linear(sharp), DISK.kernel())))
    whole, tiled = (Restorer(two_planes, "fp32", threads=1, most_pixels=most) for most in (10**6, 400 * 400))
    for restorer in (whole, tiled):
        restorer.use_psf(DISK)
    assert len(tiled.plan_for(700, 900).tiles) > 1
    assert np.array_equal(whole.restore(blurred), tiled.restore(blurred))


def test_a_model_of_one_plane_sees_the_filtered_picture_for_motion_only(small: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer_module, "open_runtime", lambda *_: LastPlane(planes=1))
    restorer = Restorer(Bundle(small.folder, replace(small.manifest, planes=1)), "fp32", threads=1)
    picture, _ = scene()
    for psf in (BLIND, DISK, Psf("gaussian", 1.6), Psf("lens", 1.6, exponent=4.0)):
        restorer.use_psf(psf)
        assert np.array_equal(restorer.restore(picture), picture), psf
    line = Psf("motion", 9.0, 20.0)
    restorer.use_psf(line)
    camera = from_rgb(picture)
    assert np.array_equal(restorer.restore(camera).y, Deconvolver(line)(camera.y))  # type: ignore[union-attr]
