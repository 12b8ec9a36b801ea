"""deblurkit train --teacher."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from finished_runs import finished_run  # noqa: E402

from device.errors import BundleError, UsageError  # noqa: E402
from device.images.degrade import to_luma  # noqa: E402
from train import fit  # noqa: E402
from train.accelerator import Devices  # noqa: E402
from train.architectures import NAFNet, UNet  # noqa: E402
from train.distil import Teacher, require_compatible, teacher_sha256  # noqa: E402
from train.run_folder import read_run  # noqa: E402
from train.weights import load_network  # noqa: E402

Command = Callable[..., Any]
RGB, LUMA = UNet((8, 16), (0, 1), (0,), stem=2), UNet((8, 16), (0, 1), (0,), stem=2, colour="luma")
SHORT = ["--epochs", 2, "--steps", 3, "--batch", 2, "--patch", 32, "--precision", "float32", "--cpu", "--quiet"]


@pytest.mark.parametrize(("of", "to"), [(RGB, RGB), (RGB, LUMA), (LUMA, LUMA)])
def test_a_teacher_adds_its_output_in_the_colour_of_the_student(of: UNet, to: UNet, tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "teacher", of)
    drawn = tuple(np.random.default_rng(i).random((2, 16, 16, 3), np.float32) for i in range(2))
    blurred, both = Teacher(folder, teacher_sha256(folder), to).add_targets(drawn, Devices())
    sharp, taught = np.split(both, 2, axis=-1)
    expected = load_network(folder).predict_on_batch(to_luma(drawn[0]) if of is LUMA else drawn[0])
    if to is LUMA:
        drawn = to_luma(drawn[0]), to_luma(drawn[1])
        expected = expected if of is LUMA else to_luma(expected)
    np.testing.assert_array_equal(blurred, drawn[0])
    np.testing.assert_array_equal(sharp, drawn[1])
    np.testing.assert_allclose(taught, expected, atol=1e-6)
    assert np.abs(taught - blurred).max() > 1e-3


@pytest.mark.usefixtures("tiny", "eager")
def test_a_taught_run_differs_from_an_untaught_one_and_records_its_teacher(
    command: Command, photographs: Path, tmp_path: Path
) -> None:
    teacher = finished_run(tmp_path / "teacher", RGB)
    for name, more in (("taught", ["--teacher", teacher]), ("untaught", [])):
        ended = command("train", "--preset", "nano", "--data", photographs, "--out", tmp_path / name, *more, *SHORT)
        assert ended.code == 0, ended.err
    record = read_run(tmp_path / "taught")
    assert (record.teacher, record.teacher_sha256) == (str(teacher), teacher_sha256(teacher))
    assert record.recipe.teacher_weight == 0.5
    taught, untaught = (load_network(tmp_path / name).get_weights() for name in ("taught", "untaught"))
    assert any(np.abs(a - b).max() > 1e-6 for a, b in zip(taught, untaught, strict=True))


@pytest.mark.usefixtures("tiny")
def test_a_taught_run_resumes_exactly(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = finished_run(tmp_path / "teacher", NAFNet(4, (1,), 1, (1,)))
    words = ["train", "--preset", "nano", "--data", photographs, "--teacher", teacher, "--grow", 64, *SHORT]
    assert command(*words, "--out", tmp_path / "whole").code == 0

    def stop(*_: object) -> None:
        sys.exit(9)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_write_progress", stop)  # called after the checkpoint of the first epoch
        assert command(*words, "--out", tmp_path / "stopped").code == 9
    assert not read_run(tmp_path / "stopped").finished
    assert command("train", "--out", tmp_path / "stopped", "--resume", "--cpu", "--quiet").code == 0
    for one, other in zip(*(load_network(tmp_path / name).get_weights() for name in ("whole", "stopped")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_teacher_with_changed_weights_stops_the_run(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "teacher", RGB)
    sha256 = teacher_sha256(folder)
    (folder / "model.weights.h5").write_bytes((finished_run(tmp_path / "other", RGB, 1) / "model.weights.h5").read_bytes())
    with pytest.raises(BundleError, match="the teacher's weights have changed since this run started"):
        Teacher(folder, sha256, LUMA)


def test_a_missing_or_unfinished_teacher_is_named_before_anything_is_written(
    command: Command, photographs: Path, tmp_path: Path
) -> None:
    words = ["train", "--data", photographs, "--out", tmp_path / "run", *SHORT]
    ended = command(*words, "--teacher", tmp_path / "none")
    assert ended.code == 4
    assert f"--teacher: {tmp_path / 'none'}: not a training run" in ended.err
    folder = finished_run(tmp_path / "teacher", RGB)
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | {"finished": False}))
    ended = command(*words, "--teacher", folder)
    assert ended.code == 4
    assert f"the run has not finished; finish it with `deblurkit train --out {folder} --resume`" in ended.err
    assert not (tmp_path / "run").exists()


def test_a_weight_without_a_teacher_is_refused(command: Command, photographs: Path, tmp_path: Path) -> None:
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", "--teacher-weight", 1, *SHORT)
    assert ended.code == 2
    assert "name its run with --teacher" in ended.err


def test_a_teacher_that_cannot_teach_the_student_is_refused(tmp_path: Path) -> None:
    luma, deep = finished_run(tmp_path / "luma", LUMA), finished_run(tmp_path / "deep", replace(RGB, stem=16))
    with pytest.raises(UsageError, match="it restores luma only and the student also colours"):
        require_compatible(luma, RGB, (32,))
    with pytest.raises(UsageError, match="it needs patches of a multiple of 32 pixels, not of 48"):
        require_compatible(deep, RGB, (32, 48))
    require_compatible(deep, LUMA, (32, 64))
