"""`deblurkit doctor` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import device.bundle.open
import device.runtimes

Command = Callable[..., Any]


def test_doctor_finds_this_machine_and_the_shipped_bundle_ok(command: Command) -> None:
    ended = command("doctor", "--json")
    record = json.loads(ended.out.splitlines()[-1])
    assert ended.code == 0, [f for f in record["findings"] if f["state"] == "bad"]
    assert record["ok"] is True
    states = {finding["what"]: finding["state"] for finding in record["findings"]}
    assert {"system", "python", "numpy", "opencv", "camera", "train", "disk", "litert"} <= set(states)
    assert states["bundle small"] == "ok"
    assert {"temperature", "throttling", "memory", "clock", "permissions", "port"} <= set(states)
    assert set(states.values()) <= {"ok", "missing", "poor"}
    assert all(f["mend"] for f in record["findings"] if f["state"] != "ok")


def test_doctor_prints_a_line_for_each_check_and_a_fix_for_each_problem(command: Command) -> None:
    ended = command("doctor")
    assert ended.code == 0
    assert "bundle small" in ended.out
    if not any(Path("/dev").glob("video*")):
        assert "fix: connect a camera, or use --source demo" in ended.out


def test_doctor_returns_1_if_the_shipped_bundle_is_damaged(
    command: Command, small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [*small_copy.glob("*.tflite"), *small_copy.glob("*.onnx")]:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    monkeypatch.setattr(device.bundle.open, "SHIPPED", small_copy.parent)
    ended = command("doctor", "--json")
    assert ended.code == 1
    (finding,) = [f for f in json.loads(ended.out.splitlines()[-1])["findings"] if f["state"] == "bad"]
    assert finding["what"] == "bundle small"
    assert "SHA-256 differs from the manifest" in finding["found"]
    assert finding["mend"]


def test_doctor_returns_1_if_the_model_restores_differently_than_at_export(
    command: Command, small_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = small_copy / "manifest.json"
    content = json.loads(manifest.read_text())
    for artifact in content["artifacts"]:
        artifact["quality"]["scenes_psnr_db"] += 0.2
    manifest.write_text(json.dumps(content))
    monkeypatch.setattr(device.bundle.open, "SHIPPED", small_copy.parent)
    ended = command("doctor", "--json")
    assert ended.code == 1
    assert [f["what"] for f in json.loads(ended.out.splitlines()[-1])["findings"] if f["state"] == "bad"] == ["bundle small"]


def test_doctor_returns_1_without_a_shipped_bundle(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.bundle.open, "SHIPPED", tmp_path)
    assert command("doctor", "--json").code == 1


def test_doctor_returns_1_without_any_runtime_and_says_how_to_fix_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.runtimes.installed", lambda name: False)
    ended = command("doctor", "--json")
    assert ended.code == 1
    findings = {f["what"]: f for f in json.loads(ended.out.splitlines()[-1])["findings"]}
    assert findings["litert"]["state"] == "bad"
    assert findings["litert"]["mend"] == "pip install ai-edge-litert"
    assert findings["bundle small"]["state"] == "bad"


def test_doctor_refuses_unknown_flags(command: Command) -> None:
    assert command("doctor", "--nonsense").code == 2
