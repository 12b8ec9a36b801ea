import numpy as np
import pytest

from device.blur.kernels import both, covariance, disk_kernel, gaussian_kernel, lens_kernel, line_kernel, resized, shake_kernel
from device.blur.psf import BLIND, Psf


def moments(kernel: np.ndarray) -> np.ndarray:
    """(2, 2) covariance of x and y in pixels, about the kernel's middle."""
    reach = len(kernel) // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])


@pytest.mark.parametrize("sigma", [0.8, 1.7, 3.0])
@pytest.mark.parametrize("exponent", [1.5, 2.0, 4.0, 12.0])
def test_a_lens_has_the_spread_asked_for_whatever_its_shape(sigma: float, exponent: float) -> None:
    kernel = lens_kernel(sigma, exponent)
    assert kernel.sum() == pytest.approx(1)
    assert np.sqrt(np.diag(moments(kernel))) == pytest.approx([sigma] * 2, rel=0.07)


def test_a_lens_lies_between_a_gaussian_and_a_disk() -> None:
    def difference(a: np.ndarray, b: np.ndarray) -> float:
        side = max(len(a), len(b))
        return float(np.abs(np.pad(a, (side - len(a)) // 2) - np.pad(b, (side - len(b)) // 2)).sum())

    assert difference(lens_kernel(2, 2), gaussian_kernel(2, 2, 0)) < 0.05
    assert difference(lens_kernel(2, 40), disk_kernel(4)) < 0.1
    assert 0.1 < difference(lens_kernel(2, 5), disk_kernel(4)) < difference(lens_kernel(2, 2), disk_kernel(4))


@pytest.mark.parametrize(("angle", "share"), [(0.0, (1, 0)), (np.pi / 2, (0, 1)), (np.pi / 4, (0.5, 0.5))])
def test_a_line_is_as_long_as_asked_for(angle: float, share: tuple[float, float]) -> None:
    spread = np.diag(moments(line_kernel(15, angle)))
    assert spread.sum() == pytest.approx(15**2 / 12, rel=0.03)
    assert spread / spread.sum() == pytest.approx(share, abs=0.02)


def test_an_angle_counts_counter_clockwise_as_it_is_seen() -> None:
    kernel = Psf("motion", 21, angle_deg=45).kernel()
    middle = len(kernel) // 2
    assert kernel[middle - 5, middle + 5] > 0.01 > kernel[middle + 5, middle + 5]  # to the right and up


def test_one_blur_on_another_adds_their_spreads() -> None:
    for first, second in ((line_kernel(9, 0.3), disk_kernel(2)), (disk_kernel(1), line_kernel(12, 1.0))):
        assert moments(both(first, second)) == pytest.approx(moments(first) + moments(second), abs=0.02)


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.25])
def test_a_kernel_that_is_resized_spreads_as_much_wider(scale: float) -> None:
    kernel = both(shake_kernel(20, np.random.default_rng(1)), gaussian_kernel(1, 1, 0))
    assert resized(kernel, scale).sum() == pytest.approx(1)
    assert moments(resized(kernel, scale)) == pytest.approx(moments(kernel) * scale**2, rel=0.03, abs=0.3)


def test_a_turned_kernel_and_a_turned_line_point_the_same_way() -> None:
    line = Psf("motion", 21, angle_deg=20)
    drawn = Psf("measured", measured=line.kernel())
    assert moments(line.changed(1.1, 5).kernel()) == pytest.approx(moments(drawn.changed(1.1, 5).kernel()), abs=0.6)
    assert moments(line.changed(1, 5).kernel())[0, 1] < moments(line.kernel())[0, 1]


def test_a_blind_psf_has_no_kernel() -> None:
    assert BLIND.is_blind
    with pytest.raises(ValueError, match="no kernel"):
        BLIND.kernel()


@pytest.mark.parametrize(
    ("psf", "is_round"),
    [
        (BLIND, False),
        (Psf("gaussian", 2.0), True),
        (Psf("gaussian", 2.0, flatness=0.4), False),
        (Psf("lens", 2.0), True),
        (Psf("defocus", 3.0), True),
        (Psf("motion", 9.0, 30), False),
        (Psf("measured", measured=disk_kernel(3.0)), True),
        (Psf("measured", measured=line_kernel(9.0, 0.5)), False),
    ],
)
def test_lenses_are_round_and_motion_is_not(psf: Psf, is_round: bool) -> None:
    assert psf.is_round is is_round


def test_the_covariance_of_a_kernel_is_its_width() -> None:
    assert np.diag(covariance(gaussian_kernel(2.0, 1.0, 0))) == pytest.approx([4.0, 1.0], rel=0.02)
    assert covariance(line_kernel(12, np.pi / 4))[0, 1] == pytest.approx(12**2 / 24, rel=0.05)
