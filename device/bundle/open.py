"""Open a bundle by folder, by a shipped name, or one of its model files alone; files are verified as they are asked for."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.bundle.embedded import read_embedded_manifest
from device.bundle.manifest import MANIFEST, SCHEMA, VARIANTS, Artifact, Manifest, file_facts
from device.config import build, nearest
from device.errors import BundleError, UsageError

SHIPPED = Path(__file__).resolve().parent.parent / "bundles"
DEFAULT = "small"
INT8_LOSS_DB = 0.15
"""What int8 may lose on the held-out pictures and still be the default: it is faster than dynamic, and the same in tiles."""


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

    def weights_path(self) -> Path:
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
    contract = read_embedded_manifest(path)
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
