"""How sharp a spot is, for somebody who turns the lens."""

import cv2
import numpy as np
import pytest

from device.blur.focus import sharpness_at
from device.blur.light import Plane
from device.images.frame import luma_of
from device.images.scenes import chart, dead_leaves, text_page

SCENES = {"chart": chart, "leaves": dead_leaves, "text": text_page}


def picture(scene: str, blur_px: float = 0.0) -> Plane:
    plane = luma_of(SCENES[scene](256, 256, 3))
    return cv2.GaussianBlur(plane, (0, 0), blur_px) if blur_px else plane


def sharpness(plane: Plane, x: float = 0.5, y: float = 0.5) -> float:
    found = sharpness_at(plane, x, y)
    assert found is not None
    return found


def noisy(plane: Plane, deviation: float) -> Plane:
    noise = np.random.default_rng(0).normal(0, deviation, plane.shape)
    return np.clip(np.rint(plane + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scene", SCENES)
def test_a_sharper_picture_has_more_of_it(scene: str) -> None:
    values = [sharpness(picture(scene, blur_px)) for blur_px in (0.0, 0.6, 1.0, 1.6, 2.5, 4.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 3 * values[3]
    assert all(0 <= value <= 1 for value in values)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("blur_px", [0.0, 1.0, 1.6])
def test_brightness_and_contrast_do_not_matter(scene: str, blur_px: float) -> None:
    plane = picture(scene, blur_px)
    whole = sharpness(plane)
    for other in (plane * 0.5, plane * 0.5 + 100):
        assert sharpness(np.rint(other).astype(np.uint8)) == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("blur_px", [0.0, 1.6, 4.0])
@pytest.mark.parametrize("deviation", [3, 8])
def test_noise_does_not_raise_it(scene: str, blur_px: float, deviation: float) -> None:
    plane = picture(scene, blur_px)
    assert sharpness(noisy(plane, deviation)) <= sharpness(plane) + 0.035


def test_a_spot_without_detail_has_none() -> None:
    flat = np.full((256, 256), 100, np.uint8)
    ramp = np.repeat(np.linspace(90, 110, 256).astype(np.uint8)[None], 256, 0)
    for plane in (flat, ramp, noisy(flat, 4), picture("chart")[:100, :100]):
        assert sharpness_at(plane, 0.5, 0.5) is None


def test_it_is_measured_around_the_spot_up_to_the_corners() -> None:
    plane = picture("leaves")
    plane[:, 128:] = cv2.GaussianBlur(plane, (0, 0), 3)[:, 128:]
    for y in (0.0, 0.5, 1.0):
        assert sharpness(plane, 0.0, y) > 2 * sharpness(plane, 1.0, y)
