"""The folder of a training run and its run.json: what is needed to resume, repeat and export it. Needs no Keras."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device.config import build
from device.errors import BundleError, UsageError
from device.images.degrade import CameraBlur
from device.system.files import write_atomically
from train.architectures import Architecture, architecture_from
from train.presets import Recipe

SCHEMA = 1
RUN_JSON, CHECKPOINT, WEIGHTS, HISTORY = "run.json", "checkpoint.npz", "model.weights.h5", "history.csv"


@dataclass(frozen=True)
class DataRecord:
    """The data set of a run."""

    kind: str
    """`photographs` (--data), `pairs` (--pairs) or `package` (scikit-image's)."""
    folders: tuple[str, ...]
    train: tuple[str, ...]
    """Names of the training pictures."""
    validation: tuple[str, ...]
    val_share: float
    licences: str = ""
    """The licence of the pictures (--licence), for the manifest of an exported bundle."""


@dataclass(frozen=True)
class RunRecord:
    """run.json: everything needed to repeat the run."""

    schema: int
    preset: str
    architecture: dict[str, Any]
    recipe: Recipe
    blur: CameraBlur
    data: DataRecord
    seed: int
    parameters: int
    macs_per_pixel: float
    command: str
    versions: dict[str, str]
    device: str
    init: str = ""
    """The bundle or run whose weights it started from."""
    teacher: str = ""
    """The finished run that taught it (--teacher); the next field is the hash of that run's weights."""
    teacher_sha256: str = ""
    finished: bool = False
    seconds: float = 0.0
    results: dict[str, Any] = field(default_factory=dict)

    def parse_architecture(self) -> Architecture:
        """The architecture as its dataclass. Raises BundleError if run.json describes an unknown one."""
        return architecture_from(self.architecture, RUN_JSON, BundleError)


def read_run(folder: Path) -> RunRecord:
    """Read run.json. Raises BundleError if the folder is not a run, its schema is newer, or it has unknown keys."""
    path = folder / RUN_JSON
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise BundleError(
            f"{folder}: not a training run ({RUN_JSON}: {error.strerror}); create one with `deblurkit train --out`"
        ) from error
    except ValueError as error:
        raise BundleError(f"{path}: not valid JSON ({error}); train again, or restore the file") from error
    if isinstance(content, dict) and content.get("schema") != SCHEMA:
        raise BundleError(
            f"{path}: schema {content.get('schema')!r}, this version reads {SCHEMA}; update deblurkit or train again"
        )
    return build(RunRecord, content, str(path), BundleError)


def write_run(folder: Path, record: RunRecord) -> None:
    """Write run.json atomically."""
    write_atomically(folder / RUN_JSON, json.dumps(asdict(record), indent=2).encode() + b"\n")


def create_folder(folder: Path) -> None:
    """Create the folder of a new run. Raises UsageError if it exists and is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not empty; choose another --out, or continue its run with --resume")
    folder.mkdir(parents=True, exist_ok=True)
