"""Every shipped TFLite and ONNX file on this core: the same picture as on x86, and the runtime's fast path for all of it."""

import os
from pathlib import Path

import numpy as np
import pytest
from arm_pictures import PICTURE, cases, label, restored

from device.bundle.manifest import Artifact
from device.bundle.open import Bundle
from device.errors import RuntimeMissing
from device.images.frame import Pixels
from device.images.quality import psnr
from export.graph import graph_of

CORE = os.environ.get("AARCH64_RIG", "")
MOST = {"fp32": 1, "fp16": 1, "dynamic": 2, "int8": 1}
"""Variant -> the grey levels by which a picture may differ from the one on x86.

Measured against x86 with AVX2: fp32 and int8 0 in every runtime on both cores; all 0 on a Cortex-A72. On a Cortex-A76 fp16 is 0
in LiteRT and 1 in 6 to 7 % of the pixels in ONNX Runtime, and `dynamic` is 0 of `nano` and 2 of `small`, in 13 % of the pixels.
"""
CASES = list(cases())
EVERY = pytest.mark.parametrize(("bundle", "artifact", "runtime"), CASES, ids=[label(a, r) for _, a, r in CASES])


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, Pixels]:
    """The picture, and its restorations on the other machine's processor by `label`."""
    with np.load(os.environ["AARCH64_PICTURES"]) as pictures:
        return dict(pictures)


@EVERY
def test_a_file_restores_as_it_does_on_x86(
    elsewhere: dict[str, Pixels], measured: list[str], bundle: Bundle, artifact: Artifact, runtime: str
) -> None:
    case = label(artifact, runtime)
    there, here = elsewhere[case], restored(bundle, artifact, runtime, elsewhere[PICTURE])
    assert psnr(here, elsewhere[PICTURE]) < 60, "it restores the picture"
    off = np.abs(here.astype(int) - there).max(axis=2)
    measured.append(f"{case:34}{int(off.max()):3} levels at most, {100 * float(np.mean(off > 0)):6.2f} % of the pixels differ")
    assert off.max() <= MOST[artifact.variant]


@EVERY
def test_a_runtime_uses_its_fast_path_for_the_whole_file(bundle: Bundle, artifact: Artifact, runtime: str) -> None:
    if runtime == "opencv_dnn":
        pytest.skip("OpenCV does not report its path")
    graph = graph_of(Path(bundle.path(artifact)), artifact.format, artifact.variant == "int8")
    assert (graph.partitions, graph.outside) == (1, ())


def test_the_compiled_model_restores_or_is_refused_on_a_core_where_it_would_crash(
    elsewhere: dict[str, Pixels],
) -> None:
    """On a Cortex-A72: "compiled with lse enabled, but this feature is not available", and an illegal instruction."""
    bundle, artifact, _ = next(case for case in CASES if label(*case[1:]) == "nano_int8.tflite-litert")
    if CORE == "cortex-a76":
        here = restored(bundle, artifact, "litert_compiled", elsewhere[PICTURE])
        assert np.array_equal(here, elsewhere["nano_int8.tflite-litert"])
    else:
        with pytest.raises(RuntimeMissing, match="use --runtime litert"):
            restored(bundle, artifact, "litert_compiled", elsewhere[PICTURE])
