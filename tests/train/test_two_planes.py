import numpy as np
import pytest

from device.blur.deconvolution import Deconvolver
from device.blur.psf import BLIND, Psf
from device.images.degrade import KINDS, CameraBlur, to_float, to_luma
from device.images.frame import luma_of
from device.images.quality import psnr
from device.images.scenes import chart, dead_leaves
from train import two_planes
from train.photographs import MemoryPhotograph
from train.two_planes import PlanePatches, network_inputs, planes_of

SHARP = CameraBlur(odds=(1.0,), noise=(0.0, 0.0), sharpening=(0.0, 0.0), jpeg_share=0.0)


def only(kind: str) -> CameraBlur:
    odds = tuple(float(k == kind) for k in KINDS)
    return CameraBlur(odds=odds, noise=(0.0, 0.0), sharpening=(0.0, 0.0), jpeg_share=0.0, highlight_share=0.0)


def patches(blur: CameraBlur, pairs: bool = False, luma: bool = True) -> PlanePatches:
    scenes = [dead_leaves(160, 192, seed) for seed in range(3)]
    pictures = [MemoryPhotograph(f"{i}", scene, scene // 2 if pairs else None) for i, scene in enumerate(scenes)]
    return PlanePatches(pictures, blur, patch=32, batch=6, steps_per_epoch=5, seed=0, luma=luma)


def test_planes_are_those_that_a_board_computes() -> None:
    pixels, psf = chart(64, 80), Psf("defocus", 2.0)
    planes = planes_of(pixels, psf)
    assert np.array_equal(planes[..., 0], luma_of(pixels))
    assert np.array_equal(planes[..., 1], Deconvolver(psf)(luma_of(pixels)))
    assert np.array_equal(planes_of(pixels, BLIND)[..., 1], luma_of(pixels))
    both = network_inputs(np.stack([to_float(pixels)] * 2), [psf, BLIND])
    assert np.array_equal(both[0], to_float(planes))


def test_batches_depend_on_the_step_alone() -> None:
    first, second = patches(CameraBlur()), patches(CameraBlur())
    second.batch(9)
    for step in (0, 3):
        for one, other in zip(first.batch(step), second.batch(step), strict=True):
            assert np.array_equal(one, other)
    blurred, sharp = first.batch(0)
    assert blurred.shape == (6, 32, 32, 2)
    assert sharp.shape == (6, 32, 32, 1)
    assert blurred.dtype == sharp.dtype == np.float32


@pytest.mark.parametrize("mirrored", [0.0, 1.0])
@pytest.mark.parametrize("inner", [0.0, 1.0])
def test_planes_and_sharp_patches_lie_on_each_other(mirrored: float, inner: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_planes, "MIRRORED_SHARE", mirrored)
    monkeypatch.setattr(two_planes, "INNER_SHARE", inner)
    monkeypatch.setattr(two_planes, "told_psf", lambda truth, rng: truth)
    blurred, sharp = patches(SHARP).batch(0)
    assert np.abs(blurred - sharp).max() < 0.6 / 255
    blurred, sharp = patches(only("defocus")).batch(0)
    seen, deconvolved = (psnr(blurred[..., i : i + 1], sharp, 1.0) for i in range(2))
    assert deconvolved > seen + 1


def test_pairs_are_told_nothing_of_their_blur() -> None:
    blurred, _ = patches(CameraBlur(), pairs=True).batch(0)
    assert np.array_equal(blurred[..., 0], blurred[..., 1])


def test_for_a_teacher_the_colours_come_too() -> None:
    (planes, sharp), (colours, sharp_colours) = (patches(CameraBlur(), luma=luma).batch(1) for luma in (True, False))
    assert colours.shape == (6, 32, 32, 4)
    assert np.array_equal(colours[..., 3], planes[..., 1])
    assert np.allclose(to_luma(colours[..., :3]), planes[..., :1], atol=0.6 / 255)
    assert np.allclose(to_luma(sharp_colours), sharp, atol=1e-6)
