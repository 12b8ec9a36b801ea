"""Model files that carry their contract inside; `device.bundle.embedded` reads it."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from device.bundle.embedded import KEY
from device.bundle.manifest import Artifact, Manifest
from export.serialised_model import read_onnx, read_tflite, write_tflite
from export.to_ncnn import with_entry


def contract_of(manifest: Manifest, artifact: Artifact) -> dict[str, Any]:
    """What a file carries inside: the manifest with only this artifact, without the facts that embedding would change."""
    alone = replace(manifest, weights=None, artifacts=(replace(artifact, file="", sha256="", bytes=0),))
    return json.loads(json.dumps(asdict(alone)))


def with_contract(data: bytes, format_: str, contract: dict[str, Any]) -> bytes:
    """The same model with the contract inside, in place of an earlier one; the same bytes for the same arguments.

    `format_` is `tflite`, `onnx` or `ncnn`. Raises ExportError for a file whose weights lie outside it, or that cannot be
    rewritten.
    """
    text = json.dumps(contract, sort_keys=True, separators=(",", ":"))
    match format_:
        case "ncnn":
            return with_entry(data, text.encode())
        case "onnx":
            return _onnx_with(data, text, _description(contract))
    return _tflite_with(data, text, _description(contract))


def _description(contract: dict[str, Any]) -> str:
    artifact, name = contract["artifacts"][0], contract["name"]
    return f"{name} ({artifact['variant']}): takes the blur out of pictures; made by deblurkit, its contract is inside as {KEY!r}"


def _onnx_with(data: bytes, text: str, description: str) -> bytes:
    model = read_onnx(data)
    others = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    for key, value in (*others, (KEY, text)):
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.doc_string = KEY, description
    model.ClearField("producer_version")  # the converter's version, which stands in the contract's made_with
    return model.SerializeToString(deterministic=True)


def _tflite_with(data: bytes, text: str, description: str) -> bytes:
    model = read_tflite(data)
    model.metadata = model.metadata or []
    entry = next((entry for entry in model.metadata if entry.name == KEY.encode()), None)
    if entry is None:
        entry = schema.MetadataT(name=KEY.encode(), buffer=len(model.buffers))
        model.metadata.append(entry)
        model.buffers.append(schema.BufferT())
    model.buffers[entry.buffer].data = np.frombuffer(text.encode(), np.uint8)
    model.description = description
    return write_tflite(model)
