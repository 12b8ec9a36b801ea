from collections.abc import Callable

import numpy as np
import pytest

from device.images.frame import Pixels
from device.images.scenes import chart, dead_leaves, siemens_star, slanted_edge, text_page

SEEDED = [dead_leaves, text_page, chart]


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (131, 97), (48, 257)], ids=str)
@pytest.mark.parametrize("draw", [dead_leaves, slanted_edge, text_page, chart])
def test_a_scene_has_the_requested_size_and_is_not_flat(draw: Callable[..., Pixels], size: tuple[int, int]) -> None:
    scene = draw(*size)
    assert scene.shape == (*size, 3)
    assert scene.dtype == np.uint8
    assert scene.std() > 20


@pytest.mark.parametrize("draw", SEEDED)
def test_a_seed_draws_the_same_scene_every_time_and_another_seed_another(draw: Callable[..., Pixels]) -> None:
    assert np.array_equal(draw(97, 131, 5), draw(97, 131, 5))
    assert not np.array_equal(draw(97, 131, 5), draw(97, 131, 6))


@pytest.mark.parametrize("size", [1, 31, 96])
def test_a_star_is_square_with_spokes_of_both_levels(size: int) -> None:
    star = siemens_star(size)
    assert star.shape == (size, size, 3)
    if size > 31:
        assert star.min() == 20
        assert star.max() == 235
        border = star[0, :, 0]
        assert (border == 127).all()  # outside the star


def test_a_star_has_the_requested_number_of_spokes() -> None:
    star, angles = siemens_star(400, spokes=36)[..., 0], np.linspace(0, 2 * np.pi, 7200, endpoint=False)
    ring = star[np.rint(200 + 170 * np.sin(angles)).astype(int), np.rint(200 + 170 * np.cos(angles)).astype(int)] > 127
    assert np.count_nonzero(ring != np.roll(ring, 1)) == 72


def test_an_edge_has_the_requested_angle() -> None:
    for angle in (-8.0, 5.0):
        bright = slanted_edge(120, 160, angle, low=0, high=200)[..., 0].astype(float) / 200
        crossing = 160 - bright.sum(1)  # columns left of the edge, in each row
        slope = np.polyfit(np.arange(120), crossing, 1)[0]
        assert np.rad2deg(np.arctan(slope)) == pytest.approx(angle, abs=0.1)


def test_leaves_of_many_colours_cover_most_of_the_grey_background() -> None:
    leaves = dead_leaves(192, 256, 1)
    assert np.mean((leaves == 128).all(-1)) < 0.4
    assert (leaves.std((0, 1)) > 20).all()
    assert not np.array_equal(leaves[..., 0], leaves[..., 2])
