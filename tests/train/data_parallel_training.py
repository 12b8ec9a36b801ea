"""Run by test_accelerator.py in its own process with four virtual CPU devices: a few steps on one of them, then on all four.

With the teacher in the folder, the moving average, and a number of validation pictures that does not divide evenly.
Prints how many devices had the weights in each of the two trainings.
"""

import json
import os
import sys
from pathlib import Path

COUNT = 4
folder = Path(sys.argv[1])
if os.environ["KERAS_BACKEND"] == "jax":
    # Compiling is most of the time, and LLVM's optimisation most of that.
    flags = (f"--xla_force_host_platform_device_count={COUNT}", "--xla_cpu_multi_thread_eigen=false")
    os.environ["XLA_FLAGS"] = " ".join((*flags, "--xla_backend_optimization_level=0"))
else:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * COUNT)

import keras  # noqa: E402
import numpy as np  # noqa: E402

from device.images.degrade import BLURS  # noqa: E402
from train import accelerator, fit, run_folder  # noqa: E402
from train.architectures import UNet, architecture_config  # noqa: E402
from train.distil import teacher_sha256  # noqa: E402
from train.presets import Recipe  # noqa: E402


class Noise:
    """Batches of noise; the sharp picture is twice the blurred one."""

    steps_per_epoch = 4

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        blurred = np.random.default_rng(step).random((8, 16, 16, 3), np.float32) / 2
        return blurred, 2 * blurred


devices = keras.distribution.list_devices("cpu")
assert len(devices) == COUNT
used = set()
predict = accelerator.Devices.predict


def recording_predict(self: accelerator.Devices, network: keras.Model, batch: np.ndarray) -> np.ndarray:
    """Devices.predict that also records how many devices have the weights of the network."""
    value = network.weights[0].value
    if os.environ["KERAS_BACKEND"] == "jax":
        used.add(len(value.sharding.device_set))
    else:
        used.add(len(getattr(value, "values", [value])))
    return predict(self, network, batch)


accelerator.Devices.predict = recording_predict
tiny = UNet((8, 16), (0, 1), (0,), stem=2)
recipe = Recipe(batch=8, patch=16, epochs=2, steps_per_epoch=4, ema=0.9, precision="float32", fft_weight=0.1)
record = run_folder.RunRecord(
    1, "small", architecture_config(tiny), recipe, BLURS["camera"], run_folder.DataRecord("package", (), (), (), 0.0),
    0, 0, 0.0, "", {}, "", finished=True, teacher=str(folder / "teacher"), teacher_sha256=teacher_sha256(folder / "teacher"),
)  # fmt: skip
validation = Noise().batch(99)[0][:3], Noise().batch(99)[1][:3]
found = {}
for count in (1, COUNT):
    accelerator.parallel_accelerators = lambda count=count: devices if count > 1 else []
    used.clear()
    out = folder / str(count)
    out.mkdir()
    fit.fit(record, out, Noise(), validation, True)
    found[count] = sorted(used)
print(json.dumps(found))
