"""Model files with a contract inside, built byte by byte and with the object API of the schema."""

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")
import flatbuffers
from ai_edge_litert import schema_py_generated as schema

import device
from device.bundle.embedded import KEY, read_contract
from device.bundle.manifest import MANIFEST, SCHEMA, file_facts
from device.bundle.open import Bundle, open_bundle
from device.bundle.write import write_manifest
from device.errors import BundleError

FORMATS = ("tflite", "onnx")
WORDS = {"name": "tiny", "schema": 1, "unicode": "Grün"}


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def prop(key: str, value: bytes) -> bytes:
    return field(14, field(1, key.encode()) + field(2, value))


ONNX = b"\x08\x08" + field(2, b"by hand") + field(7, b"\x12" + varint(300) + bytes(300)) + field(8, b"\x10\x12")
"""A version, a producer, a graph with one field, an operator set, with the field numbers of onnx.proto."""


def onnx_with(content: bytes | None, key: str = KEY) -> bytes:
    return ONNX + prop("other", b"{") + (b"" if content is None else prop(key, content))


def tflite_model() -> schema.ModelT:
    tensor = schema.TensorT(shape=[1, 8], buffer=1, name="x")
    graph = schema.SubGraphT(tensors=[tensor], inputs=[0], outputs=[0], operators=[], name="main")
    model = schema.ModelT(version=3, subgraphs=[graph], operatorCodes=[schema.OperatorCodeT()], signatureDefs=[])
    model.buffers = [schema.BufferT(), schema.BufferT(data=list(range(32))), schema.BufferT(data=list(b"1.5"))]
    model.metadata = [schema.MetadataT(name="min_runtime_version", buffer=2)]
    return model


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tflite_with(content: bytes | None, key: str = KEY) -> bytes:
    model = tflite_model()
    if content is not None:
        model.metadata.append(schema.MetadataT(name=key, buffer=len(model.buffers)))
        model.buffers.append(schema.BufferT(data=list(content)))
    return packed(model)


def model_with(format_: str, content: bytes | None, key: str = KEY) -> bytes:
    return onnx_with(content, key) if format_ == "onnx" else tflite_with(content, key)


def written(folder: Path, format_: str, data: bytes) -> Path:
    path = folder / f"model.{format_}"
    path.write_bytes(data)
    return path


def contract(small: Bundle, format_: str, **change: Any) -> dict[str, Any]:
    """The shipped manifest as a file of this format contains it."""
    artifact = next(a for a in small.manifest.artifacts if a.format == format_)
    alone = replace(small.manifest, weights=None, artifacts=(replace(artifact, file="", sha256="", bytes=0),))
    return json.loads(json.dumps(asdict(alone))) | change


def alone(folder: Path, format_: str, content: dict[str, Any]) -> Path:
    return written(folder, format_, model_with(format_, json.dumps(content).encode()))


# reading


@pytest.mark.parametrize("format_", FORMATS)
def test_a_contract_inside_reads_back(tmp_path: Path, format_: str) -> None:
    data = model_with(format_, json.dumps(WORDS, ensure_ascii=False).encode())
    assert read_contract(written(tmp_path, format_, data)) == WORDS
    assert read_contract(written(tmp_path, format_, data).rename(tmp_path / f"MODEL.{format_.upper()}")) == WORDS


@pytest.mark.parametrize("format_", FORMATS)
def test_a_valid_file_without_the_key_has_no_contract(tmp_path: Path, format_: str) -> None:
    assert read_contract(written(tmp_path, format_, model_with(format_, None))) is None
    assert read_contract(written(tmp_path, format_, model_with(format_, b"{}", key="deblurkits"))) is None


def test_the_shipped_files_read_without_an_error(small: Bundle) -> None:
    for artifact in small.manifest.artifacts:
        found = read_contract(small.path(artifact))
        assert found is None or found["name"] == small.name


def test_reading_needs_no_runtime_and_no_package_of_a_format(tmp_path: Path) -> None:
    """A board with only tflite-runtime can read its files too."""
    for format_ in FORMATS:
        written(tmp_path, format_, model_with(format_, json.dumps(WORDS).encode()))
    code = """
import sys
from pathlib import Path
for name in ("ai_edge_litert", "flatbuffers", "onnx", "google.protobuf"):
    sys.modules[name] = None
from device.bundle.embedded import read_contract
for path in sys.argv[1:]:
    print(read_contract(Path(path))["name"])
"""
    words = [sys.executable, "-c", code, *(str(tmp_path / f"model.{f}") for f in FORMATS)]
    root = Path(device.__file__).parent.parent
    ended = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["tiny", "tiny"], ended.stderr


# damaged and hostile files


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" ", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"name": "\xff\xfe"}', "not valid JSON .*utf-8"),
        (b"[" * 200_000, "not valid JSON"),
        (b"[1]", "a JSON list, expected an object"),
        (b"null", "a JSON NoneType, expected an object"),
        (b" " * (1 << 20) + b"{}", "a contract of 1048578 bytes inside, expected at most 1048576"),
    ],
)
def test_an_invalid_contract_is_refused(tmp_path: Path, format_: str, content: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=rf"model\.{format_}: .*{said}"):
        read_contract(written(tmp_path, format_, model_with(format_, content)))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, format_: str) -> None:
    data = model_with(format_, json.dumps(WORDS).encode())
    complete_without_the_end = {len(ONNX), len(onnx_with(None))}  # an ONNX file may end after any of its last fields
    padding = 16  # the last bytes of a TFLite file may be unused
    for size in range(len(data) - (padding if format_ == "tflite" else 0)):
        path = written(tmp_path, format_, data[:size])
        if format_ == "onnx" and size in complete_without_the_end:
            assert read_contract(path) is None
        else:
            with pytest.raises(BundleError, match="that can be read"):
                read_contract(path)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_with_wrong_bytes_is_read_or_refused_and_never_crashes(tmp_path: Path, format_: str) -> None:
    data, chance, refused = model_with(format_, json.dumps(WORDS).encode()), random.Random(1), 0
    for _ in range(1000):
        spoiled = bytearray(data)
        for _ in range(chance.choice((1, 1, 4, 40))):
            spoiled[chance.randrange(len(data))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        try:
            found = read_contract(written(tmp_path, format_, bytes(spoiled)))
            assert found is None or isinstance(found, dict)
        except BundleError:
            refused += 1
    assert 100 < refused < 1000


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("head", [b"", b"\x08\x08", b"\x18\x00\x00\x00TFL3"])
def test_random_bytes_are_refused(tmp_path: Path, format_: str, head: bytes) -> None:
    for size in (0, 1, 3, 7, 8, 100, 5000):
        for seed in range(20):
            data = head + random.Random(seed).randbytes(size)
            with pytest.raises(BundleError, match=f"not an? {'ONNX' if format_ == 'onnx' else 'TFLite'} model"):
                read_contract(written(tmp_path, format_, data))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_hundred_megabytes_of_zeros_are_refused(tmp_path: Path, format_: str) -> None:
    path = written(tmp_path, format_, b"")
    os.truncate(path, 100_000_000)
    with pytest.raises(BundleError, match="export or copy it again"):
        read_contract(path)


@pytest.mark.parametrize(
    "data",
    [
        ONNX + varint(14 << 3 | 2) + varint(1 << 62) + b"x",
        ONNX + varint(14 << 3 | 2) + b"\xff" * 20,
        ONNX + field(14, field(1, KEY.encode()) + b"\x12\x7f{}"),
        ONNX + b"\x73",
        b"\x72\x00" * 200_000,
        ONNX + field(14, b"\x0a\x00" * 100_000) * 50,
    ],
    ids=["length beyond the end", "endless number", "value beyond its entry", "group", "countless fields", "countless keys"],
)
def test_an_onnx_file_with_false_field_lengths_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BundleError, match="not an ONNX model that can be read"):
        read_contract(written(tmp_path, "onnx", data))


def with_entries(*buffers: int) -> bytes:
    model = tflite_model()
    model.metadata = [schema.MetadataT(name=KEY, buffer=buffer) for buffer in buffers]
    return packed(model)


def with_buffer_outside() -> bytes:
    model = tflite_model()
    model.buffers.append(schema.BufferT(offset=1 << 20, size=1 << 40))
    return packed(model)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff" + tflite_with(b"{}")[4:],
        b"\x00\x00\x00\x00" + tflite_with(b"{}")[4:],
        with_entries(0),
        with_entries(99),
        with_entries(2**32 - 1),
        with_entries(*range(65)),
        with_buffer_outside(),
        tflite_with(b"{}").replace(b"TFL3", b"TFL2"),
    ],
    ids=["root outside", "root in itself", "empty", "missing", "outside", "countless entries", "buffer outside", "no TFL3"],
)
def test_a_tflite_file_with_false_offsets_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BundleError, match="not a TFLite model that can be read"):
        read_contract(written(tmp_path, "tflite", data))


def test_another_kind_of_file_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a \.txt file; a model file ends in \.tflite, \.onnx or \.ncnn"):
        read_contract(written(tmp_path, "txt", onnx_with(b"{}")))
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        read_contract(tmp_path / "gone.onnx")


# opening


@pytest.mark.parametrize("format_", FORMATS)
def test_a_single_file_opens_with_the_contract_inside(small: Bundle, tmp_path: Path, format_: str) -> None:
    path = alone(tmp_path, format_, contract(small, format_))
    opened = open_bundle(path)
    (artifact,) = opened.manifest.artifacts
    shipped = next(a for a in small.manifest.artifacts if a.format == format_)
    assert artifact == replace(shipped, **file_facts(path))
    assert opened.path(artifact) == path
    assert opened.manifest == replace(small.manifest, weights=None, artifacts=(artifact,))
    assert opened.folder == tmp_path


def test_the_manifest_next_to_a_file_wins_if_it_names_the_file(small: Bundle, tmp_path: Path) -> None:
    path = alone(tmp_path, "onnx", contract(small, "onnx", name="inside"))
    artifact = open_bundle(path).manifest.artifacts[0]
    write_manifest(tmp_path, replace(small.manifest, name="beside", artifacts=(artifact,)))
    assert open_bundle(path).name == "beside"
    assert open_bundle(path.rename(tmp_path / "moved.onnx")).name == "inside"


@pytest.mark.parametrize("beside", ["{}", "{", '{"name": "a web page", "icons": []}'])
def test_an_unrelated_manifest_next_to_a_file_does_no_harm(small: Bundle, tmp_path: Path, beside: str) -> None:
    (tmp_path / MANIFEST).write_text(beside)
    assert open_bundle(alone(tmp_path, "tflite", contract(small, "tflite"))).name == small.name
    with pytest.raises(BundleError, match=rf"{MANIFEST}: "):
        open_bundle(written(tmp_path, "tflite", tflite_with(None)))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_single_file_without_a_contract_says_what_to_do(tmp_path: Path, format_: str) -> None:
    said = rf"contract inside; give the bundle's folder, or wrap it with `deblurkit export --from model\.{format_}`"
    with pytest.raises(BundleError, match=said):
        open_bundle(written(tmp_path, format_, model_with(format_, None)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": SCHEMA + 1}, f"the contract inside: schema {SCHEMA + 1}, this version reads 2 to {SCHEMA}; update deblurkit"),
        ({"schema": None}, "export the bundle again"),
        ({"halo": "8"}, "the contract inside: halo: expected int, found '8'"),
        ({"pad_multiple": 0}, "the contract inside: pad_multiple 0"),
        ({"pad_multipel": 8}, "unknown key 'pad_multipel'; did you mean 'pad_multiple'"),
        ({"artifacts": []}, r"describes no file, expected one \.onnx file"),
    ],
)
def test_a_contract_is_checked_like_a_manifest(small: Bundle, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        open_bundle(alone(tmp_path, "onnx", contract(small, "onnx", **change)))


def test_a_contract_of_another_format_or_of_two_files_is_refused(small: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"describes \['tflite'\], expected one \.onnx file"):
        open_bundle(alone(tmp_path, "onnx", contract(small, "tflite")))
    twice = contract(small, "onnx")
    twice["artifacts"] *= 2
    with pytest.raises(BundleError, match=r"expected one \.onnx file"):
        open_bundle(alone(tmp_path, "onnx", twice))


@pytest.mark.parametrize("key", ["schema", "name", "halo", "architecture"])
def test_a_contract_nested_to_the_limit_is_refused(small: Bundle, tmp_path: Path, key: str) -> None:
    for depth in (500, *range(600, 1000, 5)):
        text = json.dumps(contract(small, "onnx", **{key: "HERE"})).replace('"HERE"', "[" * depth + "]" * depth)
        with pytest.raises(BundleError, match="the contract inside"):
            open_bundle(written(tmp_path, "onnx", onnx_with(text.encode())))
