"""Convert an fp32 ONNX graph to an ncnn file: pnnx converts, and this module completes what pnnx leaves out.

pnnx (from Tencent, like ncnn) is one program that needs nothing else; its Python package asks for PyTorch, which it does not
use for this: `pip install --no-deps pnnx`.
"""

import importlib.util
import io
import re
import shutil
import subprocess
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import onnx

from device.bundle.embedded import ENTRY
from device.bundle.manifest import TensorSpec
from device.errors import ExportError, RuntimeMissing
from device.runtimes import RUNTIMES, installed
from device.runtimes.ncnn import BIN, PARAM

VARIANT = "fp16"
"""Weights in half precision, as pnnx writes them: half the bytes, and ncnn unpacks them when it loads the file."""
INSTALL = "pip install --no-deps pnnx"
_TIMEOUT_S = 300
_INTERFACE = {"in0": "blurred", "out0": "restored"}
_FIRST = (1980, 1, 1, 0, 0, 0)  # the oldest date that an archive can have: the same network gives the same bytes


def to_ncnn(fp32: bytes, channels: int, size: tuple[int, int], any_size: bool) -> bytes:
    """The archive that `device/runtimes/ncnn.py` reads, from an ONNX file of floats, (1, height, width, channels) in and out.

    `size`: (height, width) of a picture that the file takes, `any_size`: whether it takes others too. Raises RuntimeMissing
    without pnnx or ncnn, ExportError for operators that ncnn does not have.
    """
    converter = program()
    graph = onnx.load_from_string(fp32).graph
    shapes = [size, (2 * size[0], 3 * size[1])] if any_size else [size]
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "model.onnx")
        original.write_bytes(fp32)
        words = [
            f"inputshape{i or ''}=[1,{height},{width},{channels}]f32" for i, (height, width) in zip((0, 2), shapes, strict=False)
        ]
        try:
            done = subprocess.run(
                [str(converter), original.name, *words, "fp16=1"],
                cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(f"ncnn {VARIANT}: pnnx does not run ({error}); {INSTALL}, or leave out --ncnn") from error
        param, weights = original.with_suffix(".ncnn.param"), original.with_suffix(".ncnn.bin")
        if done.returncode or not (param.is_file() and weights.is_file()):
            message = " ".join((done.stderr or done.stdout).split())[-300:]
            raise ExportError(f"ncnn {VARIANT}: pnnx ended with {done.returncode} ({message}); leave out --ncnn")
        text = completed(param.read_text(), graph, channels)
        return _archive({PARAM: text.encode(), BIN: weights.read_bytes()})


def completed(param: str, graph: onnx.GraphProto, channels: int) -> str:
    """pnnx's text of layers, completed, with the names of our tensors. Raises ExportError.

    pnnx passes DepthToSpace on unchanged: ncnn calls it PixelShuffle, where mode 1 is ONNX's usual order of channels. pnnx
    turns SpaceToDepth into a Reorg with the other order, PyTorch's, which is the same for one channel only. And the input must
    state its channels.
    """
    param = re.sub(r"^(Input\s+\S+\s+0 1 \S+)$", rf"\1 0={channels}", param, count=1, flags=re.MULTILINE)
    param = re.sub(r"(?<=\s)(in0|out0)(?=\s)", lambda match: _INTERFACE[match[0]], param)
    for operator, layer in (("DepthToSpace", "PixelShuffle"), ("SpaceToDepth", "Reorg")):
        param = _with_blocks(param, operator, layer, [node for node in graph.node if node.op_type == operator])
    import ncnn

    layers = dict.fromkeys(line.split()[0] for line in param.splitlines()[2:] if line.strip())
    unknown = [layer for layer in layers if ncnn.layer_to_index(layer) < 0]
    if unknown:
        raise ExportError(f"ncnn {VARIANT}: ncnn has no {', '.join(unknown)}, which this network needs; leave out --ncnn")
    return param


def _with_blocks(param: str, operator: str, layer: str, nodes: list[onnx.NodeProto]) -> str:
    """The text, whose layers from `nodes`, in the same order, now move pixels as ONNX defines it."""
    pattern = re.compile(rf"^(?:{operator}|{layer})([ \t]+\S+[ \t]+1 1 \S+ \S+)(?: \d+=\d+)*[ \t]*$", re.MULTILINE)
    seen = len(pattern.findall(param))
    if seen != len(nodes):
        raise ExportError(f"ncnn {VARIANT}: pnnx wrote {seen} {layer} for {len(nodes)} {operator}; leave out --ncnn")
    blocks = iter([_block(node) for node in nodes])
    return pattern.sub(lambda match: f"{layer}{match[1]} {next(blocks)}", param)


def _block(node: onnx.NodeProto) -> str:
    """Side of the block and order of the channels, as ncnn writes them."""
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return f"0={attributes['blocksize']} 1={int(attributes.get('mode', b'DCR') == b'DCR')}"


def with_entry(data: bytes, content: bytes) -> bytes:
    """The same archive with the contract in it, in place of an earlier one."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != ENTRY}
    return _archive({**parts, ENTRY: content})


def ncnn_specs(data: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output of an ncnn file, as the file names them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = [line.split() for line in archive.read(PARAM).decode().splitlines() if line.strip()]
    start = next(words for words in lines if words[0] == "Input")
    return TensorSpec(start[4], "float32"), TensorSpec(lines[-1][4 + int(lines[-1][2])], "float32")


def versions() -> dict[str, str]:
    """Versions of the converter, if it is installed as a package, and of the runtime that judges its file."""
    return {package: version(package) for package in ("pnnx", "ncnn") if importlib.util.find_spec(package)}


def program() -> Path:
    """The program pnnx: inside its package, whose import would need PyTorch, or else on the path. Raises RuntimeMissing."""
    if not installed("ncnn"):
        raise RuntimeMissing(f"--ncnn judges the file with the runtime ncnn, which is not installed; {RUNTIMES['ncnn'].install}")
    package = importlib.util.find_spec("pnnx")
    inside = Path(package.origin).with_name("pnnx") if package and package.origin else None
    if inside is not None and inside.is_file():
        return inside
    on_path = shutil.which("pnnx")
    if on_path is None:
        raise RuntimeMissing(f"--ncnn needs the program pnnx; {INSTALL}   (without its dependency PyTorch, which is not needed)")
    return Path(on_path)


def _archive(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, _FIRST)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return file.getvalue()
