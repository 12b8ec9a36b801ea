"""A GPU that the driver shows and Keras does not see is reported; several devices train like one."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from finished_runs import finished_run  # noqa: E402

from train import accelerator  # noqa: E402
from train.architectures import UNet  # noqa: E402

Command = Callable[..., Any]
LISTING = "GPU 0: NVIDIA H200 (UUID: GPU-1b2c)\\nGPU 1: NVIDIA H200 (UUID: GPU-9f8e)"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake `nvidia-smi`, first on PATH, that lists two GPUs; TensorFlow sees none."""
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\n[ \"$1\" = -L ] && printf '{LISTING}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    monkeypatch.setattr(accelerator.keras.distribution, "list_devices", lambda: ["cpu:0"])
    return script


def test_the_gpus_of_the_driver_are_named(driver: Path) -> None:
    assert accelerator.driver_gpus() == ["GPU 0: NVIDIA H200", "GPU 1: NVIDIA H200"]


def test_training_stops_if_the_driver_shows_a_gpu_that_keras_does_not_see(
    command: Command, driver: Path, photographs: Path, tmp_path: Path
) -> None:
    ended = command("train", "--data", photographs, "--out", tmp_path / "run")
    assert ended.code == 2
    assert "the driver shows GPU 0: NVIDIA H200, but Keras on tensorflow sees only the CPU" in ended.err
    assert "make setup-gpu" in ended.err
    assert "--cpu" in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny", "eager")
def test_with_cpu_training_continues_on_the_cpu(command: Command, driver: Path, photographs: Path, tmp_path: Path) -> None:
    words = ["--epochs", 1, "--steps", 1, "--batch", 1, "--patch", 32, "--precision", "float32", "--quiet"]
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", "--cpu", *words)
    assert ended.code == 0
    assert (tmp_path / "run" / "model.weights.h5").is_file()


def test_resuming_stops_for_the_same_reason(command: Command, driver: Path, tmp_path: Path) -> None:
    ended = command("train", "--out", tmp_path, "--resume")
    assert ended.code == 2
    assert "make setup-gpu" in ended.err


def test_an_accelerator_that_keras_sees_is_used(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator.keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    accelerator.require_visible_gpu()
    assert accelerator.training_device() == "gpu:0, gpu:1 (tensorflow)"
    assert accelerator.best_precision() == "mixed_bfloat16"


def test_a_driver_that_does_not_answer_shows_no_gpu(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/usr/lib/wsl/lib/nvidia-smi").exists() or Path("/proc/driver/nvidia/gpus").exists():
        pytest.skip("this machine has an NVIDIA driver of its own")
    driver.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    assert accelerator.driver_gpus() == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert accelerator.driver_gpus() == []
    accelerator.require_visible_gpu()


def test_a_cpu_is_named_with_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator.keras.distribution, "list_devices", lambda: ["CPU:0"])
    assert accelerator.training_device() == "cpu:0 (tensorflow)"
    assert accelerator.best_precision() in ("float32", "mixed_bfloat16")


# several devices


def test_only_several_accelerators_are_used_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, expected in ((["CPU:0"], []), (["cpu:0", "gpu:0"], []), (["cpu:0", "gpu:0", "gpu:1"], ["gpu:0", "gpu:1"])):
        monkeypatch.setattr(accelerator.keras.distribution, "list_devices", lambda found=found: found)
        assert accelerator.parallel_accelerators() == expected


def test_a_batch_that_does_not_divide_evenly_is_refused_before_anything_is_written(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "parallel_accelerators", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", "--batch", 16, "--cpu")
    assert ended.code == 2
    assert "a batch of 16 patches does not divide evenly over 3 devices; choose a multiple with --batch" in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_four_devices_train_like_one(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    finished_run(tmp_path / "teacher", UNet((8, 16), (0, 1), (0,), stem=2))
    environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    words = [sys.executable, Path(__file__).with_name("data_parallel_training.py"), tmp_path]
    done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"1": [1], "4": [4]}
    checkpoints = []
    for count in (1, 4):
        with np.load(tmp_path / str(count) / "checkpoint.npz") as stored:
            checkpoints.append({name: stored[name] for name in stored})
    one, four = checkpoints
    losses = [[row["loss"] for row in json.loads(c.pop("history").tobytes())] for c in checkpoints]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert any(name.startswith("optimizer/") for name in one)  # its moments would show a gradient of the wrong scale
    for name in one:
        np.testing.assert_allclose(four[name], one[name], rtol=1e-3, atol=1e-5, err_msg=name)
