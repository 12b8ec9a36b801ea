import numpy as np
import pytest

from device.bundle.manifest import Artifact
from device.bundle.open import Bundle, open_bundle
from device.images.frame import Pixels
from device.images.quality import psnr
from device.restore import self_check
from device.restore.restorer import Restorer
from device.runtimes import RUNTIMES, installed


class Answers:
    """A restorer that returns pictures from a table, or the input shifted by some grey levels."""

    def __init__(self, table: dict[bytes, Pixels], shift: int = 0) -> None:
        self.table, self.shift = table, shift

    def restore(self, pixels: Pixels) -> Pixels:
        return np.clip(self.table.get(pixels.tobytes(), pixels).astype(int) + self.shift, 0, 255).astype(np.uint8)


def test_the_pairs_are_the_same_every_time_and_blurred() -> None:
    pairs = self_check.scene_pairs()
    again = self_check.scene_pairs.__wrapped__()
    assert len(pairs) == 9
    for (blurred, sharp), (blurred_again, sharp_again) in zip(pairs, again, strict=True):
        assert np.array_equal(blurred, blurred_again)
        assert np.array_equal(sharp, sharp_again)
        assert blurred.shape == sharp.shape
        assert 10 < psnr(blurred, sharp) < 45


def test_the_result_is_the_mean_over_the_pairs() -> None:
    pairs = self_check.scene_pairs()
    assert self_check.scenes_psnr(Answers({})) == pytest.approx(np.mean([psnr(b, s) for b, s in pairs]))  # type: ignore[arg-type]
    perfect = Answers({blurred.tobytes(): sharp for blurred, sharp in pairs})
    assert self_check.scenes_psnr(perfect) == 99.0  # type: ignore[arg-type]


def test_a_result_two_levels_too_bright_is_noticed() -> None:
    right = self_check.scenes_psnr(Answers({}))  # type: ignore[arg-type]
    brighter = self_check.scenes_psnr(Answers({}, shift=2))  # type: ignore[arg-type]
    assert abs(right - brighter) > self_check.TOLERANCE_DB


@pytest.mark.parametrize("artifact", open_bundle("small").manifest.artifacts, ids=lambda a: a.label)
def test_every_shipped_file_reaches_its_psnr_at_export(small: Bundle, artifact: Artifact) -> None:
    runtime = next(
        (n for n, info in RUNTIMES.items() if artifact.format in info.formats and n != "opencv_dnn" and installed(n)), None
    )
    if runtime is None:
        pytest.skip(f"no runtime for {artifact.format} is installed; pip install ai-edge-litert onnxruntime")
    assert artifact.quality is not None
    with Restorer(small, artifact.variant, runtime) as restorer:
        reached = self_check.scenes_psnr(restorer)
    assert reached == pytest.approx(artifact.quality.scenes_psnr_db, abs=self_check.TOLERANCE_DB)
