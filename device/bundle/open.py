"""Open a bundle by folder or shipped name, or a single model file. Files are verified when they are used."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.bundle.embedded import read_contract
from device.bundle.manifest import MANIFEST, SCHEMA, VARIANTS, Artifact, Manifest, file_facts
from device.config import build, nearest
from device.errors import BundleError, UsageError

SHIPPED = Path(__file__).resolve().parent.parent / "bundles"
DEFAULT = "small"
INT8_LOSS_DB = 0.15
"""Largest loss on the held-out pictures at which int8 is the default: it is faster than dynamic, and exact in tiles."""


@dataclass(frozen=True)
class Bundle:
    """A manifest and the folder of its files."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The bundle's name, such as "small"."""
        return self.manifest.name

    def artifact(self, variant: str | None, formats: tuple[str, ...]) -> Artifact:
        """The artifact of this variant in one of `formats`.

        Without a variant: the first of int8, dynamic, fp16, fp32; but dynamic comes before an int8 that lost more than
        `INT8_LOSS_DB` at export or was not measured.
        Raises UsageError for an unknown variant, BundleError for one that the bundle does not contain.
        """
        if variant is not None and variant not in VARIANTS:
            raise UsageError(f"unknown variant {variant!r}; {nearest(variant, VARIANTS)}")
        available = {(a.variant, a.format): a for a in self.manifest.artifacts}
        good = all(a.quality and a.quality.loss_db <= INT8_LOSS_DB for a in available.values() if a.variant == "int8")
        eight_bits = ["int8", "dynamic"] if good else ["dynamic", "int8"]
        for wanted in [variant] if variant else [*eight_bits, "fp16", "fp32"]:
            for format_ in formats:
                if (wanted, format_) in available:
                    return available[wanted, format_]
        labels = ", ".join(a.label for a in self.manifest.artifacts)
        make = (
            "; `deblurkit export RUN --ncnn` makes one"
            if "ncnn" in formats and not any(f == "ncnn" for _, f in available)
            else ""
        )
        raise BundleError(f"{self.folder}: has no {variant or 'file'} for {' or '.join(formats)}; it has {labels}{make}")

    def path(self, artifact: Artifact) -> Path:
        """The path of the artifact, after checking its size and SHA-256. Raises BundleError."""
        return verify(self.folder, artifact.file, artifact.bytes, artifact.sha256)

    def weights_path(self) -> Path:
        """The path of the trained weights, after checking them. Raises BundleError, also if the bundle has none."""
        weights = self.manifest.weights
        if weights is None:
            raise BundleError(f"{self.folder}: has no weights; give a bundle with weights, or a run folder")
        return verify(self.folder, weights.file, weights.bytes, weights.sha256)


def open_bundle(name: str | Path) -> Bundle:
    """Open a bundle by folder, or a shipped one by name (`small`), or a single model file.

    Raises BundleError if it is missing, has another schema version, or its manifest is invalid.
    """
    folder = Path(name)
    if not folder.is_dir() and str(name) in shipped():
        folder = SHIPPED / str(name)
    if folder.is_file():
        return _open_file(folder)
    if not folder.is_dir():
        raise BundleError(
            f"{name}: neither the folder of a bundle nor the name of a shipped bundle; {nearest(str(name), shipped())}"
        )
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{folder}: not a bundle ({MANIFEST}: {error.strerror}); `deblurkit export` makes one") from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON ({error}); export or copy the bundle again") from error
    return Bundle(folder, _manifest(content, str(path)))


def _manifest(content: Any, where: str) -> Manifest:
    """Build and check a manifest from its JSON. Raises BundleError with `where` it came from."""
    try:
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            newer = "update deblurkit" if isinstance(schema, int) and schema > SCHEMA else "export the bundle again"
            raise BundleError(f"{where}: schema {schema!r}, this version reads {SCHEMA}; {newer}")
        manifest = build(Manifest, content, where, BundleError)
    except RecursionError as error:
        raise BundleError(f"{where}: nested too deeply; export or copy the bundle again") from error
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    """Raise BundleError for values that have the right type but are impossible."""
    fixed_hw = manifest.fixed_hw
    if manifest.pad_multiple < 1 or manifest.halo < 0 or (fixed_hw and (len(fixed_hw) != 2 or min(fixed_hw) < 1)):
        sizes = f"pad_multiple {manifest.pad_multiple}, halo {manifest.halo}, fixed_hw {fixed_hw}"
        raise BundleError(f"{where}: {sizes}: impossible values; export or copy the bundle again")
    if manifest.colour not in ("rgb", "luma"):
        raise BundleError(f"{where}: colour {manifest.colour!r}; this version supports rgb and luma; update deblurkit")
    for tensor in (t for a in manifest.artifacts for t in (a.input, a.output)):
        if tensor.dtype != "float32" and (tensor.dtype not in ("uint8", "int8") or tensor.scale <= 0):
            raise BundleError(
                f"{where}: a tensor of {tensor.dtype}, scale {tensor.scale}; expected float32, or 8 bits with a scale"
            )


def shipped() -> list[str]:
    """Names of the bundles that are shipped with deblurkit."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{MANIFEST}"))


def _open_file(path: Path) -> Bundle:
    """A single model file. Its contract is the manifest next to it if that names the file, else the one inside the file."""
    missing = f"a model file with no {MANIFEST} next to it and no deblurkit contract inside; give the bundle's folder"
    unreadable: BundleError | None = None
    if (path.parent / MANIFEST).is_file():
        try:
            bundle = open_bundle(path.parent)
        except BundleError as error:  # other programs have a manifest.json too
            unreadable = error
        else:
            named = tuple(a for a in bundle.manifest.artifacts if a.file == path.name)
            if named:
                return Bundle(bundle.folder, dataclasses.replace(bundle.manifest, artifacts=named))
            names = nearest(path.name, [a.file for a in bundle.manifest.artifacts])
            missing = f"the manifest next to it does not name this file; {names}; and it has no deblurkit contract inside"
    contract = read_contract(path)
    if contract is None:
        raise unreadable or BundleError(f"{path}: {missing}, or wrap it with `deblurkit export --from {path.name}`")
    where = f"{path}: the contract inside"
    manifest = _manifest(contract, where)
    formats = [a.format for a in manifest.artifacts]
    if formats != [path.suffix[1:].lower()]:
        raise BundleError(f"{where}: describes {formats or 'no file'}, expected one {path.suffix} file; export it again")
    artifact = dataclasses.replace(manifest.artifacts[0], **file_facts(path))
    return Bundle(path.parent, dataclasses.replace(manifest, artifacts=(artifact,)))


def verify(folder: Path, file: str, size: int, sha256: str) -> Path:
    """Check a file and return its path. Raises BundleError if it is missing, truncated, changed or outside the folder."""
    path = folder / file
    if Path(file).name != file:
        raise BundleError(f"{folder}: the manifest names a file outside the folder ({file!r}); export or copy the bundle again")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}, but the manifest names it; copy the bundle again") from error
    if len(data) != size:
        raise BundleError(f"{path}: {len(data)} bytes, but the manifest says {size}; copy the bundle again")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError(f"{path}: its SHA-256 differs from the manifest, so the file was changed; copy the bundle again")
    return path
