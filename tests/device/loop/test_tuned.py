"""The tuned model: written, read again, and never used once it is stale."""

import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from device.bundle.manifest import MANIFEST, file_facts
from device.bundle.open import SHIPPED
from device.config import build
from device.doctor.software import measurement
from device.errors import DataError, RunError
from device.loop import tuned
from device.loop.models import ModelSpec
from device.loop.tuned import TunedModel
from device.settings import Settings
from device.system import hardware


def measured_of(bundle: str, folder: Path, file: str, **others: object) -> TunedModel:
    content = {
        "schema": tuned.SCHEMA,
        "hardware_hash": hardware.hardware_hash(),
        "versions": tuned.versions("litert"),
        "bundle": bundle,
        "bundle_hash": file_facts(folder / MANIFEST)["sha256"],
        "file": file,
        "sha256": file_facts(folder / file)["sha256"],
        "variant": "int8",
        "runtime": "litert",
        "threads": 1,
        "size_wh": (640, 480),
        "p50_ms": 29.61,
        "p95_ms": 31.2,
        "gain_db": 1.6,
        "why": "the best picture",
        "measured": "2026-11-25",
    }
    return build(TunedModel, {**content, **others}, "here")


@pytest.fixture
def measured() -> TunedModel:
    """The shipped `small`, int8 on LiteRT, as if measured on this machine."""
    return measured_of("small", SHIPPED / "small", "small_int8.tflite")


@pytest.fixture
def own(small_copy: Path) -> TunedModel:
    """A copy of a bundle, for the test to damage."""
    return measured_of(str(small_copy), small_copy, "small_int8.tflite")


def test_the_file_is_written_and_read_again_and_the_service_can_read_it(tmp_path: Path, measured: TunedModel) -> None:
    path = tuned.write(tmp_path / "state", measured)
    assert path == tmp_path / "state" / "choice.json"
    assert tuned.read(tmp_path / "state") == measured
    assert os.listdir(tmp_path / "state") == ["choice.json"]
    assert path.stat().st_mode & 0o777 == 0o644  # root writes it, the service reads it
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = replace(measured, threads=2)
    tuned.write(tmp_path / "state", again)
    assert tuned.read(tmp_path / "state") == again


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path, measured: TunedModel) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"choice\.json: cannot be written"):
        tuned.write(tmp_path / "file", measured)


def test_without_a_file_there_is_no_tuned_model(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert tuned.read(tmp_path) is tuned.read(tmp_path / "nowhere") is tuned.read(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("\udcff\udcfe", "not valid JSON"),
        ("[]", "expected a table"),
        ('{"schema": 1}', "'hardware_hash' is missing"),
        ('{"schema": 99}', "schema 99, this version reads 1"),
    ],
)
def test_a_damaged_file_is_an_error_and_left_as_it_is(tmp_path: Path, text: str, words: str) -> None:
    data = text.encode(errors="surrogateescape")
    (tmp_path / "choice.json").write_bytes(data)
    with pytest.raises(DataError, match=words):
        tuned.read(tmp_path)
    assert (tmp_path / "choice.json").read_bytes() == data


@pytest.mark.parametrize(("key", "value"), [("threads", 0), ("threads", "2"), ("size_wh", [640]), ("p50_ms", None)])
def test_impossible_values_are_damage(tmp_path: Path, measured: TunedModel, key: str, value: object) -> None:
    path = tuned.write(tmp_path, measured)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=key.partition("_")[0]):
        tuned.read(tmp_path)


def test_it_is_not_stale_on_the_same_board_with_the_same_packages(measured: TunedModel, own: TunedModel) -> None:
    assert tuned.stale_reason(measured) == tuned.stale_reason(own) == ""


def test_every_change_is_named(measured: TunedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuned.versions("litert")
    assert tuned.stale_reason(replace(measured, hardware_hash="0" * 16)) == "it was made on other hardware"
    older = replace(measured, versions={**found, "ai-edge-litert": "0.9"})
    assert tuned.stale_reason(older) == f"ai-edge-litert was 0.9, is {found['ai-edge-litert']}"
    assert tuned.stale_reason(replace(measured, versions={**found, "deblurkit": "0.0.1"})).startswith("deblurkit was 0.0.1, is ")
    assert tuned.stale_reason(replace(measured, runtime="tensorrt")) == "this version has no runtime tensorrt"
    assert tuned.stale_reason(replace(measured, sha256="0" * 64)) == "small_int8.tflite of small has changed"
    assert tuned.stale_reason(replace(measured, bundle_hash="0" * 64)) == "the bundle small has changed"
    assert tuned.stale_reason(replace(measured, bundle="gone")).startswith(
        "gone: neither the folder of a bundle nor the name of a shipped bundle"
    )
    monkeypatch.setattr(tuned, "installed", lambda name: False)
    assert tuned.stale_reason(measured) == "litert is no longer installed"


@pytest.mark.parametrize("how", ["manifest", "file altered", "file gone", "gone"])
def test_a_changed_bundle_is_noticed(own: TunedModel, how: str) -> None:
    folder = Path(own.bundle)
    if how == "manifest":
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text() + "\n")
    elif how == "file altered":
        (folder / own.file).write_bytes((folder / own.file).read_bytes()[:-1] + b"x")
    elif how == "file gone":
        (folder / own.file).unlink()
    else:
        shutil.rmtree(folder)
    assert tuned.stale_reason(own)
    settings = Settings(source="demo")
    tuned.write(tuned.folder(), own)
    decision = tuned.decide(settings)
    assert (decision.kind, decision.models) == ("stale", (ModelSpec("small"),))
    assert "so the default model is used; run `deblurkit bench --pick` to measure again" in decision.reason


def test_the_decision_is_logged(measured: TunedModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tuned.decide(Settings()).log()
    tuned.write(tuned.folder(), measured)
    tuned.decide(Settings()).log()
    tuned.write(tuned.folder(), replace(measured, hardware_hash="0"))
    tuned.decide(Settings()).log()
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "this board was never measured; run `deblurkit bench --pick` to find its best model"),
        (
            "INFO",
            "using the best model measured on this board on 2026-11-25: small int8.tflite on litert, 1 thread "
            "(29.6 ms at 640x480, +1.60 dB); run `deblurkit bench --pick` to measure again",
        ),
        (
            "WARNING",
            "the measurement of this board is stale (it was made on other hardware), so the default model is used; "
            "run `deblurkit bench --pick` to measure again",
        ),
    ]


@pytest.mark.parametrize(
    "given", [{"bundle": ("nano",)}, {"variant": "fp32"}, {"runtime": "litert"}, {"bundle": ("nano",), "variant": "fp16"}]
)
def test_given_settings_override_the_tuned_model(measured: TunedModel, given: dict) -> None:
    tuned.write(tuned.folder(), measured)
    decision = tuned.decide(Settings(**given))
    usual = Settings(**given)
    assert decision.kind == "given"
    assert decision.reason == f"{' and '.join(given)} given"
    assert decision.models == tuple(ModelSpec(name, usual.variant, usual.runtime) for name in usual.bundles)
    assert decision.threads is None


def test_threads_may_be_given_with_the_tuned_model(measured: TunedModel) -> None:
    tuned.write(tuned.folder(), replace(measured, threads=2))
    assert tuned.decide(Settings()).threads == 2
    decision = tuned.decide(Settings(threads=3))
    assert (decision.kind, decision.threads) == ("measured", 3)
    assert "2 threads (29.6 ms at 640x480, +1.60 dB), here with 3;" in decision.reason


@pytest.mark.parametrize("wish", [{"fps": 30.0}, {"max_age": 80.0}])
def test_with_a_target_the_smaller_bundle_follows_the_tuned_model(measured: TunedModel, wish: dict) -> None:
    tuned.write(tuned.folder(), replace(measured, variant="fp32", file="small_fp32.tflite", sha256=sha("small_fp32.tflite")))
    assert tuned.decide(Settings(**wish)).models == (ModelSpec("small", "fp32", "litert"), ModelSpec("nano"))
    tuned.write(tuned.folder(), measured_of("nano", SHIPPED / "nano", "nano_int8.tflite"))
    assert tuned.decide(Settings(**wish)).models == (ModelSpec("nano", "int8", "litert"),)


def sha(file: str) -> str:
    return str(file_facts(SHIPPED / "small" / file)["sha256"])


def test_the_measured_file_is_opened_even_if_the_runtime_reads_two_of_that_variant(
    measured: TunedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "formats", lambda name: ("onnx", "tflite"))
    tuned.write(tuned.folder(), measured)
    (model,) = tuned.decide(Settings()).models
    assert Path(model.bundle) == SHIPPED / "small" / "small_int8.tflite"


def test_root_measures_for_the_service_if_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {0: tmp_path / "root", 1000: tmp_path / "user"}
    service = tmp_path / "var"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setattr("device.service.status.STATE", service)

    def folder_of(number: int) -> Path:
        monkeypatch.setattr("device.loop.tuned.os.geteuid", lambda: number)
        monkeypatch.setenv("XDG_STATE_HOME", str(user[number]))
        return tuned.folder()

    assert (folder_of(0), folder_of(1000)) == (user[0] / "deblurkit", user[1000] / "deblurkit")
    service.mkdir()
    assert (folder_of(0), folder_of(1000)) == (service, user[1000] / "deblurkit")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "given"))  # as the service has it
    assert folder_of(0) == tmp_path / "given"


def test_the_measurement_is_stale_after_its_bundle_changed_during_a_run(own: TunedModel, small_copy: Path) -> None:
    tuned.write(tuned.folder(), own)
    decision = tuned.decide(Settings())
    assert tuned.check_again(decision) == decision
    (small_copy / MANIFEST).write_text((small_copy / MANIFEST).read_text() + "\n")
    after = tuned.check_again(decision)
    assert (after.kind, after.models) == ("stale", decision.models)
    assert "has changed" in after.reason


def test_doctor_reports_the_tuned_model(measured: TunedModel) -> None:
    assert [(f.state, bool(f.mend)) for f in measurement()] == [("missing", True)]
    tuned.write(tuned.folder(), measured)
    (finding,) = measurement()
    assert (finding.state, finding.mend) == ("ok", "")
    assert finding.found == "small int8.tflite on litert, 1 thread (29.6 ms at 640x480, +1.60 dB), measured 2026-11-25"
    tuned.write(tuned.folder(), replace(measured, runtime="tensorrt"))
    (finding,) = measurement()
    assert (finding.state, finding.found) == ("poor", "stale: this version has no runtime tensorrt")
    (tuned.folder() / "choice.json").write_text("{")
    (finding,) = measurement()
    assert finding.state == "poor"
    assert "not valid JSON" in finding.found
