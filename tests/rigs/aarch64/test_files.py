"""Every TFLite and ONNX file that ships, on this core: the same picture as on x86, and nothing beside the fast path."""

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
"""Grey levels that a file may differ from x86's picture of it.

Measured beside x86 with AVX2: fp32 and int8 0 in every runtime on both cores; all 0 on a Cortex-A72. On a Cortex-A76 fp16 is 0
in LiteRT and 1 in 6 to 7 % of the pixels in ONNX Runtime, and `dynamic` is 0 of `nano` and 2 of `small`, in 13 % of the pixels.
"""
CASES = list(cases())
EVERY = pytest.mark.parametrize(("bundle", "artifact", "runtime"), CASES, ids=[label(a, r) for _, a, r in CASES])


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, Pixels]:
    """The picture, and what the other machine's processor made of it, by `label`."""
    with np.load(os.environ["AARCH64_PICTURES"]) as pictures:
        return dict(pictures)


@EVERY
def test_a_file_restores_as_it_does_on_x86(
    elsewhere: dict[str, Pixels], measured: list[str], bundle: Bundle, artifact: Artifact, runtime: str
) -> None:
    case = label(artifact, runtime)
    there, here = elsewhere[case], restored(bundle, artifact, runtime, elsewhere[PICTURE])
    assert psnr(here, elsewhere[PICTURE]) < 45, "it restores something"
    off = np.abs(here.astype(int) - there).max(axis=2)
    measured.append(f"{case:34}{int(off.max()):3} levels at most, {100 * float(np.mean(off > 0)):6.2f} % of the pixels differ")
    assert off.max() <= MOST[artifact.variant]


@EVERY
def test_a_runtime_keeps_the_whole_of_a_file_on_its_fast_path(bundle: Bundle, artifact: Artifact, runtime: str) -> None:
    if runtime == "opencv_dnn":
        pytest.skip("OpenCV tells nothing of its path")
    graph = graph_of(Path(bundle.path(artifact)), artifact.format, artifact.variant == "int8")
    assert (graph.partitions, graph.outside) == (1, ())


def test_the_compiled_model_restores_where_it_can_and_is_refused_where_it_would_end_the_process(
    elsewhere: dict[str, Pixels],
) -> None:
    """On a Cortex-A72: "compiled with lse enabled, but this feature is not available", and an illegal instruction."""
    bundle, artifact, _ = next(case for case in CASES if label(*case[1:]) == "nano_int8.tflite-litert")
    if CORE == "cortex-a76":
        here = restored(bundle, artifact, "litert_compiled", elsewhere[PICTURE])
        assert np.array_equal(here, elsewhere["nano_int8.tflite-litert"])
    else:
        with pytest.raises(RuntimeMissing, match="take --runtime litert"):
            restored(bundle, artifact, "litert_compiled", elsewhere[PICTURE])
