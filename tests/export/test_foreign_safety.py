"""Hostile model files, built for real: each is refused, and what it would have done has not happened."""

import io
import json
import os
import pickle
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
import tensorflow as tf  # noqa: E402
from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from keras import layers  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

from device.errors import BundleError  # noqa: E402
from export import foreign  # noqa: E402
from export.foreign import Declared, open_foreign  # noqa: E402
from export.subject import Pictures, Subject  # noqa: E402

HW = (32, 32)
PICTURES = Pictures(
    [np.zeros((1, *HW, 3), np.float32)], np.zeros((1, *HW, 3), np.float32), np.zeros((1, *HW, 3), np.float32), "black"
)
Edit = Callable[[dict], None]


def opened(path: Path) -> Subject:
    return open_foreign(path, Declared("rgb", (0, 1), 1), PICTURES, HW)


def plain() -> keras.Model:
    given = keras.Input((None, None, 3))
    return keras.Model(given, layers.Conv2D(3, 3, padding="same", activation="relu", bias_initializer="ones")(given))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one harmless network in every form."""
    folder, network = tmp_path_factory.mktemp("good"), plain()
    network.save(folder / "plain.keras")
    network.export(folder / "plain", verbose=False)
    subject = opened(folder / "plain.keras")
    for format_ in ("onnx", "tflite"):
        (folder / f"plain.{format_}").write_bytes(subject.convert(format_, "fp32", None))
    return folder


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that a hostile model writes; it must never appear."""
    return tmp_path / "canary"


def refused(path: Path, message: str, canary: Path) -> None:
    """Nothing was run, and nothing was written beside it."""
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(BundleError, match=message) as caught:
        opened(path)
    assert caught.value.exit_code == 4
    assert not canary.exists()
    assert sorted(path.parent.parent.rglob("*")) == before


def keras_file(
    path: Path, good: Path, edit: Edit | None = None, members: dict[str, bytes] | None = None, packed: int = 0
) -> Path:
    """A copy of the harmless .keras with its config.json edited, or members added or replaced."""
    with zipfile.ZipFile(good / "plain.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    if edit:
        edit(config)
    contents |= {"config.json": json.dumps(config).encode()} | (members or {})
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def conv(config: dict) -> dict:
    """The only convolution of the config."""
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Conv2D")


def becomes(module: str | None, name: str, config: dict | str, registered: str | None = None) -> Edit:
    """Replace the convolution by another object."""

    def edit(whole: dict) -> None:
        conv(whole).update({"module": module, "class_name": name, "config": config, "registered_name": registered})

    return edit


def holds(key: str, value: dict) -> Edit:
    """Put another object into the convolution."""
    return lambda whole: conv(whole)["config"].update({key: value})


# .keras


@pytest.mark.parametrize("form", ["plain.keras", "plain", "plain.onnx", "plain.tflite"])
def test_the_harmless_network_that_the_others_are_made_of_is_taken(good: Path, form: str) -> None:
    assert opened(good / form).manifest.parameters == 84


def test_a_lambda_is_refused(tmp_path: Path, canary: Path) -> None:
    def touch(x: tf.Tensor, file: str = str(canary)) -> tf.Tensor:
        open(file, "w").close()
        return x

    given = keras.Input((8, 8, 3))
    network = keras.Model(given, layers.Lambda(lambda x, f=touch: f(x), output_shape=(8, 8, 3))(given))
    network(np.zeros((1, 8, 8, 3), np.float32))
    assert canary.exists()  # it would
    canary.unlink()
    network.save(_made(tmp_path / "m" / "lambda.keras"))
    refused(tmp_path / "m" / "lambda.keras", r"names keras\.layers\.Lambda", canary)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (becomes("os", "system", {"command": "touch canary"}), r"names os\.system"),
        (becomes("builtins", "function", "exec", "exec"), r"names builtins\.function \(exec\)"),
        (becomes("os", "function", "system", "system"), r"names os\.function \(system\)"),
        (becomes("keras.layers", "TFSMLayer", {"filepath": "elsewhere"}), r"keras\.layers\.TFSMLayer"),
        (becomes("keras.layers", "TorchModuleWrapper", {"module": "pickled"}), r"keras\.layers\.TorchModuleWrapper"),
        (becomes("keras.layers", "StringLookup", {"vocabulary": "secret"}), r"keras\.layers\.StringLookup"),
        (becomes("keras.layers", "Conv2D", {}, "theirs>Conv2D"), r"keras\.layers\.Conv2D \(theirs>Conv2D\)"),
        (becomes(None, "Lambda", {}), r"names None\.Lambda"),
        (becomes(None, "__lambda__", {"value": "4wAAAA=="}), r"names None\.__lambda__"),
        (becomes("keras.utils", "get_file", {"origin": "elsewhere"}), r"keras\.utils\.get_file"),
        (becomes("keras.initializers", "get", {}), r"keras\.initializers\.get"),
        (becomes("keras.src.ops.core", "Map", {}), r"keras\.src\.ops\.core\.Map"),
        (becomes("keras.src.saving.serialization_lib", "enable_unsafe_deserialization", {}), "enable_unsafe_deserialization"),
        (holds("activation", {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}}), "__lambda__"),
        (holds("kernel_initializer", {"module": "os", "class_name": "abort", "config": {}}), r"names os\.abort"),
        (lambda c: c.update(module="theirs", class_name="Model"), r"names theirs\.Model"),
    ],
)  # fmt: skip
def test_a_config_that_names_anything_but_keras_own_layers_is_refused(
    tmp_path: Path, good: Path, canary: Path, edit: Edit, message: str
) -> None:
    refused(keras_file(tmp_path / "m" / "model.keras", good, edit), message, canary)


def test_a_config_too_deep_to_be_read_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    deep = b'{"class_name": "x", "config": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    refused(keras_file(tmp_path / "m" / "model.keras", good, members={"config.json": deep}), "damaged one", canary)


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/../../evil", "model.weights.h5/evil", "evil.py"])
def test_a_member_that_no_keras_file_has_is_refused(tmp_path: Path, good: Path, canary: Path, name: str) -> None:
    path = keras_file(tmp_path / "m" / "model.keras", good, members={name: b"evil"})
    refused(path, f"holds '{name}'; expected config.json", canary)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = keras_file(tmp_path / "m" / "model.keras", good)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", json.dumps({"module": "os", "class_name": "system"}))
    refused(path, "holds 4 entries", canary)


def test_too_many_entries_are_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = keras_file(tmp_path / "m" / "model.keras", good, members={f"assets/{i}": b"" for i in range(70)})
    refused(path, "expected config.json", canary)


def test_a_link_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    with zipfile.ZipFile(good / "plain.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "m" / "model.keras"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)
            if name == "metadata.json":
                entry.external_attr, content = (stat.S_IFLNK | 0o777) << 16, b"/etc/passwd"  # noqa: PLW2901
            archive.writestr(entry, content)
    refused(path, "holds a symbolic link", canary)


def test_a_missing_member_is_refused(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "m" / "model.keras"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    refused(path, "holds 1 entries: config.json; expected", canary)


def test_a_zip_bomb_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = keras_file(tmp_path / "m" / "model.keras", good, members={"model.weights.h5": bytes(64 << 20)}, packed=1)
    assert path.stat().st_size < 200_000
    refused(path, r"bytes would unpack to 671\d+, expected at most", canary)


def test_a_bomb_whose_directory_lies_about_its_size_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = keras_file(tmp_path / "m" / "model.keras", good, members={"model.weights.h5": bytes(64 << 20)}, packed=1)
    true, said = (64 << 20).to_bytes(4, "little"), (100_000).to_bytes(4, "little")
    data = path.read_bytes()
    assert data.count(true) == 2
    path.write_bytes(data.replace(true, said))
    refused(path, "damaged one", canary)


def test_a_file_larger_than_the_limit_is_refused_unread(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, good: Path
) -> None:
    monkeypatch.setattr(foreign, "LIMIT", 1000)
    for form in ("plain.keras", "plain.onnx", "plain.tflite", "plain"):
        target = tmp_path / "m" / form
        _ = shutil.copytree(good / form, target) if (good / form).is_dir() else shutil.copy(good / form, _made(target))
        refused(target, "expected at most", canary)


def _made(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


class Touch:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("suffix", [".keras", ".onnx", ".tflite", ".h5", ".pkl", ".pt", ".pth", ".safetensors", ".bin", ""])
def test_a_pickle_under_any_name_is_refused(tmp_path: Path, canary: Path, suffix: str) -> None:
    path = _made(tmp_path / "m" / f"model{suffix}")
    path.write_bytes(pickle.dumps(Touch(canary)))
    pickle.loads(path.read_bytes())
    assert canary.exists()  # it would
    canary.unlink()
    refused(path, "damaged|is not taken", canary)


@pytest.mark.parametrize(
    ("suffix", "way"), [(".h5", "save it as .keras"), (".pt", "export it to ONNX"), (".pb", "give the folder")]
)
def test_other_forms_are_refused_with_the_way_to_one_that_is_taken(tmp_path: Path, canary: Path, suffix: str, way: str) -> None:
    path = _made(tmp_path / "m" / f"model{suffix}")
    path.write_bytes(b"anything")
    refused(path, rf"\{suffix} is not taken, expected a \.keras file, a SavedModel's folder.*{way}", canary)


def weights(edit: Callable[[h5py.File], None], good: Path) -> bytes:
    with zipfile.ZipFile(good / "plain.keras") as archive:
        buffer = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return buffer.getvalue()


def kernel_elsewhere(file: h5py.File, put: Callable[[h5py.Group], None]) -> None:
    group = file["layers/conv2d/vars"] if "layers/conv2d" in file else file["layers/only/vars"]
    del group["0"]
    put(group)


@pytest.mark.parametrize(
    "put",
    [
        lambda group: group.__setitem__("0", h5py.ExternalLink("/etc/secret.h5", "/kernel")),
        lambda group: group.__setitem__("0", h5py.SoftLink("/layers")),
        lambda group: group.create_dataset("0", (3, 3, 3, 3), "f4", external=[("/etc/passwd", 0, 324)]),
        lambda group: group.create_virtual_dataset("0", _virtual()),
    ],
    ids=["external link", "soft link", "external storage", "virtual"],
)
def test_weights_that_lie_elsewhere_are_refused(
    tmp_path: Path, good: Path, canary: Path, put: Callable[[h5py.Group], None]
) -> None:
    data = weights(lambda file: kernel_elsewhere(file, put), good)
    path = keras_file(tmp_path / "m" / "model.keras", good, members={"model.weights.h5": data})
    refused(path, "its weights point to another place", canary)


def _virtual() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((3, 3, 3, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "kernel", (3, 3, 3, 3))
    return layout


def test_weights_that_claim_more_than_their_file_are_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    data = weights(
        lambda file: kernel_elsewhere(file, lambda group: group.create_dataset("0", (1 << 20, 1 << 10), "f4", chunks=True)), good
    )
    path = keras_file(tmp_path / "m" / "model.keras", good, members={"model.weights.h5": data})
    refused(path, r"its weights claim 4294967\d+ bytes in a file of", canary)


# SavedModel


def saved_model(path: Path, function: Callable) -> Path:
    """A module whose signature calls `function` on the picture."""

    class Theirs(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict:
            return {"y": function(x)}

    module = Theirs()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.__call__})
    return path


def test_a_saved_model_that_writes_a_file_is_refused(tmp_path: Path, canary: Path) -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.io.write_file(str(canary), "evil")]):
            return tf.identity(x)

    refused(saved_model(tmp_path / "m" / "writes", function), "has the operator WriteFile", canary)
    tf.saved_model.load(str(tmp_path / "m" / "writes"))(tf.zeros((1, 2, 2, 3)))
    assert canary.exists()  # it would


def test_a_saved_model_that_reads_a_file_is_refused(tmp_path: Path, canary: Path) -> None:
    path = saved_model(
        tmp_path / "m" / "reads", lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)
    )
    refused(path, "has the operator (ReadFile|StringLength)", canary)


@pytest.mark.parametrize(("call", "operator"), [(tf.py_function, "EagerPyFunc"), (tf.numpy_function, "PyFunc")])
def test_a_saved_model_that_calls_python_is_refused(tmp_path: Path, canary: Path, call: Callable, operator: str) -> None:
    def python(x: np.ndarray) -> np.ndarray:
        canary.touch()
        return x

    def function(x: tf.Tensor) -> tf.Tensor:
        y = call(python, [x], tf.float32)
        return tf.ensure_shape(y, x.shape)

    refused(saved_model(tmp_path / "m" / "python", function), f"has the operator ({operator}|EnsureShape)", canary)


def test_a_saved_model_that_saves_a_checkpoint_as_it_runs_is_refused(tmp_path: Path, canary: Path) -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies(
            [tf.raw_ops.SaveV2(prefix=str(canary), tensor_names=["x"], shape_and_slices=[""], tensors=[x])]
        ):
            return tf.identity(x)

    path = saved_model(tmp_path / "m" / "saves", function)
    refused(path, "reads or writes files as it runs", canary)
    assert not list(tmp_path.glob("canary*"))


def test_a_saved_model_with_a_table_or_an_asset_is_refused(tmp_path: Path, canary: Path) -> None:
    vocabulary = tmp_path / "vocabulary"
    vocabulary.write_text("a\nb\n")

    class Theirs(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.asset = tf.saved_model.Asset(str(vocabulary))

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict:
            return {"y": tf.nn.relu(x)}

    module = Theirs()
    tf.saved_model.save(module, str(tmp_path / "m" / "asset"), signatures={"serving_default": module.__call__})
    refused(tmp_path / "m" / "asset", r"holds an object of its own \(asset\)", canary)


def edited(good: Path, path: Path, edit: Callable) -> Path:
    shutil.copytree(good / "plain", path)
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    edit(saved.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())
    return path


def hide(meta: object) -> None:
    child = meta.object_graph_def.nodes[0].children.add()
    child.local_name, child.node_id = "serving_default", 0


def rename_operator(meta: object) -> None:
    next(
        node for function in meta.graph_def.library.function for node in function.node_def if node.op == "Conv2D"
    ).op = "LoadAndRunTheirs"


def write_at_the_start(meta: object) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value[:] = [meta.saver_def.restore_op_name]


def call_the_saver(meta: object) -> None:
    saver = next(f.signature.name for f in meta.graph_def.library.function if "save" in f.signature.name)
    node = next(
        node for function in meta.graph_def.library.function for node in function.node_def if node.op == "StatefulPartitionedCall"
    )
    node.attr["f"].func.name = saver


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (hide, "hides its signature behind an attribute"),
        (rename_operator, "has the operator LoadAndRunTheirs"),
        (write_at_the_start, "reads or writes files as it runs"),
        (call_the_saver, "reads or writes files as it runs"),
        (lambda meta: meta.ClearField("object_graph_def"), "saved by TensorFlow 1"),
        (lambda meta: meta.signature_def["serving_default"].Clear(), "0 inputs and 0 outputs"),
        (lambda meta: meta.signature_def.pop("serving_default"), "has no signature serving_default"),
        (lambda meta: setattr(meta.object_graph_def.nodes[0], "registered_name", "theirs>Thing"), "theirs>Thing"),
    ],
)
def test_a_saved_model_whose_graph_was_tampered_with_is_refused(
    tmp_path: Path, good: Path, canary: Path, edit: Callable, message: str
) -> None:
    refused(edited(good, _made(tmp_path / "m" / "tampered"), edit), message, canary)


def test_a_saved_model_with_a_link_out_of_its_folder_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = tmp_path / "m" / "linked"
    shutil.copytree(good / "plain", path)
    (path / "variables" / "variables.index").unlink()
    (path / "variables" / "variables.index").symlink_to(good / "plain" / "variables" / "variables.index")
    refused(path, "is a link that leaves the folder", canary)


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path, canary: Path) -> None:
    refused(_made(tmp_path / "m" / "x").parent, r"no saved_model\.pb in it", canary)


# ONNX


def onnx_with(path: Path, location: str | None = None, domain: str = "", operator: str = "Relu", **attributes: object) -> Path:
    """One operator and one constant whose values lie in `location`."""
    weight = numpy_helper.from_array(np.ones((1,), np.float32), "w")
    if location is not None:
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", location
    shape = [1, 3, "h", "w"]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name in ("x", "y")]
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["t"]),
        helper.make_node(operator, ["t"], ["y"], domain=domain, **attributes),
    ]
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight]), opset_imports=opsets)
    model.ir_version = 8
    _made(path).write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/secret", "..", ".", ""])
def test_weights_that_climb_out_of_the_folder_are_refused(tmp_path: Path, canary: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    refused(onnx_with(tmp_path / "m" / "model.onnx", location), "expected a plain file beside it", canary)


def test_weights_behind_a_link_are_refused(tmp_path: Path, canary: Path) -> None:
    path = onnx_with(tmp_path / "m" / "model.onnx", "w")
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    (tmp_path / "m" / "w").symlink_to(tmp_path / "secret")
    refused(path, "expected a plain file beside it", canary)


def test_weights_outside_that_a_branch_hides_are_refused(tmp_path: Path, canary: Path) -> None:
    path = onnx_with(tmp_path / "m" / "model.onnx")
    model = onnx.load(path)
    secret = onnx.TensorProto(name="s", dims=[1], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value="../secret")
    constant = helper.make_node("Constant", [], ["s"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=secret))
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("s", 1, [1])])
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    model.graph.node.append(helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch))
    path.write_bytes(model.SerializeToString())
    refused(path, r"its weights lie in '\.\./secret'", canary)


@pytest.mark.parametrize("domain", ["com.theirs", "com.microsoft", "ai.onnx.ml"])
def test_operators_from_outside_the_standard_are_refused(tmp_path: Path, canary: Path, domain: str) -> None:
    refused(onnx_with(tmp_path / "m" / "model.onnx", domain=domain, operator="Gelu"), f"uses {domain}, expected", canary)


def test_functions_of_its_own_are_refused(tmp_path: Path, canary: Path) -> None:
    path = onnx_with(tmp_path / "m" / "model.onnx")
    model = onnx.load(path)
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Theirs", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    path.write_bytes(model.SerializeToString())
    refused(path, "uses functions of its own", canary)


def test_an_operator_that_the_opset_does_not_know_is_refused(tmp_path: Path, canary: Path) -> None:
    refused(onnx_with(tmp_path / "m" / "model.onnx", operator="Theirs"), "not a valid ONNX file .*Theirs", canary)


def test_places_on_somebodys_machine_do_not_travel_on(tmp_path: Path) -> None:
    path = onnx_with(tmp_path / "m" / "model.onnx")
    model = onnx.load(path)
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "/home/somebody/train.py"
    model.metadata_props.add(key="where", value="/home/somebody")
    model.graph.node[1].metadata_props.add(key="where", value="/home/somebody")
    path.write_bytes(model.SerializeToString())
    assert b"somebody" not in opened(path).convert("onnx", "fp32", None)


# TFLite


@pytest.mark.parametrize("name", [b"FlexWriteFile", b"TheirOwn"])
def test_a_custom_operator_is_refused_by_name(tmp_path: Path, good: Path, canary: Path, name: bytes) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((good / "plain.tflite").read_bytes()))
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = name
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = _made(tmp_path / "m" / "model.tflite")
    path.write_bytes(bytes(builder.Output()))
    refused(path, f"has the operators {name.decode()}, which LiteRT does not have itself", canary)


def test_a_flex_operator_of_tensorflow_is_refused(tmp_path: Path, canary: Path) -> None:
    signature = [tf.TensorSpec((1, 32, 32, 3), tf.float32)]
    function = tf.function(lambda x: tf.image.adjust_hue(x, 0.1), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = _made(tmp_path / "m" / "model.tflite")
    path.write_bytes(converter.convert())
    refused(path, "has the operators FlexAdjustHue", canary)


def test_a_tflite_file_without_its_mark_is_refused(tmp_path: Path, good: Path, canary: Path) -> None:
    path = _made(tmp_path / "m" / "model.tflite")
    data = (good / "plain.tflite").read_bytes()
    path.write_bytes(data[:4] + b"TFL9" + data[8:])
    refused(path, "damaged or no TFLite file", canary)


# damaged


@pytest.mark.parametrize("form", ["plain.keras", "plain.onnx", "plain.tflite", "plain"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_of_each_kind_is_refused(tmp_path: Path, good: Path, canary: Path, form: str, share: float) -> None:
    path = tmp_path / "m" / form
    if (good / form).is_dir():
        shutil.copytree(good / form, path)
        file = path / "saved_model.pb"
    else:
        file = Path(shutil.copy(good / form, _made(path)))
    os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(BundleError):
        opened(path)
    assert not canary.exists()


@pytest.mark.parametrize("file", ["variables/variables.index", "variables/variables.data-00000-of-00001"])
def test_a_saved_model_with_truncated_variables_is_refused(tmp_path: Path, good: Path, canary: Path, file: str) -> None:
    path = tmp_path / "m" / "plain"
    shutil.copytree(good / "plain", path)
    os.truncate(path / file, 20)
    refused(path, "TensorFlow .* does not load it", canary)


def test_what_is_not_there_is_said_so(tmp_path: Path, canary: Path) -> None:
    refused(_made(tmp_path / "m" / "none.keras"), "no such file; give a .keras file, a SavedModel's folder", canary)
