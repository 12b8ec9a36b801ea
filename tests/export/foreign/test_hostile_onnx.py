"""Hostile ONNX files, built for real: each is refused, and nothing of what it would do has happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import onnx  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

Call = Callable[..., Any]


def onnx_with(path: Path, location: str | None = None, domain: str = "", operator: str = "Relu", **attributes: object) -> Path:
    """One operator and one constant whose values are in `location`."""
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
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/secret", "..", ".", ""])
def test_weights_that_climb_out_of_the_folder_are_refused(tmp_path: Path, location: str, theirs: Path, refused: Call) -> None:
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    refused(onnx_with(theirs / "model.onnx", location), "expected a plain file beside it")


def test_weights_behind_a_link_are_refused(tmp_path: Path, theirs: Path, refused: Call) -> None:
    path = onnx_with(theirs / "model.onnx", "w")
    (tmp_path / "secret").write_bytes(np.float32(7).tobytes())
    (theirs / "w").symlink_to(tmp_path / "secret")
    refused(path, "expected a plain file beside it")


def test_weights_outside_that_a_branch_hides_are_refused(theirs: Path, refused: Call) -> None:
    path = onnx_with(theirs / "model.onnx")
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
    refused(path, r"its weights lie in '\.\./secret'")


@pytest.mark.parametrize("domain", ["com.theirs", "com.microsoft", "ai.onnx.ml"])
def test_operators_from_outside_the_standard_are_refused(domain: str, theirs: Path, refused: Call) -> None:
    refused(onnx_with(theirs / "model.onnx", domain=domain, operator="Gelu"), f"uses {domain}, expected")


def test_functions_of_its_own_are_refused(theirs: Path, refused: Call) -> None:
    path = onnx_with(theirs / "model.onnx")
    model = onnx.load(path)
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("", "Theirs", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    path.write_bytes(model.SerializeToString())
    refused(path, "uses functions of its own")


def test_an_operator_that_the_opset_does_not_know_is_refused(theirs: Path, refused: Call) -> None:
    refused(onnx_with(theirs / "model.onnx", operator="Theirs"), "not a valid ONNX file .*Theirs")


def test_paths_of_somebodys_machine_are_removed(opened: Call, theirs: Path) -> None:
    path = onnx_with(theirs / "model.onnx")
    model = onnx.load(path)
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "/home/somebody/train.py"
    model.metadata_props.add(key="where", value="/home/somebody")
    model.graph.node[1].metadata_props.add(key="where", value="/home/somebody")
    path.write_bytes(model.SerializeToString())
    assert b"somebody" not in opened(path).convert("onnx", "fp32", None)
