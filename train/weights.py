"""The weights of a run: loaded to initialise a training or to export, written when the training has finished."""

from pathlib import Path

import keras
import numpy as np

from device.bundle.open import open_bundle
from device.errors import BundleError, UsageError
from device.system.files import write_atomically
from train import net2net
from train.architectures import Architecture, architecture_from
from train.networks import build_network
from train.reparameterise import fold
from train.run_folder import RUN_JSON, WEIGHTS, RunRecord, read_run


def load_network(
    folder: Path, height: int | None = None, width: int | None = None, batch: int | None = None, clip: bool = True
) -> keras.Model:
    """The trained network of a finished run, float32, with its weights. Raises BundleError."""
    record, path = read_run(folder), folder / WEIGHTS
    if not path.is_file():
        raise BundleError(
            f"{folder}: no {WEIGHTS}, the run has not finished; finish it with `deblurkit train --out {folder} --resume`"
        )
    network = build_network(record.parse_architecture(), height, width, batch=batch, clip=clip)
    _load(network, path, record.preset)
    return network


def _load(network: keras.Model, path: Path, name: str) -> None:
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: not the weights of this {name} ({error}); train again") from error
    if any(not np.isfinite(w).all() for w in network.get_weights()):
        raise BundleError(f"{path}: has NaN or infinite weights; the training diverged, train again with a lower --learning-rate")


def load_initial(source: str, architecture: Architecture, network: keras.Model) -> None:
    """Load the weights of a bundle (folder or shipped name) or finished run into `network`, built from `architecture`.

    If the network has more levels or blocks, or restores luma and the weights are for rgb, it is initialised from the smaller
    network (`train.net2net`). Raises BundleError if there are no weights, UsageError if they do not fit.
    """
    if (Path(source) / RUN_JSON).is_file():
        config, path = read_run(Path(source)).architecture, Path(source) / WEIGHTS
    else:
        bundle = open_bundle(source)
        config, path = bundle.manifest.architecture, bundle.weights_path()
    source_architecture = architecture_from(config, source)
    if source_architecture == architecture:
        _load(network, path, source)
        return
    if not net2net.can_grow(source_architecture, architecture):
        raise UsageError(
            f"--init {source}: its network is {config}; the preset's is neither the same nor a larger one; "
            "choose the --preset that it was trained with"
        )
    smaller = build_network(source_architecture)
    _load(smaller, path, source)
    net2net.grow(smaller, network)


def save_weights(folder: Path, record: RunRecord, network: keras.Model) -> None:
    """Write the weights of `network` as .weights.h5, atomically, with branches folded and without the optimizer's state."""
    temporary = folder / f".part.{WEIGHTS}"  # Keras requires the suffix
    plain = build_network(record.parse_architecture())
    fold(network, plain)
    plain.save_weights(temporary)
    data = temporary.read_bytes()
    temporary.unlink()
    write_atomically(folder / WEIGHTS, data)
