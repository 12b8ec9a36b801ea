"""Hostile .keras files, built for real: each is refused, and nothing of what it would do has happened."""

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

Call = Callable[..., Any]
Edit = Callable[[dict], None]


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
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def conv(config: dict) -> dict:
    """The only convolution in the config."""
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Conv2D")


def becomes(module: str | None, name: str, config: dict | str, registered: str | None = None) -> Edit:
    """Replace the convolution by another object."""

    def edit(whole: dict) -> None:
        conv(whole).update({"module": module, "class_name": name, "config": config, "registered_name": registered})

    return edit


def holds(key: str, value: dict) -> Edit:
    """Put another object into the convolution."""
    return lambda whole: conv(whole)["config"].update({key: value})


def test_a_lambda_is_refused(canary: Path, theirs: Path, refused: Call) -> None:
    def touch(x: tf.Tensor, file: str = str(canary)) -> tf.Tensor:
        open(file, "w").close()
        return x

    given = keras.Input((8, 8, 3))
    network = keras.Model(given, layers.Lambda(lambda x, f=touch: f(x), output_shape=(8, 8, 3))(given))
    network(np.zeros((1, 8, 8, 3), np.float32))
    assert canary.exists()  # it would
    canary.unlink()
    network.save(theirs / "lambda.keras")
    refused(theirs / "lambda.keras", r"names keras\.layers\.Lambda")


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
    good: Path, edit: Edit, message: str, theirs: Path, refused: Call
) -> None:
    refused(keras_file(theirs / "model.keras", good, edit), message)


def test_a_config_too_deep_to_be_read_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    deep = b'{"class_name": "x", "config": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    refused(keras_file(theirs / "model.keras", good, members={"config.json": deep}), "damaged one")


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/../../evil", "model.weights.h5/evil", "evil.py"])
def test_a_member_that_no_keras_file_has_is_refused(good: Path, name: str, theirs: Path, refused: Call) -> None:
    path = keras_file(theirs / "model.keras", good, members={name: b"evil"})
    refused(path, f"holds '{name}'; expected config.json")


def test_a_name_that_comes_twice_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = keras_file(theirs / "model.keras", good)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", json.dumps({"module": "os", "class_name": "system"}))
    refused(path, "holds 4 entries")


def test_too_many_entries_are_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = keras_file(theirs / "model.keras", good, members={f"assets/{i}": b"" for i in range(70)})
    refused(path, "expected config.json")


def test_a_link_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    with zipfile.ZipFile(good / "plain.keras") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    path = theirs / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)
            if name == "metadata.json":
                entry.external_attr, content = (stat.S_IFLNK | 0o777) << 16, b"/etc/passwd"  # noqa: PLW2901
            archive.writestr(entry, content)
    refused(path, "holds a symbolic link")


def test_a_missing_member_is_refused(theirs: Path, refused: Call) -> None:
    path = theirs / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    refused(path, "holds 1 entries: config.json; expected")


def test_a_zip_bomb_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = keras_file(theirs / "model.keras", good, members={"model.weights.h5": bytes(64 << 20)}, packed=1)
    assert path.stat().st_size < 200_000
    refused(path, r"bytes would unpack to 671\d+, expected at most")


def test_a_bomb_whose_directory_lies_about_its_size_is_refused(good: Path, theirs: Path, refused: Call) -> None:
    path = keras_file(theirs / "model.keras", good, members={"model.weights.h5": bytes(64 << 20)}, packed=1)
    true, said = (64 << 20).to_bytes(4, "little"), (100_000).to_bytes(4, "little")
    data = path.read_bytes()
    assert data.count(true) == 2
    path.write_bytes(data.replace(true, said))
    refused(path, "damaged one")


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
    good: Path, put: Callable[[h5py.Group], None], theirs: Path, refused: Call
) -> None:
    data = weights(lambda file: kernel_elsewhere(file, put), good)
    path = keras_file(theirs / "model.keras", good, members={"model.weights.h5": data})
    refused(path, "its weights point to another place")


def _virtual() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((3, 3, 3, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "kernel", (3, 3, 3, 3))
    return layout


def test_weights_that_claim_more_than_their_file_are_refused(good: Path, theirs: Path, refused: Call) -> None:
    data = weights(
        lambda file: kernel_elsewhere(file, lambda group: group.create_dataset("0", (1 << 20, 1 << 10), "f4", chunks=True)), good
    )
    path = keras_file(theirs / "model.keras", good, members={"model.weights.h5": data})
    refused(path, r"its weights claim 4294967\d+ bytes in a file of")
