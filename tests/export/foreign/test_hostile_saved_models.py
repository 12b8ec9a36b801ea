"""Hostile SavedModels, built for real: each is refused, and nothing of what it would do has happened."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

Call = Callable[..., Any]


def saved_model(path: Path, function: Callable) -> Path:
    """A module whose signature calls `function` on the picture."""

    class Theirs(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="x")])
        def __call__(self, x: tf.Tensor) -> dict:
            return {"y": function(x)}

    module = Theirs()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.__call__})
    return path


def test_a_saved_model_that_writes_a_file_is_refused(canary: Path, theirs: Path, refused: Call) -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.io.write_file(str(canary), "evil")]):
            return tf.identity(x)

    refused(saved_model(theirs / "writes", function), "has the operator WriteFile")
    tf.saved_model.load(str(theirs / "writes"))(tf.zeros((1, 2, 2, 3)))
    assert canary.exists()  # it would


def test_a_saved_model_that_reads_a_file_is_refused(theirs: Path, refused: Call) -> None:
    path = saved_model(theirs / "reads", lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32))
    refused(path, "has the operator (ReadFile|StringLength)")


@pytest.mark.parametrize(("call", "operator"), [(tf.py_function, "EagerPyFunc"), (tf.numpy_function, "PyFunc")])
def test_a_saved_model_that_calls_python_is_refused(
    canary: Path, call: Callable, operator: str, theirs: Path, refused: Call
) -> None:
    def python(x: np.ndarray) -> np.ndarray:
        canary.touch()
        return x

    def function(x: tf.Tensor) -> tf.Tensor:
        y = call(python, [x], tf.float32)
        return tf.ensure_shape(y, x.shape)

    refused(saved_model(theirs / "python", function), f"has the operator ({operator}|EnsureShape)")


def test_a_saved_model_that_saves_a_checkpoint_as_it_runs_is_refused(
    tmp_path: Path, canary: Path, theirs: Path, refused: Call
) -> None:
    def function(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies(
            [tf.raw_ops.SaveV2(prefix=str(canary), tensor_names=["x"], shape_and_slices=[""], tensors=[x])]
        ):
            return tf.identity(x)

    path = saved_model(theirs / "saves", function)
    refused(path, "reads or writes files as it runs")
    assert not list(tmp_path.glob("canary*"))


def test_a_saved_model_with_a_table_or_an_asset_is_refused(tmp_path: Path, theirs: Path, refused: Call) -> None:
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
    tf.saved_model.save(module, str(theirs / "asset"), signatures={"serving_default": module.__call__})
    refused(theirs / "asset", r"holds an object of its own \(asset\)")


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
    good: Path, edit: Callable, message: str, theirs: Path, refused: Call
) -> None:
    refused(edited(good, theirs / "tampered", edit), message)


def test_a_saved_model_with_a_link_out_of_its_folder_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = theirs / "linked"
    shutil.copytree(good / "plain", path)
    (path / "variables" / "variables.index").unlink()
    (path / "variables" / "variables.index").symlink_to(good / "plain" / "variables" / "variables.index")
    refused(path, "is a link that leaves the folder")


def test_a_folder_that_is_no_saved_model_is_refused(theirs: Path, refused: Call) -> None:
    refused(theirs, r"no saved_model\.pb in it")


@pytest.mark.parametrize("file", ["variables/variables.index", "variables/variables.data-00000-of-00001"])
def test_a_saved_model_with_truncated_variables_is_refused(good: Path, file: str, theirs: Path, refused: Call) -> None:
    path = theirs / "plain"
    shutil.copytree(good / "plain", path)
    os.truncate(path / file, 20)
    refused(path, "TensorFlow .* does not load it")
