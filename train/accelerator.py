"""The devices that Keras trains on; reports a GPU that the driver shows and Keras does not use."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from device.errors import UsageError


def training_device() -> str:
    """The devices that Keras will use, such as "cpu:0 (tensorflow)"."""
    devices = [d.lower() for d in keras.distribution.list_devices()]
    accelerators = [d for d in devices if not d.startswith("cpu")]
    return f"{', '.join(accelerators or devices[:1]) or 'cpu:0'} ({keras.backend.backend()})"


def best_precision() -> str:
    """`mixed_bfloat16` on an accelerator and on CPUs with bfloat16 instructions, where it is faster; else `float32`.

    Measured with `small` on TensorFlow and two cores without such instructions: 13 steps per second in bfloat16, 33 in float32.
    On a machine that has them, the project's design notes report 63 against 51.
    """
    if not training_device().startswith("cpu"):
        return "mixed_bfloat16"
    try:
        features = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "mixed_bfloat16" if "avx512_bf16" in features or "amx_bf16" in features else "float32"


def driver_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver lists, on Linux and WSL2; empty without a driver."""
    for command in ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi"):
        try:
            listing = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        return [line.split(" (UUID")[0] for line in listing.splitlines() if line.startswith("GPU")]
    gpus = Path("/proc/driver/nvidia/gpus")
    return [p.name for p in gpus.iterdir()] if gpus.is_dir() else []


def require_visible_gpu() -> None:
    """Raise UsageError if the driver shows a GPU and Keras would still train on the CPU."""
    gpus = driver_gpus()
    if gpus and training_device().startswith("cpu"):
        raise UsageError(
            f"the driver shows {gpus[0]}, but Keras on {keras.backend.backend()} sees only the CPU; install its GPU "
            "support with `make setup-gpu` and use .venv-gpu/bin/deblurkit, or train on the CPU with --cpu"
        )


class Devices:
    """The devices a network trains on. This class stands for the single device that Keras chooses itself."""

    count = 1

    def train(self, network: keras.Model, blurred: np.ndarray, target: np.ndarray) -> float:
        """Train one step; returns the loss."""
        return float(network.train_on_batch(blurred, target))

    def predict(self, network: keras.Model, batch: np.ndarray) -> np.ndarray:
        """The network's output, float32. A batch that does not divide evenly over the devices is padded for the computation."""
        missing = -len(batch) % self.count
        padded = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch
        return np.asarray(network.predict_on_batch(self._divide(padded)), np.float32)[: len(batch)]

    def _divide(self, batch: np.ndarray) -> Any:
        return batch


class _ShardedByJax(Devices):
    """Keras divides training batches itself. In prediction each device would compute the whole batch, so it is divided here."""

    def __init__(self, parallel: keras.distribution.DataParallel) -> None:
        self._parallel = parallel
        self.count = int(parallel.num_model_replicas)

    def _divide(self, batch: np.ndarray) -> Any:
        return keras.distribution.distribute_tensor(batch, self._parallel.get_data_layout(batch.shape))


class _MirroredByTensorFlow(Devices):
    """Calls the train function directly: train_on_batch would train each replica on the whole batch, or, with one part for each
    replica, could not determine the shape."""

    def __init__(self, strategy: Any) -> None:
        self._strategy = strategy
        self.count = int(strategy.num_replicas_in_sync)

    def train(self, network: keras.Model, blurred: np.ndarray, target: np.ndarray) -> float:
        network.make_train_function()
        network.reset_metrics()
        logs = network.train_function(iter([(self._divide(blurred), self._divide(target))]))
        return float(logs["loss"])

    def _divide(self, batch: np.ndarray) -> Any:
        parts = np.split(batch, self.count)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: keras.ops.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )


def parallel_accelerators() -> list[str]:
    """The accelerators to train on in parallel: all that Keras sees if there are several, otherwise none."""
    accelerators = [d for d in keras.distribution.list_devices() if not d.lower().startswith("cpu")]
    return accelerators if len(accelerators) > 1 else []


def require_divisible(batch: int, devices: list[str]) -> None:
    """Raise UsageError if a batch does not divide evenly over the devices."""
    if devices and batch % len(devices):
        raise UsageError(
            f"a batch of {batch} patches does not divide evenly over {len(devices)} devices; choose a multiple with --batch"
        )


@contextmanager
def data_parallel(devices: list[str]) -> Iterator[Devices]:
    """Networks built in this context train data-parallel: each device has all weights and takes its share of every batch.

    Without devices nothing changes. Training steps equal those on one device, except for the order of sums.
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
        raise UsageError(
            f"Keras on {keras.backend.backend()} trains on one device only; set KERAS_BACKEND=jax or tensorflow to use several"
        )
