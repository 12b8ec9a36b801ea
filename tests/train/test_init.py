"""deblurkit train --init: shipped weights, fine-tuned on other pictures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.bundle.open import open_bundle
from device.images.degrade import to_float, to_pixels
from device.images.frame import luma_of
from device.images.picture import read_picture
from device.images.quality import psnr
from device.images.yuv import Plane
from device.restore.restorer import Restorer

pytestmark = pytest.mark.keras
pytest.importorskip("tensorflow")
from train.weights import load_network  # noqa: E402

TRAIN = ["train", "--json"]
SHORT = ["--epochs", "1", "--steps", "1", "--batch", "2", "--patch", "32", "--cpu", "--blur", "gaussian"]
Command = Callable[..., Any]


@pytest.mark.usefixtures("eager")
def seen_blurred(photographs: Path) -> Plane:
    """Brightness of a photograph, blurred."""
    return cv2.GaussianBlur(luma_of(read_picture(sorted(photographs.iterdir())[0]))[:96, :128], (0, 0), 1.6)  # type: ignore[return-value]


def restored_blind(run: Path, seen: Plane) -> Plane:
    """What the run's network makes of a picture without a known blur."""
    restored = np.asarray(load_network(run).predict_on_batch(to_float(np.dstack([seen, seen]))[None]))[0, ..., 0]
    return to_pixels(restored)


def test_a_run_starts_from_the_weights_of_the_bundle(
    command: Command, tmp_path: Path, photographs: Path, request: pytest.FixtureRequest
) -> None:
    def gain_db(name: str, *more: object) -> float:
        ended = command(*TRAIN, "--data", photographs, *SHORT, *more, "--out", tmp_path / name)
        assert ended.code == 0, ended.err
        result = json.loads(ended.out.splitlines()[-1])
        return float(result["restored_psnr_db"] - result["input_psnr_db"])

    gain_db("tuned", "--learning-rate", "1e-7", "--init", "small")
    assert json.loads((tmp_path / "tuned" / "run.json").read_text())["init"] == "small"
    request.getfixturevalue("tiny")  # the shipped weights need the shipped network, nothing else does
    fresh_db = gain_db("fresh", "--learning-rate", "1e-7")
    assert fresh_db > 0.5  # an untrained network of two planes passes on what the filter makes
    seen = seen_blurred(photographs)
    tuned, fresh = (restored_blind(tmp_path / name, seen) for name in ("tuned", "fresh"))
    with Restorer(open_bundle("small"), "fp32", threads=1) as shipped:
        expected = luma_of(shipped.restore(np.dstack([seen] * 3)))
    assert psnr(tuned, expected) > 45 > psnr(fresh, expected) + 5
    gain_db("again", "--init", tmp_path / "fresh")


def test_weights_of_another_network_or_none_are_refused_before_anything_is_written(
    command: Command, tmp_path: Path, photographs: Path
) -> None:
    other = command(*TRAIN, "--preset", "base", "--data", photographs, *SHORT, "--init", "small", "--out", tmp_path / "other")
    assert other.code == 2
    assert "the preset's is neither the same nor a larger one" in other.err
    bundle = tmp_path / "bare"
    shutil.copytree(open_bundle("small").folder, bundle)
    (bundle / "small.weights.h5").unlink()
    bare = command(*TRAIN, "--data", photographs, *SHORT, "--init", bundle, "--out", tmp_path / "bare-run")
    assert bare.code == 4
    assert "small.weights.h5" in bare.err
    unknown = command(*TRAIN, "--data", photographs, *SHORT, "--init", "smal", "--out", tmp_path / "unknown")
    assert unknown.code == 4
    assert not (tmp_path / "other" / "run.json").exists()
