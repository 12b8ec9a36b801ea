"""The bundle: a folder with `manifest.json` and the converted models. All that a board needs, and no code.

The reader owns the format; export writes through it. A bundle is written aside, synced and renamed into place, so half a
bundle never appears under its name.
"""

import ctypes
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device.bundle.embedded import read_contract
from device.config import build, nearest
from device.errors import BundleError, RunError, UsageError
from device.images.frame import TensorSpec

SCHEMA = 2
MANIFEST = "manifest.json"
SHIPPED = Path(__file__).resolve().parent.parent / "bundles"
DEFAULT = "small"
# File order of the tables, and the order in which a runtime's formats are tried when no variant is asked for.
VARIANTS = ("fp32", "fp16", "dynamic", "int8")
INT8_LOSS_DB = 0.15
"""What int8 may lose on the held-out pictures and still be the default: it is faster than dynamic, and the same in tiles."""


@dataclass(frozen=True)
class Parity:
    """The converted file against Keras on the same real pictures, outputs in 0..1."""

    max_abs: float
    """Largest absolute difference, 1.0 is white."""
    psnr_db: float


@dataclass(frozen=True)
class Quality:
    """What the file does to pictures that training never saw."""

    pictures: str
    """Which pictures, in words."""
    input_psnr_db: float
    restored_psnr_db: float
    gain_db: float
    loss_db: float
    """PSNR given up against the network itself, in float32."""
    scenes_psnr_db: float
    """PSNR reached on the generated scenes of `device.restore.self_check`: a board compares itself with this."""


@dataclass(frozen=True)
class Calibrated:
    """How the ranges of an int8 file were found."""

    method: str
    """`learned` by quantisation-aware training; `minmax`, `percentile` or `entropy` of what tensors hold on pictures."""
    pictures: int
    sha256: str
    """Of the pictures' pixels."""
    tried: dict[str, float]
    """By method, the PSNR in dB that the file reached on the held-out pictures; the best was kept."""


@dataclass(frozen=True)
class Artifact:
    """One converted file."""

    variant: str
    """`fp32`, `fp16`, `dynamic` (8-bit weights, activations scaled as they come) or `int8`."""
    format: str
    """`tflite`, `onnx`, or `ncnn`: an archive of ncnn's two files (device/runtimes/ncnn.py)."""
    file: str
    sha256: str
    bytes: int
    input: TensorSpec
    output: TensorSpec
    parity: Parity | None = None
    quality: Quality | None = None
    calibrated: Calibrated | None = None
    float_layers: tuple[str, ...] = ()
    """Layers that stayed in float in an int8 file."""

    @property
    def label(self) -> str:
        """Short name for tables: "int8.tflite"."""
        return f"{self.variant}.{self.format}"


@dataclass(frozen=True)
class Weights:
    """The trained weights, so that others can fine-tune them."""

    file: str
    sha256: str
    bytes: int
    licence: str


@dataclass(frozen=True)
class Training:
    """Where the weights come from."""

    command: str
    """Where it began with another run's weights, that run's command comes first; `steps` and `seconds` are of all."""
    pictures: int
    data: str
    licence: str
    blur: dict[str, Any]
    steps: int
    seconds: float
    seed: int
    device: str


@dataclass(frozen=True)
class Manifest:
    """manifest.json, schema 2."""

    schema: int
    name: str
    preset: str
    architecture: dict[str, Any]
    colour: str
    """`rgb`: three channels in, three out; `luma`: one, and colour differences pass through."""
    pad_multiple: int
    """Sides of a window must be multiples of this, pixels."""
    halo: int
    """Pixels at a window's inner border whose result must be thrown away."""
    fixed_hw: tuple[int, ...] | None
    """The only window size the model takes, or null when any multiple of `pad_multiple` will do."""
    macs_per_pixel: float
    parameters: int
    trained: Training
    weights: Weights | None
    artifacts: tuple[Artifact, ...]
    made_with: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made it."""


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder its files lie in."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The bundle's name, such as "small"."""
        return self.manifest.name

    def artifact(self, variant: str | None, formats: tuple[str, ...]) -> Artifact:
        """The artifact of this variant in one of `formats`.

        Without a variant the first of int8, dynamic, fp16, fp32; but dynamic before an int8 that lost more than
        `INT8_LOSS_DB` when it was exported, or that nobody measured.
        Raises UsageError for a variant that is no variant, BundleError for one that the bundle does not hold.
        """
        if variant is not None and variant not in VARIANTS:
            raise UsageError(f"unknown variant {variant!r}; {nearest(variant, VARIANTS)}")
        held = {(a.variant, a.format): a for a in self.manifest.artifacts}
        good = all(a.quality and a.quality.loss_db <= INT8_LOSS_DB for a in held.values() if a.variant == "int8")
        eight_bits = ["int8", "dynamic"] if good else ["dynamic", "int8"]
        for wanted in [variant] if variant else [*eight_bits, "fp16", "fp32"]:
            for format_ in formats:
                if (wanted, format_) in held:
                    return held[wanted, format_]
        labels = ", ".join(a.label for a in self.manifest.artifacts)
        make = "; `deblurkit export RUN --ncnn` makes one" if "ncnn" in formats and not any(f == "ncnn" for _, f in held) else ""
        raise BundleError(f"{self.folder}: holds no {variant or 'file'} for {' or '.join(formats)}; it holds {labels}{make}")

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact lies, verified against its size and SHA-256. Raises BundleError."""
        return verified(self.folder, artifact.file, artifact.bytes, artifact.sha256)

    def path_of_weights(self) -> Path:
        """Where the trained weights lie, verified. Raises BundleError, also when the bundle carries none."""
        weights = self.manifest.weights
        if weights is None:
            raise BundleError(f"{self.folder}: carries no weights; give a bundle that does, or a run folder")
        return verified(self.folder, weights.file, weights.bytes, weights.sha256)


def open_bundle(name: str | Path) -> Bundle:
    """Open a bundle by folder, or a shipped one by name (`small`). Its files are verified as they are asked for.

    Raises BundleError when it is missing, of a newer schema, or its manifest does not hold what it must.
    """
    folder = Path(name)
    if not folder.is_dir() and str(name) in shipped():
        folder = SHIPPED / str(name)
    if folder.is_file():
        return _open_file(folder)
    if not folder.is_dir():
        raise BundleError(f"{name}: neither a bundle's folder nor a shipped bundle; {nearest(str(name), shipped())}")
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{folder}: no bundle ({MANIFEST}: {error.strerror}); `deblurkit export` makes one") from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON ({error}); export or copy the bundle again") from error
    return Bundle(folder, _manifest(content, str(path)))


def _manifest(content: Any, where: str) -> Manifest:
    """A manifest from its JSON, checked. Raises BundleError that names the place `where` it came from."""
    try:
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            newer = "update deblurkit" if isinstance(schema, int) and schema > SCHEMA else "export the bundle again"
            raise BundleError(f"{where}: schema {schema!r}, this version reads {SCHEMA}; {newer}")
        manifest = build(Manifest, content, where, BundleError)
    except RecursionError as error:
        raise BundleError(f"{where}: nested too deeply for a manifest; export or copy the bundle again") from error
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    """Raise BundleError for values of the right type that no model can have."""
    fixed_hw = manifest.fixed_hw
    if manifest.pad_multiple < 1 or manifest.halo < 0 or (fixed_hw and (len(fixed_hw) != 2 or min(fixed_hw) < 1)):
        sizes = f"pad_multiple {manifest.pad_multiple}, halo {manifest.halo}, fixed_hw {fixed_hw}"
        raise BundleError(f"{where}: {sizes} cannot be; export or copy the bundle again")
    if manifest.colour not in ("rgb", "luma"):
        raise BundleError(f"{where}: colour {manifest.colour!r}; this version knows rgb and luma, update deblurkit")
    for tensor in (t for a in manifest.artifacts for t in (a.input, a.output)):
        if tensor.dtype != "float32" and (tensor.dtype not in ("uint8", "int8") or tensor.scale <= 0):
            raise BundleError(
                f"{where}: a tensor of {tensor.dtype}, scale {tensor.scale}; expected float32, or 8 bits with a scale"
            )


def shipped() -> list[str]:
    """Names of the bundles that ship with the kit."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{MANIFEST}"))


def _open_file(path: Path) -> Bundle:
    """A single model file: its contract is the manifest beside it that names it, else the one that it carries inside."""
    missing = f"a model file without a {MANIFEST} beside it and without deblurkit's contract inside; give the bundle's folder"
    unreadable: BundleError | None = None
    if (path.parent / MANIFEST).is_file():
        try:
            bundle = open_bundle(path.parent)
        except BundleError as error:  # it may be anyone's: other programs have a manifest.json too
            unreadable = error
        else:
            held = tuple(a for a in bundle.manifest.artifacts if a.file == path.name)
            if held:
                return Bundle(bundle.folder, dataclasses.replace(bundle.manifest, artifacts=held))
            names = nearest(path.name, [a.file for a in bundle.manifest.artifacts])
            missing = f"the manifest beside it does not name this file; {names}; nor is deblurkit's contract inside"
    contract = read_contract(path)
    if contract is None:
        raise unreadable or BundleError(f"{path}: {missing}, or wrap it with `deblurkit export --from {path.name}`")
    where = f"{path}: the contract inside"
    manifest = _manifest(contract, where)
    formats = [a.format for a in manifest.artifacts]
    if formats != [path.suffix[1:].lower()]:
        raise BundleError(f"{where}: is of {formats or 'no file'}, expected one {path.suffix} file; export it again")
    artifact = dataclasses.replace(manifest.artifacts[0], **file_facts(path))
    return Bundle(path.parent, dataclasses.replace(manifest, artifacts=(artifact,)))


def verified(folder: Path, file: str, size: int, sha256: str) -> Path:
    """The file's path after checking it. Raises BundleError if it is missing, truncated, altered, or outside the folder."""
    path = folder / file
    if Path(file).name != file:
        raise BundleError(f"{folder}: names a file outside itself ({file!r}); export or copy the bundle again")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}, but the manifest names it; copy the bundle again") from error
    if len(data) != size:
        raise BundleError(f"{path}: {len(data)} bytes where the manifest says {size}; copy the bundle again")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError(f"{path}: its SHA-256 is not the manifest's, so it was altered; copy the bundle again")
    return path


def file_facts(path: Path) -> dict[str, Any]:
    """`file`, `sha256` and `bytes` of a file, as the manifest wants them."""
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


@contextmanager
def writing(out: Path, replace: bool) -> Iterator[Path]:
    """A folder to write a bundle's files into; on leaving without an error it is synced and takes the name `out`.

    On an error it vanishes and what was at `out` stays. Raises UsageError if `out` is not empty and not to be replaced.
    """
    if out.exists() and not replace and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not empty; choose another --out, or --replace it")
    if replace and out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: holds something that is no bundle, so --replace will not delete it; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.{os.getpid()}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise RunError(f"{out}: cannot be made: {error.strerror}; choose another --out") from error
    try:
        yield aside
        aside.chmod(0o755)
        for path in [*aside.iterdir(), aside]:
            _sync(path)
        _swap(aside, out)
        _sync(out.parent)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}; free some space or choose another place") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json into `folder` (inside `writing`)."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def _sweep(out: Path) -> None:
    """Delete what killed writers of `out` have left; their process numbers are in the names. Put back a bundle in their way."""
    old = out.with_name(f".{out.name}.old")
    if old.exists() and not out.exists():
        os.rename(old, out)
    for left in out.parent.glob(f".{out.name}.*.part"):
        writer = left.name.split(".")[-3]
        if writer.isdigit() and not Path("/proc", writer).exists():
            shutil.rmtree(left, ignore_errors=True)


def _swap(aside: Path, out: Path) -> None:
    """Rename `aside` to `out`; where there is a bundle already they change places at once, so one is always there."""
    if not out.exists():
        os.rename(aside, out)
    elif not _exchange(aside, out):
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(out, old)
        os.rename(aside, out)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Whether Linux has exchanged the two names; not every file system can."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), exchange) == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
