"""An export that is killed, runs out of space, or is repeated."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

keras = pytest.importorskip("keras")
for needed in ("tensorflow", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.keras

from device.bundle.open import open_bundle  # noqa: E402

Command = Callable[..., Any]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def deblurkit(*words: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deblurkit", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(run: Path, exported: tuple[Path, Any], tmp_path: Path) -> None:
    ended = deblurkit("export", run, "--out", tmp_path / "tiny", "--quiet")  # in its own process
    printed, _ = ended.communicate()
    assert ended.returncode == 0, printed
    one, two = bytes_of(exported[0]), bytes_of(tmp_path / "tiny")
    assert len(one) == 9
    assert [name for name in one if one[name] != two.get(name)] == []


@pytest.mark.slow
def test_an_export_killed_at_any_moment_leaves_the_old_bundle_and_the_next_one_cleans_up(
    run: Path, exported: tuple[Path, Any], tmp_path: Path, command: Command
) -> None:
    out = Path(shutil.copytree(exported[0], tmp_path / "bundles" / "tiny"))
    before = bytes_of(out)
    for moment in ("1 of 2", "2 of 2"):
        process = deblurkit("export", run, "--out", out, "--replace", "--variants", "fp16")
        assert process.stdout is not None
        watchdog = threading.Timer(240, process.kill)
        watchdog.start()
        assert any(moment in line for line in process.stdout), moment
        process.send_signal(signal.SIGKILL)
        process.wait()
        watchdog.cancel()
        assert bytes_of(out) == before
        assert len(list(out.parent.glob(".tiny.*.part"))) == 1  # of the last one killed; the one before was swept away
    ended = command("export", run, "--out", out, "--replace", "--variants", "fp16")
    assert ended.code == 0
    assert [p.name for p in out.parent.iterdir()] == ["tiny"]
    assert "2 of 2 files have the bytes they had before" in ended.out
    assert [a.label for a in open_bundle(out).manifest.artifacts] == ["fp16.tflite", "fp16.onnx"]


def test_a_full_disk_ends_with_1_and_leaves_nothing(command: Command, run: Path, disk: Callable[[int], Path]) -> None:
    tiny_disk = disk(256)  # room for some of the files
    ended = command("export", run, "--out", tiny_disk / "b", "--variants", "fp32", "fp16", "--quiet")
    assert ended.code == 1
    assert "cannot be written: No space left on device; free some space" in ended.err
    assert not list(tiny_disk.iterdir())
