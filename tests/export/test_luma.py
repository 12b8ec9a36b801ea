"""A network of two luma planes, from training to a restored colour picture."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import deblurkit
from device.blur.deconvolution import Deconvolver
from device.blur.psf import Psf
from device.bundle.embedded import read_contract
from device.bundle.open import open_bundle
from device.images.frame import Pixels, luma_of
from device.restore.restorer import Restorer

pytestmark = pytest.mark.keras
tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    from train.presets import PRESETS

    def printed(*words: object) -> str:
        with redirect_stdout(io.StringIO()) as out:
            assert deblurkit.main([str(word) for word in words]) == 0
        return out.getvalue()

    folder = tmp_path_factory.mktemp("luma")
    words = ["--preset", "nano", "--data", photographs, "--epochs", 1, "--steps", 4, "--batch", 4, "--patch", 32, "--cpu"]
    nano = PRESETS["nano"]
    two_levels = replace(nano.architecture, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "nano", replace(nano, architecture=two_levels))
        tf.config.run_functions_eagerly(True)  # for four steps cheaper than a graph
        try:
            printed("train", *words, "--out", folder / "run")
        finally:
            tf.config.run_functions_eagerly(False)
    result = json.loads(printed("export", folder / "run", "--out", folder / "nano", "--json").splitlines()[-1])
    assert len(result["files"]) == 7
    return folder / "nano"


@pytest.mark.parametrize("variant", ["fp32", "fp16", "dynamic", "int8"])
def test_every_variant_restores_brightness_and_passes_colour_through(bundle: Path, picture: Pixels, variant: str) -> None:
    opened = open_bundle(bundle)
    assert (opened.manifest.colour, opened.manifest.planes) == ("luma", 2)
    with Restorer(opened, variant, "litert", 1) as restorer:
        restored = restorer.restore(picture)
    assert restored.shape == picture.shape
    inside = (picture.min(2) > 40) & (picture.max(2) < 215)  # where nothing saturates
    before, after = picture.astype(int), restored.astype(int)
    assert np.array_equal((after[..., 0] - after[..., 1])[inside], (before[..., 0] - before[..., 1])[inside])


def test_every_file_carries_the_number_of_planes(bundle: Path) -> None:
    for artifact in open_bundle(bundle).manifest.artifacts:
        alone = read_contract(bundle / artifact.file)
        assert alone is not None
        assert (alone["schema"], alone["planes"]) == (3, 2)


def test_the_psf_reaches_the_model(bundle: Path, picture: Pixels) -> None:
    with Restorer(open_bundle(bundle), "fp32", "litert", 1) as restorer:
        blind = restorer.restore(picture)
        restorer.use_psf(Psf("defocus", 2.0))
        told = restorer.restore(picture)
        expected = Deconvolver(Psf("defocus", 2.0))(luma_of(picture))
    assert not np.array_equal(told, blind)
    assert np.abs(luma_of(told).astype(int) - expected).mean() < 4 < np.abs(luma_of(blind).astype(int) - expected).mean()


def test_onnx_and_tflite_agree(bundle: Path, picture: Pixels) -> None:
    with (
        Restorer(open_bundle(bundle), "fp32", "litert", 1) as one,
        Restorer(open_bundle(bundle), "fp32", "onnxruntime", 1) as other,
    ):
        assert np.abs(one.restore(picture).astype(int) - other.restore(picture)).max() <= 1


def test_a_grey_picture_stays_grey(bundle: Path, picture: Pixels) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    with Restorer(open_bundle(bundle), "int8", "litert", 1) as restorer:
        restored = restorer.restore(grey)  # type: ignore[arg-type]
    assert (restored[..., 0] == restored[..., 1]).all()
    assert (restored[..., 1] == restored[..., 2]).all()
