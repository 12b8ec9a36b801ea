"""The folder of one training run: everything needed to resume it, repeat it and export it."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from device.bundle.open import open_bundle
from device.config import build
from device.errors import BundleError, DataError, UsageError
from device.images.degrade import CameraBlur
from device.system.files import write_atomically
from train import net2net
from train.presets import Architecture, Recipe, architecture_from
from train.reparameterise import fold

SCHEMA = 1
RUN_JSON, CHECKPOINT, WEIGHTS, HISTORY = "run.json", "checkpoint.npz", "model.weights.h5", "history.csv"


@dataclass(frozen=True)
class DataRecord:
    """What a run was trained on."""

    kind: str
    """`photographs` (--data), `pairs` (--pairs) or `package` (scikit-image's)."""
    folders: tuple[str, ...]
    train: tuple[str, ...]
    """Names of the training pictures."""
    validation: tuple[str, ...]
    val_share: float
    licences: str = ""
    """What --licence said of the pictures; travels into the manifest of an exported bundle."""


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
    """The bundle or run whose weights it began with."""
    teacher: str = ""
    """The finished run that taught it, and the hash of that run's weights."""
    teacher_sha256: str = ""
    finished: bool = False
    seconds: float = 0.0
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> Architecture:
        """The architecture that the weights belong to."""
        return architecture_from(self.architecture, RUN_JSON, BundleError)


def read_run(folder: Path) -> RunRecord:
    """Read run.json. Raises BundleError when the folder is no run, of a newer schema, or has unknown keys."""
    path = folder / RUN_JSON
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise BundleError(
            f"{folder}: not a training run ({RUN_JSON}: {error.strerror}); `deblurkit train --out` makes one"
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


def load_network(
    folder: Path, height: int | None = None, width: int | None = None, batch: int | None = None, clip: bool = True
) -> keras.Model:
    """The trained network of a finished run, float32, with its weights. Raises BundleError."""
    record, path = read_run(folder), folder / WEIGHTS
    if not path.is_file():
        raise BundleError(
            f"{folder}: no {WEIGHTS}, the run has not finished; go on with `deblurkit train --out {folder} --resume`"
        )
    network = record.network.network(height, width, batch, clip)
    _load(network, path, record.preset)
    return network


def _load(network: keras.Model, path: Path, name: str) -> None:
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: does not hold the weights of this {name} ({error}); train again") from error
    if any(not np.isfinite(w).all() for w in network.get_weights()):
        raise BundleError(
            f"{path}: holds NaN or infinite weights; the training diverged, train again with a lower --learning-rate"
        )


def load_initial(source: str, architecture: Architecture, network: keras.Model) -> None:
    """Load the weights of a bundle (folder or shipped name) or finished run into `network`, built from `architecture`.

    Where the network has more levels or blocks, or wants luma where the weights were for rgb, it begins as what the smaller
    one does (`train.net2net`). Raises BundleError when there are no weights, UsageError when they do not fit.
    """
    if (Path(source) / RUN_JSON).is_file():
        config, path = read_run(Path(source)).architecture, Path(source) / WEIGHTS
    else:
        bundle = open_bundle(source)
        config, path = bundle.manifest.architecture, bundle.weights_path()
    given = architecture_from(config, source)
    if given == architecture:
        _load(network, path, source)
        return
    if not net2net.may_grow(given, architecture):
        raise UsageError(f"--init {source}: its network is {config}, another than the preset's; choose its own --preset")
    smaller = given.network(None, None)
    _load(smaller, path, source)
    net2net.grow(smaller, network)


def save_weights(folder: Path, record: RunRecord, network: keras.Model) -> None:
    """Write the weights of `network`, branches folded, without its optimizer's state, as .weights.h5, atomically."""
    aside = folder / f".part.{WEIGHTS}"
    bare = record.network.network(*(record.network.fixed_hw or (None, None)))
    fold(network, bare)
    bare.save_weights(aside)
    data = aside.read_bytes()
    aside.unlink()
    write_atomically(folder / WEIGHTS, data)


def save_checkpoint(
    folder: Path, network: keras.Model, optimizer: keras.optimizers.Optimizer, history: list[dict[str, float]]
) -> None:
    """Weights, optimizer state and history of all finished epochs in one file, atomically."""
    arrays = {f"weight/{i}": np.asarray(v) for i, v in enumerate(network.get_weights())}
    arrays |= {f"optimizer/{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(optimizer.variables)}
    arrays["history"] = np.frombuffer(json.dumps(history).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(folder / CHECKPOINT, buffer.getbuffer())  # type: ignore[arg-type]


def load_checkpoint(folder: Path, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[dict[str, float]]:
    """Put the checkpoint into network and optimizer; returns the history, empty where there is no checkpoint yet."""
    path = folder / CHECKPOINT
    if not path.is_file():
        return []
    try:
        with np.load(path, allow_pickle=False) as stored:
            network.set_weights([stored[f"weight/{i}"] for i in range(len(network.weights))])
            for i, variable in enumerate(optimizer.variables):
                variable.assign(stored[f"optimizer/{i}"])
            history: list[dict[str, float]] = json.loads(stored["history"].tobytes())
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be resumed from ({error}); delete it to begin again") from error
    return history


def fresh_folder(folder: Path) -> None:
    """Make the folder of a new run. Raises UsageError if it holds anything."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists and is not empty; choose another --out, or go on with --resume")
    folder.mkdir(parents=True, exist_ok=True)
