"""The checkpoint after each epoch: everything that --resume needs besides run.json."""

import io
import json
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np

from device.errors import DataError
from device.system.files import write_atomically
from train.run_folder import CHECKPOINT


def save_checkpoint(
    folder: Path, network: keras.Model, optimizer: keras.optimizers.Optimizer, history: list[dict[str, float]]
) -> None:
    """Write weights, optimizer state and the history of all finished epochs into one file, atomically."""
    arrays = {f"weight/{i}": np.asarray(v) for i, v in enumerate(network.get_weights())}
    arrays |= {f"optimizer/{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(optimizer.variables)}
    arrays["history"] = np.frombuffer(json.dumps(history).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(folder / CHECKPOINT, buffer.getbuffer())  # type: ignore[arg-type]


def load_checkpoint(folder: Path, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[dict[str, float]]:
    """Restore network and optimizer from the checkpoint; returns the history, empty if there is no checkpoint yet.

    Raises DataError for a damaged checkpoint.
    """
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
        raise DataError(f"{path}: cannot resume from it ({error}); delete it to start the run again") from error
    return history
