"""The schema of `manifest.json`, which describes a bundle's model and its files. These records document the format.

An unknown key is an error that names the nearest known one (`device.config.build`).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 3
READABLE = (2, 3)
"""Schemas that this version reads. 3 added `planes`."""
MANIFEST = "manifest.json"
# In the order of tables.
VARIANTS = ("fp32", "fp16", "dynamic", "int8")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model file. For 8-bit types: real value = scale * (stored - zero_point); 1.0 is white."""

    name: str
    dtype: str
    """`float32` (0.0 black, 1.0 white), `uint8` or `int8`."""
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class Parity:
    """Difference between the converted file and Keras on the same photographs, for outputs in 0..1."""

    max_abs: float
    """Largest absolute difference; 1.0 is white."""
    psnr_db: float


@dataclass(frozen=True)
class Quality:
    """Picture quality on pictures that were not used in training."""

    pictures: str
    """Which pictures, as text."""
    input_psnr_db: float
    restored_psnr_db: float
    gain_db: float
    loss_db: float
    """PSNR lost compared with the network itself in float32."""
    scenes_psnr_db: float
    """PSNR on the generated scenes of `device.restore.self_check`: a board compares its own result with this."""


@dataclass(frozen=True)
class Calibrated:
    """How the value ranges of an int8 file were determined."""

    method: str
    """`learned` by quantisation-aware training; else `minmax`, `percentile` or `entropy` of tensor values on pictures."""
    pictures: int
    sha256: str
    """Hash of the pictures' pixels."""
    tried: dict[str, float]
    """Method -> PSNR in dB of its file on the held-out pictures; the best file was kept."""


@dataclass(frozen=True)
class Artifact:
    """One converted file."""

    variant: str
    """`fp32`, `fp16`, `dynamic` (8-bit weights, activation ranges computed at run time) or `int8`."""
    format: str
    """`tflite`, `onnx`, or `ncnn` (an archive of ncnn's two files: device/runtimes/ncnn.py)."""
    file: str
    sha256: str
    bytes: int
    input: TensorSpec
    output: TensorSpec
    parity: Parity | None = None
    quality: Quality | None = None
    calibrated: Calibrated | None = None
    float_layers: tuple[str, ...] = ()
    """Layers that remain in float in an int8 file."""

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
    """How the weights were trained."""

    command: str
    """If training started from another run's weights, that run's command comes first; `steps` and `seconds` count both runs."""
    pictures: int
    data: str
    licence: str
    blur: dict[str, Any]
    steps: int
    seconds: float
    seed: int
    device: str


@dataclass(frozen=True)
class RestoredBlur:
    """How blurred a picture still is after restoring, measured by `device.restore.restored_blur`."""

    kind: str
    """`gaussian`, `defocus` or `motion`."""
    spread_px: float
    """Standard deviation of the blur before, along its widest axis."""
    noise: float
    """Standard deviation of the noise, 1.0 for white."""
    restored_px: float
    """Standard deviation of the Gaussian blur that is as far from the truth as the restored picture is."""


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json, schema 3."""

    schema: int
    name: str
    preset: str
    architecture: dict[str, Any]
    colour: str
    """`rgb`: three channels in and out; `luma`: one channel, and chroma passes through."""
    pad_multiple: int
    """Sides of a tile must be multiples of this, in pixels."""
    halo: int
    """Pixels at a tile's inner border whose output must be discarded."""
    fixed_hw: tuple[int, ...] | None
    """The only tile size that the model takes, or null if any multiple of `pad_multiple` will do."""
    macs_per_pixel: float
    parameters: int
    trained: Training
    weights: Weights | None
    artifacts: tuple[Artifact, ...]
    planes: int = 1
    """Planes of brightness that a `luma` model takes as channels: 1, the picture as seen; 2, that and the same deconvolved by the
    PSF that is known of it (device/blur), or once more as seen."""
    restored_blur: tuple[RestoredBlur, ...] = ()
    """Of the file that runs by default, on generated scenes with the blur known."""
    made_with: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that exported it."""


def file_facts(path: Path) -> dict[str, Any]:
    """The `file`, `sha256` and `bytes` of a file for the manifest."""
    data = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
