"""The measured halo, on functions whose reach is known."""

import cv2
import numpy as np
import pytest

pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from device.images.degrade import to_float  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from export.halo import Reference, measure_fixed_halo, measure_halo, mosaics  # noqa: E402

PICTURES = np.stack([to_float(dead_leaves(96, 128, seed)) for seed in range(3)])


def box(reach: int) -> Reference:
    """A mean over 2 * reach + 1 pixels a side, with black around the picture."""
    side = (2 * reach + 1,) * 2
    return lambda tensors: np.stack([cv2.blur(t, side, borderType=cv2.BORDER_CONSTANT) for t in tensors])


def whole(tensors: np.ndarray) -> np.ndarray:
    """The mean over the whole picture."""
    return tensors - tensors.mean((1, 2, 3), keepdims=True)


@pytest.mark.parametrize(("reach", "multiple", "halo"), [(3, 1, 3), (3, 8, 8), (9, 4, 12), (16, 16, 16)])
def test_the_halo_is_the_reach_rounded_up_to_the_multiple(reach: int, multiple: int, halo: int) -> None:
    assert measure_halo(box(reach), mosaics(PICTURES, 256), multiple) == halo
    fixed = mosaics(PICTURES, 2 * 128)
    assert measure_fixed_halo(box(reach), fixed, (96, 128), multiple) == halo


@pytest.mark.parametrize("side", [240, 256, 1200])
def test_tiles_are_multiples_whatever_the_side_of_the_picture(side: int) -> None:
    def strict(tensors: np.ndarray) -> np.ndarray:
        assert not tensors.shape[1] % 16
        assert not tensors.shape[2] % 16
        return box(5)(tensors)

    pictures = np.stack([to_float(dead_leaves(side, side, 1))])
    assert measure_halo(strict, pictures, 16) == 16


def test_a_network_that_sees_everything_has_no_halo_that_helps() -> None:
    pictures = mosaics(PICTURES, 256)
    assert measure_halo(whole, pictures, 8) >= pictures.shape[1] // 4 // 8 * 8
    assert measure_fixed_halo(whole, pictures, (96, 128), 8) == 0


def test_mosaics_hold_content_on_both_sides_of_every_border() -> None:
    made = mosaics(PICTURES, 250)
    assert made.shape[1] == made.shape[2] >= 250
    assert np.array_equal(made[0, :96, :128], PICTURES[0])
    assert np.array_equal(made[0, :96, 128:256], PICTURES[1])
