import numpy as np
import pytest

from device.blur.psf import BLIND, Psf
from train.told_psf import told_psf, wrong_psf

DISK = Psf("defocus", 4.0, noise=0.004)
LINE = Psf("motion", 20.0, 30.0)


def test_most_pictures_are_told_the_truth_some_a_mistake_and_few_nothing() -> None:
    rng = np.random.default_rng(0)
    told = [told_psf(DISK, rng) for _ in range(3000)]
    truth = np.mean([t.kind == "defocus" and t.size_px == 4.0 and t.linear for t in told])
    assert truth == pytest.approx(0.54, abs=0.03)
    assert np.mean([t.is_blind for t in told]) == pytest.approx(0.10, abs=0.02)


def test_mistakes_are_in_size_angle_kind_and_light_and_lean_to_both_sides() -> None:
    rng = np.random.default_rng(0)
    wrong = [wrong_psf(DISK, rng) for _ in range(1000)]
    radius = np.array([w.size_px * (2 if w.kind == "gaussian" else 1) for w in wrong])  # a Gaussian spreads as twice its sigma
    assert 3.0 <= radius.min() < 3.1
    assert 4.9 < radius.max() <= 5.0
    assert radius.mean() == pytest.approx(4.0, abs=0.05)
    assert np.mean([w.kind == "gaussian" for w in wrong]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([not w.linear for w in wrong]) == pytest.approx(0.25, abs=0.05)
    turned = [wrong_psf(LINE, rng).angle_deg for _ in range(1000)]
    assert 25 <= min(turned) < 26
    assert 34 < max(turned) <= 35


def test_what_no_psf_blurs_is_told_nothing_or_a_slight_blur() -> None:
    rng = np.random.default_rng(0)
    told = [told_psf(BLIND, rng) for _ in range(1000)]
    slight = [t for t in told if not t.is_blind]
    assert 0.05 < len(slight) / len(told) < 0.15
    assert all(len(t.kernel()) <= 9 for t in slight)


def test_the_same_seed_tells_the_same() -> None:
    once, again = (told_psf(LINE, np.random.default_rng(5)) for _ in range(2))
    assert (once.size_px, once.angle_deg, once.linear, once.noise) == (again.size_px, again.angle_deg, again.linear, again.noise)
