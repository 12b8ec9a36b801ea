"""An fp32 ONNX graph into an ncnn file: pnnx converts, and what it does not finish is finished here.

pnnx (Tencent's, as ncnn is) is one program that needs nothing else; its Python package asks for PyTorch, which it does not use
for this: `pip install --no-deps pnnx`.
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
"""Weights in half precision, as pnnx has it: half the bytes, and ncnn unpacks them as it loads."""
INSTALL = "pip install --no-deps pnnx"
_LONGEST_S = 300
_ENDS = {"in0": "blurred", "out0": "restored"}
_FIRST = (1980, 1, 1, 0, 0, 0)  # the oldest date of an archive: the same network gives the same bytes


def to_ncnn(fp32: bytes, channels: int, size: tuple[int, int], any_size: bool) -> bytes:
    """The archive that `device/runtimes/ncnn.py` reads, of an ONNX file of floats, (1, height, width, channels) in and out.

    `size`: (height, width) of a picture that it takes, `any_size`: whether it takes others. Raises RuntimeMissing without pnnx
    or ncnn, ExportError for operators that ncnn does not have.
    """
    converter = program()
    graph = onnx.load_from_string(fp32).graph
    shapes = [size, (2 * size[0], 3 * size[1])] if any_size else [size]
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, "model.onnx")
        given.write_bytes(fp32)
        words = [
            f"inputshape{i or ''}=[1,{height},{width},{channels}]f32" for i, (height, width) in zip((0, 2), shapes, strict=False)
        ]
        try:
            done = subprocess.run(
                [str(converter), given.name, *words, "fp16=1"],
                cwd=folder, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExportError(f"ncnn {VARIANT}: pnnx does not run ({error}); {INSTALL}, or leave out --ncnn") from error
        made = [given.with_suffix(".ncnn.param"), given.with_suffix(".ncnn.bin")]
        if done.returncode or not all(path.is_file() for path in made):
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise ExportError(f"ncnn {VARIANT}: pnnx ended with {done.returncode} ({said}); leave out --ncnn")
        param = finished(made[0].read_text(), graph, channels)
        return _archive({PARAM: param.encode(), BIN: made[1].read_bytes()})


def finished(param: str, graph: onnx.GraphProto, channels: int) -> str:
    """pnnx's text of layers with what it leaves out of it, and the names of our tensors. Raises ExportError.

    It passes DepthToSpace on as it is: ncnn has it as PixelShuffle, mode 1 being ONNX's usual order of channels. It makes a
    SpaceToDepth a Reorg of the other order, PyTorch's, which is the same for one channel only. The input says its channels.
    """
    param = re.sub(r"^(Input\s+\S+\s+0 1 \S+)$", rf"\1 0={channels}", param, count=1, flags=re.MULTILINE)
    param = re.sub(r"(?<=\s)(in0|out0)(?=\s)", lambda found: _ENDS[found[0]], param)
    for operator, layer in (("DepthToSpace", "PixelShuffle"), ("SpaceToDepth", "Reorg")):
        param = _with_blocks(param, operator, layer, [node for node in graph.node if node.op_type == operator])
    import ncnn

    layers = dict.fromkeys(line.split()[0] for line in param.splitlines()[2:] if line.strip())
    unknown = [layer for layer in layers if ncnn.layer_to_index(layer) < 0]
    if unknown:
        raise ExportError(f"ncnn {VARIANT}: ncnn has no {', '.join(unknown)}, which this network needs; leave out --ncnn")
    return param


def _with_blocks(param: str, operator: str, layer: str, nodes: list[onnx.NodeProto]) -> str:
    """The text whose layers that came of `nodes`, in the same order, move pixels as ONNX says."""
    pattern = re.compile(rf"^(?:{operator}|{layer})([ \t]+\S+[ \t]+1 1 \S+ \S+)(?: \d+=\d+)*[ \t]*$", re.MULTILINE)
    seen = len(pattern.findall(param))
    if seen != len(nodes):
        raise ExportError(f"ncnn {VARIANT}: pnnx made {seen} {layer} of {len(nodes)} {operator}; leave out --ncnn")
    blocks = iter([_block(node) for node in nodes])
    return pattern.sub(lambda found: f"{layer}{found[1]} {next(blocks)}", param)


def _block(node: onnx.NodeProto) -> str:
    """Side of the block and order of the channels, as ncnn has them."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return f"0={given['blocksize']} 1={int(given.get('mode', b'DCR') == b'DCR')}"


def with_entry(data: bytes, content: bytes) -> bytes:
    """The same archive with the contract in it, in place of one that is there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != ENTRY}
    return _archive({**parts, ENTRY: content})


def ncnn_specs(data: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Input and output, as the file itself names them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = [line.split() for line in archive.read(PARAM).decode().splitlines() if line.strip()]
    given = next(words for words in lines if words[0] == "Input")
    return TensorSpec(given[4], "float32"), TensorSpec(lines[-1][4 + int(lines[-1][2])], "float32")


def versions() -> dict[str, str]:
    """Of the converter, where it came as a package, and of the runtime that judged."""
    return {package: version(package) for package in ("pnnx", "ncnn") if importlib.util.find_spec(package)}


def program() -> Path:
    """pnnx itself, inside its package, whose import would need PyTorch; else on the path. Raises RuntimeMissing."""
    if not installed("ncnn"):
        raise RuntimeMissing(f"--ncnn judges the file with the runtime ncnn, which is not installed; {RUNTIMES['ncnn'].install}")
    package = importlib.util.find_spec("pnnx")
    inside = Path(package.origin).with_name("pnnx") if package and package.origin else None
    if inside is not None and inside.is_file():
        return inside
    found = shutil.which("pnnx")
    if found is None:
        raise RuntimeMissing(f"--ncnn needs the program pnnx; {INSTALL}   (without its dependency PyTorch, which is not needed)")
    return Path(found)


def _archive(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, _FIRST)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return file.getvalue()
