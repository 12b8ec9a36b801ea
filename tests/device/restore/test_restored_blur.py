"""How blurred a restored picture still is: measured once for a bundle, looked up while it runs."""

from typing import Any, cast

import cv2
import pytest

from device.blur.psf import BLIND, Psf
from device.bundle.manifest import RestoredBlur
from device.bundle.open import open_bundle
from device.images.frame import Pixels
from device.restore.restored_blur import NOISES, measure_restored_blur, restored_spread_px
from device.restore.restorer import Restorer

Table = dict[tuple[str, float, float], float]


class Unchanged:
    """Restores nothing."""

    psf = BLIND

    def use_psf(self, psf: Psf) -> None:
        self.psf = psf

    def restore(self, picture: Pixels) -> Pixels:
        return picture


class Sharpener(Unchanged):
    """Raises contrast at edges far beyond the truth."""

    def restore(self, picture: Pixels) -> Pixels:
        return cast(Pixels, cv2.addWeighted(picture, 5.0, cv2.GaussianBlur(picture, (0, 0), 3.0), -4.0, 0.0))


def table_of(restorer: Any) -> Table:
    return {(row.kind, row.spread_px, row.noise): row.restored_px for row in measure_restored_blur(restorer)}


@pytest.fixture(scope="module")
def unchanged() -> Table:
    return table_of(Unchanged())


def test_a_picture_that_is_not_restored_is_as_blurred_as_it_was(unchanged: Table) -> None:
    least = min(noise for _, _, noise in unchanged)
    gaussians = {spread: left for (kind, spread, noise), left in unchanged.items() if kind == "gaussian" and noise == least}
    assert gaussians == pytest.approx({spread: spread for spread in gaussians}, rel=0.05)


def test_noise_counts_as_blur(unchanged: Table) -> None:
    for (kind, spread, noise), left in unchanged.items():
        assert left >= unchanged[kind, spread, min(n for _, _, n in unchanged)] - 1e-3, (kind, spread, noise)


def test_too_much_contrast_is_no_sharpness(unchanged: Table) -> None:
    sharpened = table_of(Sharpener())
    assert sum(sharpened[row] > unchanged[row] for row in unchanged) > len(unchanged) / 2


def test_a_model_that_is_told_a_motion_leaves_less_of_it_and_keeps_its_own_psf(unchanged: Table) -> None:
    with Restorer(open_bundle("nano"), threads=1) as restorer:
        restored = table_of(restorer)
        assert restorer.psf is BLIND
    motions = [row for row in restored if row[0] == "motion" and row[2] == min(n for _, _, n in restored)]
    assert len(motions) == 4
    assert all(restored[row] < 0.85 * unchanged[row] for row in motions)


ROWS = tuple(
    RestoredBlur("gaussian", spread, noise, spread / 2 + 10 * noise) for spread in (1.0, 2.0, 4.0) for noise in (0.002, 0.01)
)


@pytest.mark.parametrize(
    ("psf", "expected"),
    [
        (Psf("gaussian", 2.0), 1.02),
        (Psf("gaussian", 3.0), 1.52),
        (Psf("lens", 2.0, exponent=4), 1.02),
        (Psf("gaussian", 2.0, noise=0.002), 1.02),
        (Psf("gaussian", 2.0, noise=0.003), 1.1),
        (Psf("gaussian", 2.0, noise=0.5), 1.1),
        (Psf("gaussian", 0.6), 0.52),
        (Psf("gaussian", 0.4), None),
        (Psf("gaussian", 4.1), None),
        (Psf("defocus", 4.0), None),
        (BLIND, None),
    ],
)
def test_it_is_looked_up_between_the_rows_and_not_beyond_them(psf: Psf, expected: float | None) -> None:
    assert restored_spread_px(ROWS, psf) == (None if expected is None else pytest.approx(expected))
    assert restored_spread_px((), psf) is None


def test_every_level_of_noise_is_measured(unchanged: Table) -> None:
    assert len({noise for _, _, noise in unchanged}) == len(NOISES)
    assert len(unchanged) == 12 * len(NOISES)
