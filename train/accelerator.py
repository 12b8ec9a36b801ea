"""Which device Keras trains on, and whether the machine has a GPU that Keras does not see."""

import subprocess
from pathlib import Path

import keras

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
