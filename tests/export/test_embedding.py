"""Converted files with readable names and their contract inside compute the same as before."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import flatbuffers  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from device.bundle.embedded import read_contract  # noqa: E402
from device.bundle.manifest import Artifact, Manifest, file_facts  # noqa: E402
from device.bundle.open import Bundle, open_bundle  # noqa: E402
from device.bundle.write import write_manifest  # noqa: E402
from device.errors import ExportError  # noqa: E402
from device.images.frame import Pixels  # noqa: E402
from device.restore.restorer import Restorer  # noqa: E402
from device.runtimes import open_runtime  # noqa: E402
from device.system.console import quiet_stdio  # noqa: E402
from export import to_onnx, to_tflite  # noqa: E402
from export.embedding import contract_of, with_contract  # noqa: E402
from export.export_source import Calibration  # noqa: E402
from export.readable_names import onnx_with_readable_names, tflite_with_readable_names  # noqa: E402
from train.architectures import UNet  # noqa: E402
from train.networks import build_network  # noqa: E402
from train.quantise import calibrated_ranges  # noqa: E402

FILES = [
    ("fp32", "tflite"), ("fp16", "tflite"), ("dynamic", "tflite"), ("int8", "tflite"), ("ranges", "tflite"),
    ("fp32", "onnx"), ("fp16", "onnx"), ("int8", "onnx"),
]  # fmt: skip
"""`int8` has 8-bit input and output; `ranges` is int8 with the ranges of the network's layers and with float input and output."""
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}
NET = UNet((8, 16), (1, 1), (1, 0), colour="luma")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    network = build_network(NET, 64, 64, batch=1)
    head = network.get_layer("head")
    head.kernel.assign(np.random.default_rng(1).normal(0, 0.03, head.kernel.shape))
    return network


@pytest.fixture(scope="module")
def layers(network: keras.Model) -> list[str]:
    return [layer.name for layer in network.layers]


@pytest.fixture(scope="module")
def flexible(network: keras.Model) -> keras.Model:
    flexible = build_network(NET)
    flexible.set_weights(network.get_weights())
    return flexible


@pytest.fixture(scope="module")
def files(network: keras.Model, flexible: keras.Model) -> dict[tuple[str, str], bytes]:
    """All files as the converters write them."""
    pictures = [np.random.default_rng(i).random((1, 64, 64, 1), np.float32) for i in range(3)]
    minmax = Calibration("minmax", pictures)
    unclipped = build_network(NET, 64, 64, batch=1, clip=False)
    unclipped.set_weights(network.get_weights())
    made = {(v, "tflite"): to_tflite.to_tflite(network, v, minmax) for v in ("fp32", "fp16", "dynamic", "int8")}
    made["int8", "tflite"] = to_tflite.with_pixels(made["int8", "tflite"], "int8")
    made["ranges", "tflite"] = to_tflite.to_tflite_int8(unclipped, calibrated_ranges(network, pictures))
    fp32 = to_onnx.to_onnx_fp32(flexible)
    return made | {(v, "onnx"): to_onnx.to_onnx(fp32, v, minmax) for v in ("fp32", "fp16", "int8")}


@pytest.fixture(scope="module")
def traced(flexible: keras.Model) -> onnx.ModelProto:
    """The fp32 graph with tf2onnx's own names."""
    signature = [tf.TensorSpec((1, None, None, 1), tf.float32, name="blurred")]
    with quiet_stdio():
        return tf2onnx.convert.from_keras(flexible, input_signature=signature, opset=to_onnx.OPSET)[0]


def described(small: Bundle, variant: str, format_: str, data: bytes) -> Manifest:
    """A manifest with this file only, its size and hash still blank."""
    specs = to_onnx.onnx_specs(data) if format_ == "onnx" else to_tflite.tflite_specs(data)
    artifact = Artifact("int8" if variant == "ranges" else variant, format_, "", "", 0, *specs)
    return replace(small.manifest, name="tiny", colour="luma", planes=1, pad_multiple=4, halo=16, artifacts=(artifact,))


def contract(small: Bundle, variant: str, format_: str, data: bytes) -> dict[str, Any]:
    manifest = described(small, variant, format_, data)
    return contract_of(manifest, manifest.artifacts[0])


def outputs(folder: Path, format_: str, data: bytes) -> list[np.ndarray]:
    """The file's outputs for the same noise at three sizes."""
    path = folder / f"model.{format_}"
    path.write_bytes(data)
    dtype = (to_onnx.onnx_specs(data) if format_ == "onnx" else to_tflite.tflite_specs(data))[0].dtype
    runtime, made = open_runtime(RUNTIME[format_], path, 1), []
    for height, width in ((64, 64), (32, 96), (100, 52)):
        noise = np.random.default_rng(height).random((1, height, width, 1), np.float32)
        made.append(runtime.run(noise if dtype == "float32" else (noise * 255 - 128).round().astype(dtype)))
    runtime.close()
    return made


def assert_same(before: list[np.ndarray], after: list[np.ndarray]) -> None:
    assert len({output.shape for output in before}) == 3
    assert all(np.ptp(output.astype(np.float32)) > 0 for output in before)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


# the contract


@pytest.mark.parametrize(("variant", "format_"), FILES)
def test_a_file_with_readable_names_and_a_contract_computes_the_same_bits_at_any_size(
    files: dict[tuple[str, str], bytes], layers: list[str], small: Bundle, tmp_path: Path, variant: str, format_: str
) -> None:
    data = files[variant, format_]
    before = outputs(tmp_path, format_, data)
    if format_ == "tflite":
        renamed = tflite_with_readable_names(data, layers)
    else:
        renamed = onnx_with_readable_names(onnx.load_from_string(data), layers).SerializeToString(deterministic=True)
    assert_same(before, outputs(tmp_path, format_, renamed))
    assert_same(before, outputs(tmp_path, format_, with_contract(renamed, format_, contract(small, variant, format_, renamed))))


@pytest.mark.parametrize(("variant", "format_"), FILES)
def test_the_contract_reads_back_and_the_same_call_makes_the_same_bytes(
    files: dict[tuple[str, str], bytes], small: Bundle, tmp_path: Path, variant: str, format_: str
) -> None:
    data, path = files[variant, format_], tmp_path / f"model.{format_}"
    first = contract(small, variant, format_, data)
    once = with_contract(data, format_, first)
    assert with_contract(data, format_, dict(reversed(first.items()))) == once
    path.write_bytes(once)
    assert read_contract(path) == first
    other = with_contract(once, format_, first | {"name": "another, with a longer name"})
    path.write_bytes(other)
    assert read_contract(path) == first | {"name": "another, with a longer name"}
    assert with_contract(other, format_, first) == once


def test_the_contract_is_the_manifest_with_this_file_alone_and_no_facts_that_it_would_change(small: Bundle) -> None:
    artifact = small.artifact("fp16", ("onnx",))
    made = contract_of(small.manifest, artifact)
    written = json.loads(json.dumps(asdict(small.manifest)))
    (theirs,) = [a for a in written["artifacts"] if a["file"] == artifact.file]
    assert made == written | {"weights": None, "artifacts": [theirs | {"file": "", "sha256": "", "bytes": 0}]}


@pytest.mark.parametrize(("variant", "format_"), FILES)
def test_a_file_copied_alone_restores_as_its_bundle_does(
    files: dict[tuple[str, str], bytes], small: Bundle, tmp_path: Path, picture: Pixels, variant: str, format_: str
) -> None:
    folder, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    path = folder / f"tiny.{format_}"
    manifest = described(small, variant, format_, files[variant, format_])
    path.write_bytes(with_contract(files[variant, format_], format_, contract_of(manifest, manifest.artifacts[0])))
    artifact = replace(manifest.artifacts[0], **file_facts(path))
    write_manifest(folder, replace(manifest, weights=None, artifacts=(artifact,)))
    lonely = open_bundle(shutil.copy(path, elsewhere))
    assert lonely == Bundle(elsewhere, open_bundle(folder).manifest)
    restored = []
    for bundle in (open_bundle(folder), lonely):
        with Restorer(bundle, None, RUNTIME[format_], 1, most_pixels=64**2) as restorer:
            restored.append(restorer.restore(picture))
    np.testing.assert_array_equal(restored[0], restored[1])
    assert not np.array_equal(restored[0], picture)


def test_a_reader_of_model_files_sees_who_made_them(files: dict[tuple[str, str], bytes], small: Bundle) -> None:
    line = "tiny (fp32): takes the blur out of pictures; made by deblurkit, its contract is inside as 'deblurkit'"
    made = {f: with_contract(files["fp32", f], f, contract(small, "fp32", f, files["fp32", f])) for f in ("tflite", "onnx")}
    assert schema.Model.GetRootAs(made["tflite"]).Description().decode() == line
    model = onnx.load_from_string(made["onnx"])
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version, model.doc_string) == ("deblurkit", "", line)
    session = onnxruntime.InferenceSession(made["onnx"], providers=["CPUExecutionProvider"])
    assert set(session.get_modelmeta().custom_metadata_map) == {"deblurkit"}


def test_entries_of_others_stay(files: dict[tuple[str, str], bytes], small: Bundle) -> None:
    data = files["fp32", "tflite"]
    before, after = (
        schema.ModelT.InitFromPackedBuf(d) for d in (data, with_contract(data, "tflite", contract(small, "fp32", "tflite", data)))
    )
    assert [m.name for m in after.metadata] == [*(m.name for m in before.metadata), b"deblurkit"]
    assert len(before.metadata) > 0
    for ours, theirs in zip(after.metadata, before.metadata, strict=False):
        np.testing.assert_array_equal(after.buffers[ours.buffer].data, before.buffers[theirs.buffer].data)
    model = onnx.load_from_string(files["fp32", "onnx"])
    model.metadata_props.add(key="author", value="someone")
    kept = onnx.load_from_string(
        with_contract(model.SerializeToString(), "onnx", contract(small, "fp32", "onnx", files["fp32", "onnx"]))
    )
    assert {p.key: p.value for p in kept.metadata_props}["author"] == "someone"


@pytest.mark.parametrize("variant", [v for v, f in FILES if f == "tflite"])
def test_weights_lie_at_multiples_of_16_bytes(
    files: dict[tuple[str, str], bytes], layers: list[str], small: Bundle, variant: str
) -> None:
    renamed = tflite_with_readable_names(files[variant, "tflite"], layers)
    data = with_contract(renamed, "tflite", contract(small, variant, "tflite", renamed))
    buffers = [b.data for b in schema.ModelT.InitFromPackedBuf(data).buffers if b.data is not None and len(b.data)]
    begin = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    offsets = [b.__array_interface__["data"][0] - begin for b in buffers]
    assert len(offsets) > 10
    assert {offset % 16 for offset in offsets} == {0}


def test_files_whose_weights_lie_elsewhere_are_refused(files: dict[tuple[str, str], bytes], small: Bundle) -> None:
    model = schema.ModelT.InitFromPackedBuf(files["fp32", "tflite"])
    model.buffers[3] = schema.BufferT(offset=4096, size=64)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(ExportError, match="lie behind the model or outside the file; expected one model below 2 GB"):
        tflite_with_readable_names(bytes(builder.Output()), ())
    graph = onnx.load_from_string(files["fp32", "onnx"])
    graph.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="lies in a file of its own"):
        with_contract(graph.SerializeToString(), "onnx", contract(small, "fp32", "onnx", files["fp32", "onnx"]))
    with pytest.raises(ExportError, match="this is not a TFLite model"):
        tflite_with_readable_names(files["fp32", "onnx"], ())


# names


@pytest.mark.parametrize("variant", [v for v, f in FILES if f == "tflite"])
def test_tensors_of_a_tflite_file_are_called_by_their_layers(
    files: dict[tuple[str, str], bytes], layers: list[str], variant: str
) -> None:
    interpreter = Interpreter(model_content=tflite_with_readable_names(files[variant, "tflite"], layers))
    names = [tensor["name"] for tensor in interpreter.get_tensor_details()]
    assert len(set(names)) == len(names)
    assert {"blurred", "down0/Relu", "up0_skip/Add", "head_depth_to_space/DepthToSpace", "restored"} <= set(names)
    assert interpreter.get_input_details()[0]["name"] == "blurred"
    assert interpreter.get_output_details()[0]["name"] == "restored"
    others = [n for n in names if n.split("/")[0] not in layers]
    assert all(n.startswith(("arith.constant", "tfl.", "__eight_bits")) for n in others), others
    assert not [n for n in names if ";" in n or n.endswith(":0")]


@pytest.mark.parametrize("variant", [v for v, f in FILES if f == "tflite"])
def test_the_signature_names_what_goes_in_and_comes_out(
    files: dict[tuple[str, str], bytes], layers: list[str], variant: str
) -> None:
    before = Interpreter(model_content=files[variant, "tflite"])
    after = Interpreter(model_content=tflite_with_readable_names(files[variant, "tflite"], layers))
    assert after.get_signature_list() == {"serving_default": {"inputs": ["blurred"], "outputs": ["restored"]}}
    dtype = after.get_input_details()[0]["dtype"]
    noise = (np.random.default_rng(0).random((1, 64, 64, 1)) * (1 if dtype is np.float32 else 100)).astype(dtype)
    restored = after.get_signature_runner()(blurred=noise)["restored"]
    (expected,) = before.get_signature_runner()(blurred=noise).values()
    np.testing.assert_array_equal(restored, expected)


def test_nodes_and_tensors_of_an_onnx_graph_are_called_by_their_layers(
    traced: onnx.ModelProto, layers: list[str], tmp_path: Path
) -> None:
    before = traced.SerializeToString(deterministic=True)
    renamed = onnx_with_readable_names(traced, layers)
    assert traced.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(renamed, full_check=True)
    assert_same(outputs(tmp_path, "onnx", before), outputs(tmp_path, "onnx", renamed.SerializeToString()))
    for names in (
        [node.name for node in renamed.graph.node],
        [*(o for node in renamed.graph.node for o in node.output), *(i.name for i in renamed.graph.initializer)],
    ):
        assert len(set(names)) == len(names)
        assert {"down0/Relu", "down1_block0_a/Relu", "picture_residual/Add"} <= set(names)
        assert not [n for n in names if "unet" in n]
    assert "head/convolution/ReadVariableOp" in {i.name for i in renamed.graph.initializer}
    for ends in ("input", "output"):
        assert [e.name for e in getattr(renamed.graph, ends)] == [e.name for e in getattr(traced.graph, ends)]
    assert onnx_with_readable_names(renamed, layers) == renamed


def graph_of(names: list[str]) -> onnx.ModelProto:
    """A chain of identities from "blurred", whose outputs (and nodes) have these names."""
    nodes = [
        onnx.helper.make_node("Identity", [a], [b], name=b)
        for a, b in zip(["blurred", *names], [*names, "restored"], strict=True)
    ]
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("blurred", "restored")]
    graph = onnx.helper.make_graph(nodes, "main", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("unet_1/up0_block0_a_1/Relu;unet_1/up0_block0_a_1/BiasAdd;x", "up0_block0_a/Relu"),
        ("functional_1/unet_1/picture_residual_1/Add", "picture_residual/Add"),
        ("unet_1/down2_block1_a_1/Relu:0", "down2_block1_a/Relu"),
        ("StatefulPartitionedCall/add_1/add;unet/up0_block0_a/Conv", "up0_block0_a/Conv"),
        ("a/conv_2/BiasAdd/ReadVariableOp", "conv_2/BiasAdd/ReadVariableOp"),
        ("a/conv_2_1/BiasAdd", "conv_2/BiasAdd"),
        ("a/up0_block0_a_1/restored", "up0_block0_a/restored"),
        ("a/b/c/d", "c/d"),
        ("Transpose__12:0", "Transpose__12"),
        ("unet/restored", "restored/2"),
    ],
)
def test_a_name_begins_with_the_layer_that_made_the_tensor(name: str, shown: str) -> None:
    layers = ["up0_block0_a", "picture_residual", "down2_block1_a", "conv", "conv_2", "restored"]
    assert onnx_with_readable_names(graph_of([name]), layers).graph.node[0].output[0] == shown


def test_every_tensor_has_a_name_of_its_own() -> None:
    renamed = onnx_with_readable_names(graph_of(["a/x/y", "b/x/y", "x/y/2", "c/x/y"]), [])
    assert [node.output[0] for node in renamed.graph.node] == ["x/y", "x/y/2", "y/2", "x/y/3", "restored"]
    onnx.checker.check_model(renamed, full_check=True)


def test_a_graph_with_branches_computes_the_same() -> None:
    inner = {
        side: onnx.helper.make_graph(
            [onnx.helper.make_node(operator, ["unet/down0_1/Identity:0", "unet/down0_1/Identity:0"], [f"unet/{side}/out"])],
            side, [], [onnx.helper.make_tensor_value_info(f"unet/{side}/out", onnx.TensorProto.FLOAT, [1])],
        )
        for side, operator in (("then", "Add"), ("else", "Mul"))
    }  # fmt: skip
    model = graph_of(["unet/down0_1/Identity:0", "unet/down0_2/Identity:0"])
    ends = [onnx.helper.make_tensor_value_info("which", onnx.TensorProto.BOOL, [1])]
    model.graph.input.extend(ends)
    branch = onnx.helper.make_node("If", ["which"], ["restored"], then_branch=inner["then"], else_branch=inner["else"])
    model.graph.node[2].CopyFrom(branch)
    renamed = onnx_with_readable_names(model, ["down0"])
    assert [node.output[0] for node in renamed.graph.node] == ["unet/down0_1/Identity:0", "down0/Identity", "restored"]
    for which, expected in ((True, 6.0), (False, 9.0)):
        session = onnxruntime.InferenceSession(renamed.SerializeToString(), providers=["CPUExecutionProvider"])
        given = {"blurred": np.array([3], np.float32), "which": np.array([which])}
        assert session.run(None, given)[0] == [expected]
