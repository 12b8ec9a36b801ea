"""One contract test for every runtime. A missing runtime is skipped with the command that installs it."""

import importlib.util
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device import runtimes
from device.bundle.manifest import Artifact
from device.bundle.open import Bundle, open_bundle
from device.errors import BundleError, DeblurkitError, RuntimeMissing, UsageError
from device.images.degrade import gaussian_blur, to_float, to_luma, to_pixels
from device.images.frame import Pixels
from device.images.quality import psnr
from device.images.scenes import chart
from device.restore.pixel_codec import PixelCodec
from device.runtimes import RUNTIMES, formats, installed, open_runtime, preferred_variant
from device.runtimes.ncnn import BIN, PARAM
from device.runtimes.openvino import int8_overflows
from device.runtimes.runtime import Runtime
from device.system import hardware

VARIANT = {"ncnn": "fp16"}
"""For runtimes without an fp32 file."""
FILES = [(name, a) for name in RUNTIMES for a in open_bundle("small").manifest.artifacts if a.format in formats(name)]
SIZES = [(64, 64), (16, 16), (48, 144), (64, 64), (144, 48)]


def blurred(height: int, width: int) -> Pixels:
    return to_pixels(gaussian_blur(to_float(chart(max(height, 64), max(width, 64)))[:height, :width], 1.2))


def planes_of(height: int, width: int) -> NDArray[np.float32]:
    """(1, height, width, 2): luma twice, the input of the shipped bundle where no blur is known."""
    return np.repeat(to_luma(to_float(blurred(height, width)))[None], 2, axis=3)


def artifact_of(bundle: Bundle, name: str) -> Artifact:
    return bundle.artifact(VARIANT.get(name, "fp32"), formats(name))


def model_path(bundle: Bundle, name: str) -> Path:
    return bundle.path(artifact_of(bundle, name))


def opened(name: str, path: Path) -> Runtime:
    try:
        return open_runtime(name, path, threads=1)
    except RuntimeMissing as error:
        pytest.skip(str(error))


def restore(bundle: Bundle, artifact: Artifact, runtime: Runtime, pixels: Pixels) -> Pixels:
    codec = PixelCodec(artifact.input, artifact.output, bundle.manifest.colour, bundle.manifest.planes)
    return codec.to_pixels(runtime.run(codec.to_tensor(pixels)), pixels)


@pytest.fixture(params=list(RUNTIMES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runtime(small: Bundle, name: str) -> Iterator[Runtime]:
    runtime = opened(name, model_path(small, name))
    yield runtime
    runtime.close()


def test_one_model_accepts_several_sizes(runtime: Runtime) -> None:
    for height, width in SIZES:
        given = planes_of(height, width)
        out = runtime.run(given)
        assert out.shape == (1, height, width, 1)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()


def test_a_size_gives_the_same_result_after_other_sizes(runtime: Runtime) -> None:
    tensors = [planes_of(height, width) for height, width in SIZES]
    first = [runtime.run(tensor) for tensor in tensors]
    for tensor, before in zip(reversed(tensors), reversed(first), strict=True):
        assert np.array_equal(runtime.run(tensor), before)


def test_a_result_belongs_to_the_caller(runtime: Runtime) -> None:
    given = planes_of(64, 64)
    out = runtime.run(given)
    kept = out.copy()
    runtime.run(1 - given)
    assert np.array_equal(out, kept)
    out[:] = 0  # it is also writable
    assert np.array_equal(runtime.run(given), kept)


def test_the_input_is_not_written_to(runtime: Runtime) -> None:
    given = planes_of(64, 64)
    before = given.copy()
    runtime.run(given)
    assert np.array_equal(given, before)


def test_the_output_resembles_the_input_picture(small: Bundle, name: str, runtime: Runtime) -> None:
    pixels = blurred(96, 144)
    out = restore(small, artifact_of(small, name), runtime, pixels)
    assert np.abs(out.astype(int) - pixels).mean() < 20
    assert np.corrcoef(out.ravel(), pixels.ravel())[0, 1] > 0.9


@pytest.fixture(scope="module")
def fp32(small: Bundle) -> Pixels:
    """`blurred(128, 192)` restored with the fp32 file on the best installed runtime."""
    name = runtimes.first_installed()
    runtime, artifact = opened(name, model_path(small, name)), artifact_of(small, name)
    out = restore(small, artifact, runtime, blurred(128, 192))
    runtime.close()
    return out


def test_all_runtimes_agree_within_one_grey_level(small: Bundle, name: str, runtime: Runtime, fp32: Pixels) -> None:
    out = restore(small, artifact_of(small, name), runtime, blurred(128, 192))
    assert int(np.abs(out.astype(int) - fp32).max()) <= 1


@pytest.mark.parametrize(("name", "artifact"), FILES, ids=[f"{name}-{artifact.label}" for name, artifact in FILES])
def test_every_file_that_a_runtime_reads_gives_nearly_the_picture_of_fp32_or_is_refused(
    small: Bundle, name: str, artifact: Artifact, fp32: Pixels
) -> None:
    runtime = None
    try:
        runtime = opened(name, small.path(artifact))
        out = restore(small, artifact, runtime, blurred(128, 192))
    except BundleError:
        # OpenCV computes in float32 only; OpenVINO's 8-bit sums overflow on x86 without VNNI.
        refused = {("opencv_dnn", "fp16"), ("opencv_dnn", "int8")}
        refused |= {("openvino", "int8")} if int8_overflows(platform.machine(), hardware.features()) else set()
        assert (name, artifact.variant) in refused
        return
    finally:
        if runtime is not None:
            runtime.close()
    assert psnr(out, fp32) > {"fp32": 60, "fp16": 55, "dynamic": 45, "int8": 38}[artifact.variant]


@pytest.mark.parametrize("content", ["text", "empty", "half", "missing"])
def test_a_file_that_is_not_a_model_is_a_bundle_error_that_names_it(
    small: Bundle, name: str, content: str, tmp_path: Path
) -> None:
    opened(name, model_path(small, name)).close()  # skips a missing runtime
    whole = model_path(small, name).read_bytes()
    path = tmp_path / f"broken.{formats(name)[0]}"
    if content != "missing":
        path.write_bytes({"text": b"no model at all", "empty": b"", "half": whole[: len(whole) // 2]}[content])
    with pytest.raises(BundleError, match=r"broken\.") as caught:
        open_runtime(name, path, threads=1)
    assert not isinstance(caught.value, RuntimeMissing)


@pytest.mark.parametrize(
    "refused",
    [np.zeros((1, 64, 64, 2), np.uint8), np.zeros((64, 64, 2), np.float32), np.zeros((1, 64, 64, 3), np.float32)],
    ids=["type", "rank", "channels"],
)
def test_a_tensor_that_the_model_does_not_accept_is_a_bundle_error_and_the_next_one_works(
    runtime: Runtime, refused: np.ndarray
) -> None:
    given = planes_of(64, 64)
    before = runtime.run(given)
    with pytest.raises(BundleError, match="does not accept"):
        runtime.run(refused)
    assert np.array_equal(runtime.run(given), before)


def test_running_after_closing_is_a_bundle_error(runtime: Runtime) -> None:
    runtime.close()
    with pytest.raises(BundleError, match="used after it was closed"):
        runtime.run(np.zeros((1, 64, 64, 3), np.float32))


def test_closing_twice_is_safe(runtime: Runtime) -> None:
    runtime.close()
    runtime.close()


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Make packages appear as not installed."""
    find = importlib.util.find_spec

    def find_spec(module: str, package: str | None = None) -> ModuleSpec | None:
        return None if module in modules else find(module, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_a_missing_runtime_is_reported_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide(monkeypatch, RUNTIMES[name].module)
    assert not installed(name)
    with pytest.raises(RuntimeMissing) as caught:
        open_runtime(name, tmp_path / "none", threads=1)
    assert f"the runtime {name} is not installed; {RUNTIMES[name].install}" in str(caught.value)
    assert "pip install" in str(caught.value)
    assert caught.value.exit_code == 4
    assert isinstance(caught.value, ImportError)


def test_the_best_installed_runtime_is_the_first_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(RUNTIMES)
    for count, name in enumerate(names):
        monkeypatch.setattr(runtimes, "installed", lambda name, count=count: names.index(name) >= count)
        assert runtimes.first_installed() == name


def test_without_any_runtime_the_error_says_how_to_install_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, *(info.module for info in RUNTIMES.values()))
    with pytest.raises(RuntimeMissing, match="no inference runtime is installed; pip install ai-edge-litert"):
        runtimes.first_installed()


def test_an_unknown_runtime_names_the_nearest(tmp_path: Path) -> None:
    for call in (formats, installed, lambda name: open_runtime(name, tmp_path, 1)):
        with pytest.raises(UsageError, match="unknown runtime 'litret'; did you mean 'litert'"):
            call("litret")


def test_every_listed_runtime_has_an_adapter(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtimes, "installed", lambda name: True)
    with pytest.raises((DeblurkitError, ImportError)) as caught:
        open_runtime(name, tmp_path / "none", threads=1)
    assert "no adapter" not in str(caught.value)


def test_runtimes_for_comparison_are_never_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, *(RUNTIMES[name].module for name in ("litert", "tflite_runtime", "onnxruntime")))
    assert runtimes.first_installed() == "opencv_dnn"


@pytest.mark.skipif(not installed("openvino"), reason=RUNTIMES["openvino"].install)
def test_openvino_reports_to_nobody_and_writes_nothing_into_the_home_folder(small: Bundle, tmp_path: Path) -> None:
    code = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith("socket.") else None)
import time
from pathlib import Path
from device.runtimes import open_runtime
open_runtime("openvino", Path(sys.argv[1]), 1).close()
time.sleep(1)  # telemetry reports from its own thread
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
print(seen)
"""
    words = [sys.executable, "-c", code, str(model_path(small, "openvino"))]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(runtimes.__file__).parents[2])}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "features", "spoiled"),
    [
        ("x86_64", ("avx2", "fma"), True),
        ("x86_64", ("avx2", "avx512f", "avx512bw"), True),
        ("x86_64", ("avx2", "avx_vnni"), False),
        ("x86_64", ("avx512f", "avx512_vnni", "amx_int8"), False),
        ("aarch64", ("asimd",), False),
    ],
)
def test_openvino_refuses_int8_on_processors_where_its_sums_overflow(
    machine: str, features: tuple[str, ...], spoiled: bool
) -> None:
    assert int8_overflows(machine, features) == spoiled


@pytest.mark.parametrize(("features", "variant"), [(("avx2", "fma"), "fp32"), (("avx2", "avx_vnni"), None)])
def test_openvino_prefers_fp32_without_vnni(
    features: tuple[str, ...], variant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(hardware, "features", lambda: features)
    assert preferred_variant("openvino") == variant


def test_opencv_prefers_fp32_and_the_default_runtime_leaves_the_variant_to_the_bundle() -> None:
    assert (preferred_variant("opencv_dnn"), preferred_variant("litert")) == ("fp32", None)


@pytest.mark.parametrize(("numpy_version", "usable"), [("1.26.4", True), ("2.4.0", False)])
def test_tflite_runtime_needs_numpy_1(numpy_version: str, usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module, package=None: ModuleSpec(module, None))
    monkeypatch.setattr(np, "__version__", numpy_version)
    assert installed("tflite_runtime") == usable


@pytest.mark.skipif(not installed("openvino"), reason=RUNTIMES["openvino"].install)
def test_an_8_bit_file_that_openvino_would_spoil_is_refused(small: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(hardware, "features", lambda: ("avx2", "fma"))
    for file_format in ("tflite", "onnx"):
        with pytest.raises(BundleError, match=r"no VNNI.*--runtime litert"):
            open_runtime("openvino", small.path(small.artifact("int8", (file_format,))), threads=1)
    for variant in ("fp32", "dynamic"):
        open_runtime("openvino", small.path(small.artifact(variant, ("tflite",))), threads=1).close()


@pytest.mark.skipif(not installed("litert_compiled"), reason=RUNTIMES["litert_compiled"].install)
def test_the_compiled_model_prints_nothing_while_it_is_used(small: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = opened("litert_compiled", model_path(small, "litert_compiled"))
    for height, width in SIZES:
        runtime.run(planes_of(height, width))
    runtime.close()
    assert "INFO: [" not in capfd.readouterr().err


@pytest.mark.parametrize("fault", ["compressed", "no weights", "half the weights", "no channels", "an unknown layer"])
def test_a_damaged_ncnn_file_is_refused(small: Bundle, fault: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(model_path(small, "ncnn")) as archive:
        param, weights = archive.read(PARAM), archive.read(BIN)
    assert b" 0=2\n" in param
    assert b"PixelShuffle" in param
    if fault == "no channels":
        param = param.replace(b" 0=2\n", b"\n", 1)
    if fault == "an unknown layer":
        param = param.replace(b"PixelShuffle", b"DepthToSpace")
    if fault == "half the weights":
        weights = weights[: len(weights) // 2]
    path = tmp_path / "broken.ncnn"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if fault == "compressed" else zipfile.ZIP_STORED) as archive:
        archive.writestr(PARAM, param)
        if fault != "no weights":
            archive.writestr(BIN, weights)
    with pytest.raises(BundleError, match=r"broken\.ncnn"):
        opened("ncnn", path)


def test_a_bundle_without_a_file_for_ncnn_says_how_to_export_one(small: Bundle) -> None:
    without = tuple(a for a in small.manifest.artifacts if a.format != "ncnn")
    with pytest.raises(BundleError, match="export RUN --ncnn"):
        replace(small, manifest=replace(small.manifest, artifacts=without)).artifact(None, formats("ncnn"))
