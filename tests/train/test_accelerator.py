"""A GPU that the driver shows and Keras does not see must not pass unnoticed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from train import accelerator  # noqa: E402

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


def test_training_stops_where_the_driver_shows_a_gpu_that_keras_does_not_see(
    command: Command, driver: Path, photographs: Path, tmp_path: Path
) -> None:
    ended = command("train", "--data", photographs, "--out", tmp_path / "run")
    assert ended.code == 2
    assert "the driver shows GPU 0: NVIDIA H200, but Keras on tensorflow sees only the CPU" in ended.err
    assert "make setup-gpu" in ended.err
    assert "--cpu" in ended.err
    assert not (tmp_path / "run").exists()


def test_with_cpu_training_goes_on_all_the_same(command: Command, driver: Path, photographs: Path, tmp_path: Path) -> None:
    words = ["--epochs", 1, "--steps", 1, "--batch", 1, "--patch", 32, "--precision", "float32", "--quiet"]
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", "--cpu", *words)
    assert ended.code == 0
    assert (tmp_path / "run" / "model.weights.h5").is_file()


def test_resuming_stops_there_too(command: Command, driver: Path, tmp_path: Path) -> None:
    ended = command("train", "--out", tmp_path, "--resume")
    assert ended.code == 2
    assert "make setup-gpu" in ended.err


def test_an_accelerator_that_keras_sees_is_trained_on(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
