"""Which device Keras trains on, and whether the machine has a GPU that Keras does not see."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from device.errors import UsageError


def training_device() -> str:
    """The device Keras will use, such as "cpu:0 (tensorflow)"."""
    devices = [d.lower() for d in keras.distribution.list_devices()]
    accelerators = [d for d in devices if not d.startswith("cpu")]
    return f"{', '.join(accelerators or devices[:1]) or 'cpu:0'} ({keras.backend.backend()})"


def best_precision() -> str:
    """`mixed_bfloat16` on an accelerator and on CPUs with bfloat16 instructions, where it is faster; else `float32`.

    Measured with `small`, TensorFlow, two cores: 13 against 33 steps a second without such instructions; 63 against 51 is
    reported in the project's design notes for a machine that has them.
    """
    if not training_device().startswith("cpu"):
        return "mixed_bfloat16"
    try:
        features = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in features or "amx_bf16" in features else "float32"


def driver_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver shows, on Linux and WSL2; empty without a driver."""
    for command in ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"):
        try:
            listing = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        return [line.split(" (UUID")[0] for line in listing.splitlines() if line.startswith("GPU")]
    gpus = Path("/proc/driver/nvidia/gpus")
    return [p.name for p in gpus.iterdir()] if gpus.is_dir() else []


def require_visible_gpu() -> None:
    """Raise UsageError when the driver shows a GPU and Keras would train on the CPU all the same."""
    gpus = driver_gpus()
    if gpus and training_device().startswith("cpu"):
        raise UsageError(
            f"the driver shows {gpus[0]}, but Keras on {keras.backend.backend()} sees only the CPU; install its GPU "
            "support with `make setup-gpu` and use .venv-gpu/bin/deblurkit, or train on the CPU with --cpu"
        )


class Devices:
    """What a network trains on; this one is the single device that Keras takes by itself."""

    count = 1

    def train(self, network: keras.Model, blurred: np.ndarray, target: np.ndarray) -> float:
        """One step of the optimizer; returns the loss."""
        return float(network.train_on_batch(blurred, target))

    def predict(self, network: keras.Model, batch: np.ndarray) -> np.ndarray:
        """The network's output, float32; a batch that cannot be shared out evenly is padded meanwhile."""
        missing = -len(batch) % self.count
        padded = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch
        return np.asarray(network.predict_on_batch(self._share_out(padded)), np.float32)[: len(batch)]

    def _share_out(self, batch: np.ndarray) -> Any:
        return batch


class _ShardedByJax(Devices):
    """Keras cuts the batches it trains on by itself; of one to predict each device would compute the whole."""

    def __init__(self, parallel: keras.distribution.DataParallel) -> None:
        self._parallel = parallel
        self.count = int(parallel.num_model_replicas)

    def _share_out(self, batch: np.ndarray) -> Any:
        return keras.distribution.distribute_tensor(batch, self._parallel.get_data_layout(batch.shape))


class _MirroredByTensorFlow(Devices):
    """Given a whole batch, train_on_batch trains each replica on all of it; given its parts, it cannot tell their shape."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self.count = int(strategy.num_replicas_in_sync)

    def train(self, network: keras.Model, blurred: np.ndarray, target: np.ndarray) -> float:
        network.make_train_function()
        network.reset_metrics()
        logs = network.train_function(iter([(self._share_out(blurred), self._share_out(target))]))
        return float(logs["loss"])

    def _share_out(self, batch: np.ndarray) -> Any:
        parts = np.split(batch, self.count)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: keras.ops.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )


def several_accelerators() -> list[str]:
    """The accelerators of this machine where Keras sees more than one, else none: then there is nothing to spread over."""
    found = [d for d in keras.distribution.list_devices() if not d.lower().startswith("cpu")]
    return found if len(found) > 1 else []


def require_divisible(batch: int, devices: list[str]) -> None:
    """Raise UsageError when a batch cannot be shared out evenly."""
    if devices and batch % len(devices):
        raise UsageError(f"a batch of {batch} patches cannot be shared by {len(devices)} devices; choose a multiple with --batch")


@contextmanager
def spread_over(devices: list[str]) -> Iterator[Devices]:
    """Networks built within train data-parallel: each device holds all weights and takes its share of every batch.

    Without devices nothing changes. The steps are those of one device but for the order in which sums are added.
    """
    if not devices:
        yield Devices()
    elif keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=devices)
        with parallel.scope():
            yield _ShardedByJax(parallel)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy([f"/{d.upper()}" for d in devices])
        with strategy.scope():
            yield _MirroredByTensorFlow(strategy)
    else:
        raise UsageError(f"Keras on {keras.backend.backend()} trains on one device here; use KERAS_BACKEND=jax or tensorflow")
