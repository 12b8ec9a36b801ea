"""`deblurkit run` with a tuned model: which model it uses, what it logs, and what it does if that model fails."""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.bundle.manifest import MANIFEST, file_facts
from device.bundle.open import SHIPPED
from device.errors import BundleError
from device.loop import tuned
from device.loop.tuned import TunedModel
from device.restore import restorer
from device.session import Session
from device.settings import CameraSettings, Settings
from device.state import DecisionState
from device.system import hardware

Command = Callable[..., Any]
DEMO = ("run", "--source", "demo", "--size", "64x48", "--sink", "null", "--frames", "2", "--json")


@pytest.fixture
def measured() -> TunedModel:
    """`nano` fp32 on OpenCV with two threads, which is never a default; stored as measured on this machine."""
    file = SHIPPED / "nano" / "nano_fp32.onnx"
    found = TunedModel(
        tuned.SCHEMA, hardware.hardware_hash(), tuned.versions("opencv_dnn"), "nano",
        file_facts(SHIPPED / "nano" / MANIFEST)["sha256"], file.name, file_facts(file)["sha256"], "fp32", "opencv_dnn", 2,
        (640, 480), 20.0, 21.0, 1.2, "the best picture", "2026-11-25",
    )  # fmt: skip
    tuned.write(tuned.folder(), found)
    return found


def run(command: Command, *words: object) -> tuple[dict[str, Any], str]:
    ended = command(*DEMO, *words)
    assert ended.code == 0, ended.err
    return json.loads(ended.out.splitlines()[-1]), ended.err


def used(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["choice"]["kind"], record["bundle"], record["artifact"], record["runtime"], record["threads"]


def test_the_tuned_model_is_used_and_logged_once(command: Command, measured: TunedModel) -> None:
    record, said = run(command)
    assert used(record) == ("measured", "nano", "fp32.onnx", "opencv_dnn", 2)
    line = "using the best model measured on this board on 2026-11-25: nano fp32.onnx on opencv_dnn, 2 threads"
    assert record["choice"]["reason"].startswith(line)
    assert said.count("measured on this board") == 1
    assert "measured on this board" not in run(command, "--quiet")[1]
    assert record["warnings"] == []


def test_a_board_that_was_never_measured_is_told_how_to_do_it(command: Command) -> None:
    record, said = run(command)
    assert used(record)[:4] == ("none", "small", "int8.tflite", "litert")
    assert said.count("this board was never measured; run `deblurkit bench --pick` to find its best model") == 1
    assert not tuned.folder().exists()  # running leaves nothing behind


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bundle", "small"], ("given", "small", "int8.tflite", "litert")),
        (["--variant", "fp16"], ("given", "small", "fp16.tflite", "litert")),
        (["--runtime", "litert"], ("given", "small", "int8.tflite", "litert")),
        (["--threads", "1"], ("measured", "nano", "fp32.onnx", "opencv_dnn", 1)),
    ],
)
def test_a_flag_overrides_the_tuned_model_except_threads(
    command: Command, measured: TunedModel, words: list[str], expected: tuple[Any, ...]
) -> None:
    assert used(run(command, *words)[0])[: len(expected)] == expected


def test_the_environment_and_the_file_override_the_tuned_model_too(
    command: Command, measured: TunedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text('variant = "fp32"\n')
    assert used(run(command, "--config", tmp_path / "run.toml")[0])[:3] == ("given", "small", "fp32.tflite")
    (tmp_path / "run.toml").write_text("bundle = []\n")  # as in the service's example
    assert used(run(command, "--config", tmp_path / "run.toml")[0])[:2] == ("measured", "nano")
    monkeypatch.setenv("DEBLURKIT_BUNDLE", "small")
    assert used(run(command)[0])[:2] == ("given", "small")


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"hardware_hash": "0" * 16}, "it was made on other hardware"),
        ({"versions": {"opencv": "4.0.0"}}, "opencv was 4.0.0, is "),
        ({"sha256": "0" * 64}, "nano_fp32.onnx of nano has changed"),
    ],
)
def test_a_stale_measurement_is_reported_and_the_default_used(
    command: Command, measured: TunedModel, others: dict[str, Any], words: str
) -> None:
    tuned.write(tuned.folder(), replace(measured, **others))
    record, said = run(command, "--quiet")
    assert used(record)[:4] == ("stale", "small", "int8.tflite", "litert")
    assert words in record["choice"]["reason"]
    assert said.count("the measurement of this board is stale") == 1
    (warning,) = [w for w in record["warnings"] if "measurement" in w["text"]]
    assert words in warning["text"]
    assert warning["mend"] == "run `deblurkit bench --pick` to measure again"


def test_a_damaged_measurement_is_reported_ignored_and_kept(command: Command, measured: TunedModel) -> None:
    path = tuned.folder() / "choice.json"
    half = path.read_bytes()[:100]
    path.write_bytes(half)
    record, said = run(command)
    assert used(record)[:2] == ("stale", "small")
    assert "choice.json: not valid JSON" in said
    assert path.read_bytes() == half


def test_with_a_target_the_tuned_model_is_followed_by_the_smaller_one(command: Command, measured: TunedModel) -> None:
    small = SHIPPED / "small" / "small_fp32.onnx"
    facts = file_facts(small)
    bundle_hash = file_facts(SHIPPED / "small" / MANIFEST)["sha256"]
    found = replace(measured, bundle="small", bundle_hash=bundle_hash, file=small.name, sha256=facts["sha256"])
    tuned.write(tuned.folder(), found)
    record, said = run(command, "--fps", 20)
    assert record["choice"]["kind"] == "measured"
    assert record["deadline"]["levels"] == 4
    assert said.index("with small, fp32.onnx on opencv_dnn, 2 threads") < said.index("with nano, int8.tflite on litert")


def test_files_are_restored_with_the_tuned_model_too(command: Command, measured: TunedModel, folder: Path) -> None:
    ended = command("run", "--source", folder, "--sink", "null", "--json")
    assert used(json.loads(ended.out.splitlines()[-1]))[:4] == ("measured", "nano", "fp32.onnx", "opencv_dnn")


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = restorer.open_runtime

    def open_runtime(name: str, path: Path, threads: int) -> Any:
        if name == "opencv_dnn":
            raise RuntimeError("no memory for its plan")
        return real(name, path, threads)

    monkeypatch.setattr(restorer, "open_runtime", open_runtime)


def test_a_live_run_falls_back_to_the_default_if_the_tuned_model_fails(
    command: Command, measured: TunedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch)
    record, said = run(command)
    assert used(record)[:4] == ("stale", "small", "int8.tflite", "litert")
    assert "is stale (opencv_dnn fails: no memory for its plan), so the default model is used" in said
    assert "no memory for its plan" in record["warnings"][0]["text"]


def test_on_files_a_failure_of_the_tuned_model_ends_the_run_and_says_what_to_do(
    command: Command, measured: TunedModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch)
    ended = command("run", "--source", folder, "--sink", "null")
    assert ended.code == BundleError.exit_code
    assert "no memory for its plan; run `deblurkit bench --pick` to measure again" in ended.err


def test_after_a_switch_the_model_is_no_longer_called_measured(measured: TunedModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(source="demo", sink=("null",), camera=CameraSettings(size="64x48", fps=60.0))
    stop = threading.Event()
    with Session(settings, stop) as session:
        thread = threading.Thread(target=session.run, daemon=True)
        thread.start()
        try:
            assert session.state().choice.kind == "measured"
            session.models.switch(next(c for c in session.models.options if (c.bundle, c.variant) == ("nano", "int8")))
            for _ in range(1500):
                if (found := session.state().choice).kind == "given":
                    break
                stop.wait(0.02)
            assert found == DecisionState("given", "switched to on the page")
        finally:
            stop.set()
            thread.join(20)
