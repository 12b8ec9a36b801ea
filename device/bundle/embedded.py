"""Read the contract inside a model file, so that the file works without its bundle's manifest.json.

The contract is the manifest with this one artifact, under the key `deblurkit`: a metadata buffer of a TFLite file, a metadata
property of an ONNX file, `deblurkit.json` in the archive of an ncnn file. The file may come from anywhere, so everything is
checked before it is used.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device.errors import BundleError

KEY = "deblurkit"
ENTRY = f"{KEY}.json"
"""The entry in the archive of an ncnn file (device/runtimes/ncnn.py)."""
_MOST_BYTES = 1 << 20
"""Limit for a contract; a real one has a few thousand."""
_MOST_ENTRIES = 64
"""Limit for metadata entries, and for subgraphs, of a TFLite file; converters write two or three."""
_MOST_PARTS = 100_000
"""Limit for buffers, operators, tensors or fields, so that a hostile file costs a second and not an hour."""
# Field indices in TFLite's schema.fbs, table by table, and field numbers in onnx.proto's ModelProto.
_CODES, _SUBGRAPHS, _BUFFERS, _METADATA = 1, 2, 4, 6  # Model
_TENSORS, _OPERATORS = 0, 3  # SubGraph
_SHAPE, _OUTPUTS, _CODE = 0, 2, 3  # Tensor, Operator, OperatorCode
_DATA, _OFFSET, _SIZE = 0, 1, 2  # Buffer
_NAME, _BUFFER = 0, 1  # Metadata
_GRAPH, _OPSETS, _PROPERTIES = 7, 8, 14


def read_contract(path: Path) -> dict[str, Any] | None:
    """The contract inside a model file; None if a valid file has none.

    Raises BundleError for a file that is damaged, has another format, or has something else under the key.
    """
    find = {".tflite": _in_tflite, ".onnx": _in_onnx, ".ncnn": _in_ncnn}.get(path.suffix.lower())
    if find is None:
        raise BundleError(
            f"{path}: a {path.suffix or 'nameless'} file; a model file ends in .tflite, .onnx or .ncnn, rename or export it"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}; give a model file or a bundle's folder") from error
    content = find(data, path)
    return None if content is None else _parse(content, path)


def _parse(content: memoryview, path: Path) -> dict[str, Any]:
    if len(content) > _MOST_BYTES:
        raise BundleError(f"{path}: a contract of {len(content)} bytes inside, expected at most {_MOST_BYTES}; export it again")
    try:
        contract = json.loads(str(content, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: the contract inside is not valid JSON ({error}); export or copy the file again") from error
    if not isinstance(contract, dict):
        kind = type(contract).__name__
        raise BundleError(f"{path}: the contract inside is a JSON {kind}, expected an object; export the file again")
    return contract


def _in_tflite(data: bytes, path: Path) -> memoryview | None:
    file = memoryview(data)
    try:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 at byte 4")
        return _tflite_entry(_Table(file, _number(file, 0)), len(file))
    except ValueError as error:
        raise BundleError(f"{path}: not a TFLite model that can be read ({error}); export or copy it again") from error


def _tflite_entry(model: "_Table", size: int) -> memoryview | None:
    """The buffer under the key, after checking that everything else lies inside the file too."""
    graphs = model.tables(_SUBGRAPHS, most=_MOST_ENTRIES)
    parts = model.count(_BUFFERS) + model.count(_CODES) + sum(g.count(_TENSORS) + g.count(_OPERATORS) for g in graphs)
    if not graphs or not model.count(_BUFFERS) or parts > _MOST_PARTS:
        raise ValueError(f"{len(graphs)} subgraphs; {parts} buffers, operators and tensors, expected at most {_MOST_PARTS}")
    for code in model.tables(_CODES):
        code.number(_CODE)
    for graph in graphs:
        for tensor in graph.tables(_TENSORS):
            tensor.vector(_SHAPE, 4)
        for operator in graph.tables(_OPERATORS):
            operator.vector(_OUTPUTS, 4)
    buffers = model.tables(_BUFFERS)
    for buffer in buffers:
        buffer.vector(_DATA)
        if buffer.number(_OFFSET, 8) > 1 and buffer.number(_OFFSET, 8) + buffer.number(_SIZE, 8) > size:
            raise ValueError("a buffer after the model ends outside the file")
    for entry in model.tables(_METADATA, most=_MOST_ENTRIES):
        if entry.vector(_NAME) == KEY.encode():
            index = entry.number(_BUFFER)
            if not 0 < index < len(buffers) or not buffers[index].count(_DATA):
                raise ValueError(f"its entry {KEY!r} names buffer {index} of {len(buffers)}, which is empty or missing")
            return buffers[index].vector(_DATA)
    return None


class _Table:
    """A FlatBuffers table; fields are read by their index in the schema. Raises ValueError for data outside the file."""

    def __init__(self, file: memoryview, at: int) -> None:
        self._file, self._at = file, at
        self._layout = at - int.from_bytes(_part(file, at, 4), "little", signed=True)
        self._layout_size = _number(file, self._layout, 2)

    def number(self, index: int, size: int = 4) -> int:
        """An unsigned number of `size` bytes; 0 if the field is absent."""
        at = self._field(index)
        return 0 if at is None else _number(self._file, at, size)

    def count(self, index: int) -> int:
        """The number of items of a vector; 0 if the field is absent."""
        start = self._vector(index)
        return 0 if start is None else _number(self._file, start)

    def vector(self, index: int, item_bytes: int = 1) -> memoryview:
        """The bytes of a vector or string; empty if the field is absent."""
        start = self._vector(index)
        return memoryview(b"") if start is None else _part(self._file, start + 4, item_bytes * self.count(index))

    def tables(self, index: int, most: int = _MOST_PARTS) -> "list[_Table]":
        """The tables of a vector, at most `most`."""
        start, count = self._vector(index) or 0, self.count(index)
        if count > most:
            raise ValueError(f"{count} entries, expected at most {most}")
        offsets = range(start + 4, start + 4 + 4 * count, 4)
        return [_Table(self._file, at + _number(self._file, at)) for at in offsets]

    def _vector(self, index: int) -> int | None:
        at = self._field(index)
        return None if at is None else at + _number(self._file, at)

    def _field(self, index: int) -> int | None:
        slot = 4 + 2 * index
        offset = _number(self._file, self._layout + slot, 2) if slot < self._layout_size else 0
        return self._at + offset if offset else None


def _number(file: memoryview, at: int, size: int = 4) -> int:
    return int.from_bytes(_part(file, at, size), "little")


def _part(file: memoryview, at: int, size: int) -> memoryview:
    if not 0 <= at <= len(file) - size:
        raise ValueError(f"{size} bytes at byte {at} of {len(file)}")
    return file[at : at + size]


def _in_onnx(data: bytes, path: Path) -> memoryview | None:
    seen: set[int] = set()
    content: memoryview | None = None
    try:
        for number, field in _fields(memoryview(data)):
            seen.add(number)
            if number == _PROPERTIES and content is None:
                key_and_value = dict(_fields(field, most=8))
                if bytes(key_and_value.get(1, b"")) == KEY.encode():
                    content = key_and_value.get(2, memoryview(b""))
        if not {_GRAPH, _OPSETS} <= seen:
            raise ValueError("no graph or no operator set")
    except ValueError as error:
        raise BundleError(f"{path}: not an ONNX model that can be read ({error}); export or copy it again") from error
    return content


def _in_ncnn(data: bytes, path: Path) -> memoryview | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if ENTRY not in archive.namelist():
                return None
            info = archive.getinfo(ENTRY)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{ENTRY} is compressed")
            return memoryview(archive.read(info))
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise BundleError(f"{path}: not an ncnn model that can be read ({error}); export or copy it again") from error


def _fields(message: memoryview, most: int = _MOST_PARTS) -> Iterator[tuple[int, memoryview]]:
    """Number and content of the length-delimited fields of a protobuf message; other fields are skipped.

    Copies nothing. Raises ValueError for a malformed message.
    """
    at = 0
    for _ in range(most):
        if at == len(message):
            return
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
                size = 0
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case wire_type:
                raise ValueError(f"wire type {wire_type} before byte {at}")
        if tag >> 3 == 0 or size > len(message) - at:
            raise ValueError(f"field {tag >> 3} of {size} bytes at byte {at} of {len(message)}")
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + size]
        at += size
    raise ValueError(f"more than {most} fields")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at byte `at`, and the offset of the next item."""
    value = 0
    for shift, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at + shift + 1
    raise ValueError(f"an unfinished number at byte {at}")
