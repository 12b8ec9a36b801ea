import numpy as np
import pytest

from device.bundle.open import Bundle
from device.errors import BundleError, UsageError
from device.images.degrade import gaussian_blur, to_float, to_pixels
from device.images.frame import Pixels, Tensor
from device.images.quality import psnr
from device.images.scenes import chart
from device.images.yuv import Yuv, from_rgb
from device.restore.restorer import Restorer
from device.telemetry import Telemetry

SIZES = [(1, 1), (1, 700), (700, 1), (3, 5), (8, 8), (97, 131), (64, 1030), (1500, 1100)]


def blurred(height: int, width: int) -> Pixels:
    scene = chart(max(height, 64), max(width, 64))
    return to_pixels(gaussian_blur(to_float(scene), 1.5))[:height, :width].copy()


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    """The default restorer, one for all sizes."""
    from device.bundle.open import open_bundle

    return Restorer(open_bundle("small"), threads=1)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_comes_out_as_it_went_in(restorer: Restorer, size: tuple[int, int]) -> None:
    pixels = blurred(*size)
    before = pixels.copy()
    restored = restorer.restore(pixels)
    assert restored.shape == pixels.shape
    assert restored.dtype == np.uint8
    assert np.array_equal(pixels, before)
    if min(size) >= 64:  # a few pixels are not enough for a model
        assert np.abs(restored.astype(int) - pixels).mean() < 20


def test_sizes_may_change_from_frame_to_frame(restorer: Restorer) -> None:
    first = {size: restorer.restore(blurred(*size)) for size in SIZES[:-1]}
    for size, before in reversed(first.items()):
        assert np.array_equal(restorer.restore(blurred(*size)), before)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("runtime", [None, "onnxruntime"])
def test_tiled_equals_untiled_within_one_grey_level(small: Bundle, variant: str, runtime: str | None) -> None:
    if runtime:
        pytest.importorskip(runtime, reason="pip install onnxruntime")
    side = 2 * small.manifest.halo + 72
    pixels = blurred(side + 27, 2 * side + 5)
    with (
        Restorer(small, variant, runtime, 1) as whole,
        Restorer(small, variant, runtime, 1, most_pixels=side**2) as tiled,
    ):
        difference = np.abs(whole.restore(pixels).astype(int) - tiled.restore(pixels))
    assert difference.max() <= 1


def test_a_view_that_is_not_contiguous_is_restored_like_its_copy(restorer: Restorer) -> None:
    pixels = blurred(97, 131)
    part = pixels[10:60, 5:100, ::-1]
    assert np.array_equal(restorer.restore(part), restorer.restore(np.ascontiguousarray(part)))


def test_a_flat_picture_stays_flat(restorer: Restorer) -> None:
    for level in (0, 128, 255):
        restored = restorer.restore(np.full((64, 64, 3), level, np.uint8))
        assert np.abs(restored.astype(int) - level).max() <= 12


def test_the_description_names_file_and_runtime_and_stages_are_timed(small: Bundle) -> None:
    telemetry = Telemetry()
    with Restorer(small, "int8", threads=1, telemetry=telemetry) as restorer:
        assert (restorer.artifact.variant, restorer.threads, restorer.bundle) == ("int8", 1, small)
        restorer.restore(blurred(64, 64))
    assert set(telemetry.snapshot().stages_ms) == {"to_tensor", "infer", "to_pixels"}


def test_opencv_uses_the_fp32_file_by_default(small: Bundle) -> None:
    with Restorer(small, runtime="opencv_dnn", threads=1) as restorer:
        assert restorer.artifact.label == "fp32.onnx"


def test_unknown_variants_and_runtimes_are_wrong_usage(small: Bundle) -> None:
    with pytest.raises(UsageError, match="did you mean 'int8'"):
        Restorer(small, "int88")
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        Restorer(small, runtime="onnxruntim")


def test_a_variant_without_a_file_for_the_runtime_is_a_bundle_error(small: Bundle) -> None:
    with pytest.raises(BundleError, match="has no dynamic for onnx"):
        Restorer(small, "dynamic", "onnxruntime")


def test_a_closed_restorer_refuses_and_closing_twice_is_safe(small: Bundle) -> None:
    restorer = Restorer(small, threads=1)
    restorer.close()
    restorer.close()
    with pytest.raises(BundleError, match="closed"):
        restorer.restore(blurred(64, 64))


@pytest.mark.parametrize("variant", ["int8", "fp32"])
@pytest.mark.parametrize("full", [True, False])
def test_camera_planes_are_restored_like_the_same_picture_in_rgb(small: Bundle, variant: str, full: bool) -> None:
    pixels = blurred(96, 128)
    yuv = from_rgb(pixels, "bt601", full)
    with Restorer(small, variant, threads=1) as restorer:
        restored = restorer.restore(yuv)
        assert isinstance(restored, Yuv)
        assert restored.full_range
        of_planes, of_rgb = restored.rgb(), restorer.restore(yuv.rgb())
    assert psnr(of_planes, of_rgb) > (45 if full else 38)
    assert np.array_equal(restored.u, yuv.in_full_range().u)


def test_nan_and_infinite_outputs_are_a_bundle_error(small: Bundle) -> None:
    class Spoiled:
        def run(self, tensor: Tensor) -> Tensor:
            out = np.zeros((*tensor.shape[:3], 1), np.float32)
            out[0, 3, 4] = np.nan
            return out

        def close(self) -> None:
            """Nothing to release."""

    with Restorer(small, "fp32", threads=1) as restorer:
        restorer.runtime.close()
        restorer.runtime = Spoiled()
        with pytest.raises(BundleError, match="NaN or infinite"):
            restorer.restore(blurred(64, 64))
