"""The models of a run: recovery from failures, and changes that are verified first. Uses the shipped models."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loop_parts import until

from device.blur.choice import BlurChoice
from device.bundle.open import SHIPPED
from device.errors import BundleError, RunError, UsageError
from device.images.frame import NOT_RESTORED, Frame, Image, Pixels
from device.images.yuv import Yuv, from_rgb
from device.loop.blur import Blur
from device.loop.models import Models, ModelSpec
from device.restore.restorer import Restorer
from device.state import ModelOption
from device.telemetry import Telemetry


@pytest.fixture
def frame(picture: Pixels) -> Frame:
    return Frame(0, time.monotonic(), picture)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def models(telemetry: Telemetry) -> Iterator[Models]:
    with Models([ModelSpec("small"), ModelSpec("nano")], 1, telemetry, recovers=True) as opened:
        yield opened


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The next calls of a restorer raise an error, as a broken runtime does."""
    left = [times]
    real = Restorer.restore

    def restore(self: Restorer, image: Image) -> Image:
        if left[0]:
            left[0] -= 1
            raise MemoryError("no memory for tensors")
        return real(self, image)

    monkeypatch.setattr(Restorer, "restore", restore)


def test_each_index_restores_with_its_own_model(models: Models, frame: Frame) -> None:
    first, second = models.restore(frame, 0), models.restore(frame, 1)
    assert [r.bundle.name for r in models.restorers] == ["small", "nano"]
    assert first.mark == second.mark == ""
    assert not np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(models.restore(frame, 9).pixels, second.pixels)  # there is no smaller one


def test_a_frame_on_which_the_model_fails_is_passed_through_with_a_mark_and_the_next_is_restored(
    models: Models, frame: Frame, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = models.restorers
    failing(monkeypatch, 1)
    passed = models.restore(frame)
    assert passed.mark == NOT_RESTORED
    assert not np.array_equal(passed.pixels, frame.pixels)  # the mark is on the picture itself
    assert np.array_equal(passed.pixels[: len(frame.pixels) // 2], frame.pixels[: len(frame.pixels) // 2])
    assert telemetry.not_restored == 1
    assert "no memory for tensors" in caplog.text
    assert models.restorers[0] is not before[0]  # the runtime was rebuilt
    assert models.restore(frame).mark == ""


def test_a_model_that_fails_again_and_again_ends_the_run(models: Models, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 100)
    for _ in range(4):
        assert models.restore(frame).mark == NOT_RESTORED
    with pytest.raises(RunError, match=r"failed 5 times within 60 s.*no memory for tensors"):
        models.restore(frame)


def test_a_failure_on_a_file_is_raised(frame: Frame, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    with Models([ModelSpec("nano")], 1, telemetry) as strict:
        failing(monkeypatch, 1)
        with pytest.raises(MemoryError):
            strict.restore(frame)


def test_the_options_are_the_shipped_bundles_on_installed_runtimes(models: Models) -> None:
    assert ModelOption("nano", "int8", "litert") in models.options
    assert ModelOption("small", "fp32", "litert") in models.options
    assert len(set(models.options)) == len(models.options)
    assert all(c.variant != "dynamic" for c in models.options if c.runtime == "onnxruntime")  # there is no such file


def test_a_switch_takes_effect_between_frames_and_keeps_the_smaller_models(models: Models, frame: Frame) -> None:
    models.switch(ModelOption("small", "fp32", "litert"))
    until(lambda: models.message)
    assert models.message.startswith("restoring with small, fp32.tflite on litert")
    models.restore(frame)
    assert [(r.bundle.name, r.artifact.variant) for r in models.restorers] == [("small", "fp32"), ("nano", "int8")]


@pytest.mark.parametrize(
    "option", [ModelOption("../etc", "int8", "litert"), ModelOption("small", "int9", "litert"), ModelOption("small", "int8", "x")]
)
def test_an_option_that_is_not_offered_is_refused(models: Models, option: ModelOption) -> None:
    with pytest.raises(UsageError, match="not available in this run"):
        models.switch(option)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of a bundle, for the test to damage."""
    folder = tmp_path / "own"
    shutil.copytree(SHIPPED / "nano", folder, ignore=shutil.ignore_patterns("*.h5"))
    return folder


def test_a_bundle_is_opened_again_when_asked(own: Path, frame: Frame, telemetry: Telemetry) -> None:
    with Models([ModelSpec(str(own))], 1, telemetry, recovers=True) as models:
        before = models.restorer()
        models.reload()
        until(lambda: models.message)
        assert models.message.startswith("restoring with nano")
        models.restore(frame)
        assert models.restorer() is not before


@pytest.mark.parametrize("how", ["missing", "truncated", "altered", "no manifest", "garbage"])
def test_a_bad_new_bundle_leaves_the_previous_one_running(own: Path, how: str, frame: Frame, telemetry: Telemetry) -> None:
    file = own / "nano_int8.tflite"
    with Models([ModelSpec(str(own))], 1, telemetry, recovers=True) as models:
        good = models.restore(frame).pixels
        data = file.read_bytes()
        if how == "missing":
            shutil.rmtree(own)
        elif how == "no manifest":
            (own / "manifest.json").unlink()
        elif how == "garbage":
            (own / "manifest.json").write_text("{}")
        else:
            file.write_bytes(data[:-100] if how == "truncated" else data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
        models.reload()
        until(lambda: models.message)
        assert models.message.startswith("not changed: ")
        after = models.restore(frame)
        assert after.mark == ""
        assert np.array_equal(after.pixels, good)


def test_a_bundle_with_another_model_is_noticed_by_its_restored_scenes(own: Path, telemetry: Telemetry) -> None:
    text = (own / "manifest.json").read_text()
    with Models([ModelSpec(str(own))], 1, telemetry, recovers=True) as models:
        (own / "manifest.json").write_text(
            text.replace('"scenes_psnr_db": 2', '"scenes_psnr_db": 3')
        )  # claims 10 dB more than it reaches
        models.reload()
        until(lambda: models.message)
        assert "not changed" in models.message
        assert "at export" in models.message


def blind_in(roi_xywh: tuple[int, int, int, int], telemetry: Telemetry) -> Blur:
    """No known blur, in a region."""
    return Blur(BlurChoice("blind"), live=False, roi_xywh=roi_xywh, telemetry=telemetry)


@pytest.mark.parametrize("kind", ["rgb", "planes"])
def test_only_the_region_is_restored(kind: str, picture: Pixels, telemetry: Telemetry) -> None:
    image: Image = picture if kind == "rgb" else from_rgb(picture)
    with Models([ModelSpec("nano")], 1, telemetry, blur=blind_in((21, 11, 40, 1000), telemetry)) as models:
        restored = models.restore(Frame(0, 0.0, image))
        before = picture if kind == "rgb" else image.y  # type: ignore[union-attr]
        after = restored.pixels if kind == "rgb" else restored.image.y  # type: ignore[union-attr]
        inside = np.zeros(before.shape[:2], bool)
        inside[11:, 21:61] = True
        changed = np.abs(after.astype(int) - before).reshape(*before.shape[:2], -1).max(-1) > 0
        assert not changed[~inside].any()
        assert changed[inside].mean() > 0.2
        assert isinstance(restored.image, Yuv) == (kind == "planes")
        alone = models.restorer().restore(np.ascontiguousarray(picture[11:, 21:61]))
        if kind == "rgb":
            assert np.array_equal(after[11:, 21:61], alone)


def test_a_region_outside_the_picture_is_wrong_usage(picture: Pixels, telemetry: Telemetry) -> None:
    with (
        Models([ModelSpec("nano")], 1, telemetry, blur=blind_in((500, 0, 9, 9), telemetry)) as models,
        pytest.raises(UsageError, match="outside the picture of 131x97"),
    ):
        models.restore(Frame(0, 0.0, picture))


def test_changes_and_frames_at_the_same_time_do_not_disturb_each_other(
    models: Models, frame: Frame, telemetry: Telemetry
) -> None:
    over, most = threading.Event(), [0]

    def change() -> None:
        while not over.is_set():
            models.reload()
            most[0] = max(most[0], sum(t.name == "reload" for t in threading.enumerate()))
            time.sleep(0.01)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert {models.restore(frame).mark for _ in range(60)} == {""}
    finally:
        over.set()
        thread.join()
    until(lambda: not any(t.name == "reload" for t in threading.enumerate()))
    assert most == [1]
    assert telemetry.not_restored == 0


def test_of_changes_in_quick_succession_the_last_is_made_and_no_model_stays_open(
    models: Models, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []
    open_all, close = models._open, Restorer.close
    monkeypatch.setattr(models, "_open", lambda specs: opened.append(restorers := open_all(specs)) or restorers)
    monkeypatch.setattr(Restorer, "close", lambda self: (closed.append(self), close(self)))
    wanted = [c for c in models.options if c.bundle == "nano" and c.runtime == "litert"]
    for option in wanted:
        models.switch(option)
    until(lambda: not any(t.name == "reload" for t in threading.enumerate()))
    models.restore(frame)
    assert models.restorer().artifact.variant == wanted[-1].variant
    assert len(opened) < len(wanted)
    unused = [restorer for restorers in opened for restorer in restorers if restorer not in models.restorers]
    assert all(restorer in closed for restorer in unused)


def test_an_unknown_bundle_is_refused_at_the_start(telemetry: Telemetry) -> None:
    with pytest.raises(BundleError, match="did you mean 'small'"):
        Models([ModelSpec("smal")], 1, telemetry)
