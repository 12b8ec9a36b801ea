"""Files for ncnn: pnnx converts, to_ncnn completes its text, and the outputs are the same."""

import importlib.util
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ncnn")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from device.bundle.embedded import read_contract
from device.bundle.manifest import Artifact, file_facts
from device.bundle.open import Bundle, open_bundle
from device.errors import BundleError, ExportError, RuntimeMissing
from device.images.frame import Pixels
from device.images.quality import psnr
from device.restore.restorer import Restorer
from device.runtimes import open_runtime
from device.runtimes.ncnn import BIN, PARAM
from export import to_ncnn
from export.embedding import contract_of, with_contract

try:
    to_ncnn.program()
except RuntimeMissing as error:
    pytest.skip(str(error), allow_module_level=True)

Command = Callable[..., Any]


def conv(given: str, made: str, channels: tuple[int, int], side: int = 1) -> tuple[Any, Any]:
    """A convolution with random weights that keeps the size, and its weights."""
    kernel = np.random.default_rng(channels[0] + side).normal(0, 0.4, (channels[1], channels[0], side, side)).astype(np.float32)
    node = helper.make_node("Conv", [given, f"{made}/kernel"], [made], auto_pad="SAME_UPPER", kernel_shape=[side, side])
    return node, numpy_helper.from_array(kernel, f"{made}/kernel")


def network(channels: int, block: int, mode: str = "DCR", between: str = "Relu") -> bytes:
    """Pixels into channels, a convolution, `between`, a convolution, channels into pixels."""
    wide = channels * block**2
    (first, first_kernel), (second, second_kernel) = conv("folded", "a", (wide, 8), 3), conv("b", "c", (8, wide))
    if between == "ConvTranspose":  # with padding at one side, as TensorFlow's has it
        kernel = numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float32), "b/kernel")
        middle = helper.make_node("ConvTranspose", ["a", "b/kernel"], ["b"], strides=[1, 1], pads=[2, 2, 0, 0])
    else:
        kernel, middle = first_kernel, helper.make_node(between, ["a"], ["b"])
    nodes = [
        helper.make_node("Transpose", ["blurred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("SpaceToDepth", ["planes"], ["folded"], blocksize=block),
        first,
        middle,
        second,
        helper.make_node("DepthToSpace", ["c"], ["unfolded"], blocksize=block, mode=mode),
        helper.make_node("Transpose", ["unfolded"], ["restored"], perm=[0, 2, 3, 1]),
    ]
    ends = [helper.make_tensor_value_info(n, 1, [1, "height", "width", channels]) for n in ("blurred", "restored")]
    kernels = list({kernel.name: kernel for kernel in (first_kernel, second_kernel, kernel)}.values())
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], kernels)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def converted(fp32: bytes, channels: int, folder: Path) -> Path:
    path = folder / "tiny_fp16.ncnn"
    path.write_bytes(to_ncnn.to_ncnn(fp32, channels, (64, 64), any_size=True))
    return path


@pytest.fixture(scope="module")
def shipped(small: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped fp32 file for ncnn, with its contract inside, alone in its folder."""
    fp32 = small.artifact("fp32", ("onnx",))
    data = to_ncnn.to_ncnn(small.path(fp32).read_bytes(), small.manifest.planes, (256, 256), any_size=True)
    path = tmp_path_factory.mktemp("alone") / "small_fp16.ncnn"
    path.write_bytes(data)
    given, made = to_ncnn.ncnn_specs(data)
    artifact = Artifact("fp16", "ncnn", **file_facts(path), input=given, output=made)
    contract = contract_of(replace(small.manifest, artifacts=(artifact,)), artifact)
    path.write_bytes(with_contract(data, "ncnn", contract))
    return path


@pytest.mark.parametrize(
    ("channels", "block", "mode"), [(1, 2, "DCR"), (3, 2, "DCR"), (3, 2, "CRD"), (1, 4, "DCR"), (3, 4, "DCR")]
)
def test_pixels_are_folded_in_the_order_that_onnx_has(channels: int, block: int, mode: str, tmp_path: Path) -> None:
    fp32 = network(channels, block, mode)
    session = onnxruntime.InferenceSession(fp32, providers=["CPUExecutionProvider"])
    runtime = open_runtime("ncnn", converted(fp32, channels, tmp_path), threads=1)
    for height, width in ((64, 64), (32, 96), (96, 48)):
        given = np.random.default_rng(height).random((1, height, width, channels), np.float32)
        (wanted,) = session.run(None, {"blurred": given})
        made = runtime.run(given)
        assert made.shape == wanted.shape
        assert np.abs(made - wanted).max() < 0.01 * np.abs(wanted).max()


def test_the_shipped_network_gives_the_same_picture(small: Bundle, shipped: Path, picture: Pixels) -> None:
    with Restorer(open_bundle(shipped), None, "ncnn", 1) as restorer, Restorer(small, "fp32", "onnxruntime", 1) as reference:
        assert restorer.artifact.label == "fp16.ncnn"
        made, wanted = restorer.restore(picture), reference.restore(picture)
    assert psnr(made, wanted) > 55
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert psnr(made, picture) < 45  # it did something


def test_the_same_network_gives_the_same_bytes_and_another_program_can_take_them_apart(small: Bundle, shipped: Path) -> None:
    again = to_ncnn.to_ncnn(
        small.path(small.artifact("fp32", ("onnx",))).read_bytes(), small.manifest.planes, (256, 256), any_size=True
    )
    with zipfile.ZipFile(shipped) as archive, zipfile.ZipFile(io.BytesIO(again)) as other:
        assert archive.testzip() is None
        assert archive.namelist() == [PARAM, BIN, "deblurkit.json"]
        assert all(archive.read(name) == other.read(name) for name in (PARAM, BIN))
        assert archive.read(PARAM).startswith(b"7767517\n")
        contract = archive.read("deblurkit.json")
    assert to_ncnn.with_entry(again, contract) == shipped.read_bytes()


def test_tensors_are_called_by_what_they_hold(shipped: Path) -> None:
    assert [spec.name for spec in to_ncnn.ncnn_specs(shipped.read_bytes())] == ["blurred", "restored"]


def test_a_contract_takes_the_place_of_the_one_before(shipped: Path, tmp_path: Path) -> None:
    path = tmp_path / "small_fp16.ncnn"
    path.write_bytes(with_contract(shipped.read_bytes(), "ncnn", {"name": "Grün"}))
    assert read_contract(path) == {"name": "Grün"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"half", b"altered"])
def test_a_damaged_file_is_refused_by_name(shipped: Path, content: bytes, tmp_path: Path) -> None:
    whole = shipped.read_bytes()
    at = whole.index(b'"schema"')
    spoiled = {b"half": whole[: len(whole) // 2], b"altered": whole[:at] + b"'" + whole[at + 1 :]}
    path = tmp_path / "spoiled.ncnn"
    path.write_bytes(spoiled.get(content, content))
    with pytest.raises(BundleError, match=r"spoiled\.ncnn"):
        open_bundle(path)


def test_an_operator_that_ncnn_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ncnn has no ConvTranspose.*leave out --ncnn"):
        converted(network(1, 2, between="ConvTranspose"), 1, tmp_path)


def test_a_file_that_pnnx_cannot_read_is_an_export_error_with_its_message() -> None:
    broken = onnx.load_from_string(network(1, 2))
    broken.graph.node[2].op_type = "Nonsense"
    with pytest.raises(ExportError, match="leave out --ncnn"):
        to_ncnn.to_ncnn(broken.SerializeToString(), 1, (64, 64), any_size=True)


def test_without_pnnx_the_error_names_the_line_that_installs_it(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "pnnx" else find(name, *rest))
    monkeypatch.setenv("PATH", "")
    ended = command("export", tmp_path, "--ncnn", "--out", tmp_path / "out")
    assert ended.code == 4
    assert "pip install --no-deps pnnx" in ended.err


@pytest.mark.keras
def test_a_run_is_exported_for_ncnn_through_the_same_gate(command: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    ended = command("export", run, "--out", out, "--variants", "fp32", "--ncnn", "--json", "--quiet")
    assert ended.code == 0, ended.err
    bundle = open_bundle(out)
    artifact = bundle.artifact(None, ("ncnn",))
    assert (artifact.label, artifact.file) == ("fp16.ncnn", "tiny_fp16.ncnn")
    assert artifact.parity is not None
    assert artifact.parity.psnr_db >= 60
    assert artifact.quality is not None
    assert abs(artifact.quality.loss_db) <= 0.01
    assert "ncnn" in bundle.manifest.made_with
    assert json.loads(ended.out.splitlines()[-1])["files"]["fp16.ncnn"]["graph"]["pieces"] == 1
    with Restorer(bundle, None, "ncnn", 1) as restorer:
        assert restorer.artifact == artifact
