"""deblurkit train: tiny real runs on generated pictures."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytestmark = pytest.mark.keras

from tiny_presets import tiny_presets  # noqa: E402

import deblurkit  # noqa: E402
from device.errors import BundleError  # noqa: E402
from device.images.degrade import BLURS  # noqa: E402
from device.images.picture import read_picture, write_picture  # noqa: E402
from device.images.scenes import dead_leaves  # noqa: E402
from train.presets import PRESETS  # noqa: E402
from train.run_folder import read_run, write_run  # noqa: E402
from train.weights import load_network  # noqa: E402

Command = Callable[..., Any]
PROGRAM = str(Path(__file__).parents[1] / "support" / "tiny_presets.py")
EPOCHS, STEPS = 3, 8
TINY = ["--steps", "3", "--batch", "2", "--patch", "32", "--cpu", "--quiet"]
LEFT = {"run.json", "checkpoint.npz", "model.weights.h5", "history.csv", "curves.png", "examples.png", "summary.txt"}


def process(*words: object, **options: Any) -> subprocess.Popen[str]:
    """`deblurkit …` with tiny networks in a process of its own, on one thread (conftest), so that sums are added in one order."""
    arguments = [sys.executable, PROGRAM, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(arguments, text=True, **pipes, **options)


def settings(photographs: Path) -> list[object]:
    return ["train", "--data", photographs, "--epochs", EPOCHS, "--steps", STEPS, "--batch", 4, "--patch", 32, "--cpu", "--json"]


def trained(training: subprocess.Popen[str]) -> dict[str, Any]:
    """What a training that is expected to succeed printed as JSON."""
    out, err = training.communicate(timeout=300)
    assert training.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(run: Path) -> list[str]:
    """The lines of history.csv as they are, but for the last column."""
    lines = (run / "history.csv").read_text().splitlines()
    assert lines[0].endswith(",seconds")
    return [line.rpartition(",")[0] for line in lines]


@pytest.fixture(scope="module")
def finished(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An uninterrupted run and what it printed. Do not write to it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    with redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
        for name, preset in tiny_presets().items():
            patch.setitem(PRESETS, name, preset)
        assert deblurkit.main([str(word) for word in [*settings(photographs), "--out", run]]) == 0
    return run, json.loads(printed.getvalue().splitlines()[-1])


@pytest.fixture
def copied(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of that run, for tests that damage it."""
    return Path(shutil.copytree(finished[0], tmp_path / "copied"))


# the files of a run


def test_a_run_leaves_its_files_and_no_others(finished: tuple[Path, dict[str, Any]]) -> None:
    assert {p.name for p in finished[0].iterdir()} == LEFT


@pytest.mark.parametrize("name", ["curves.png", "examples.png"])
def test_the_pictures_of_a_run_show_something(finished: tuple[Path, dict[str, Any]], name: str) -> None:
    picture = read_picture(finished[0] / name)
    height, width = picture.shape[:2]
    assert min(height, width) > 200
    for part in np.array_split(picture, 3, axis=1):  # curves and axes, or input, ground truth and restored
        assert part.std() > 5


def test_history_has_one_row_per_epoch(finished: tuple[Path, dict[str, Any]]) -> None:
    history = rows(finished[0])
    assert [int(row["epoch"]) for row in history] == list(range(1, EPOCHS + 1))
    assert [int(row["steps"]) for row in history] == [STEPS * (i + 1) for i in range(EPOCHS)]
    assert len({row["val_input_psnr_db"] for row in history}) == 1
    rates = [float(row["learning_rate"]) for row in history]
    assert rates == sorted(rates, reverse=True)
    for row in history:
        assert all(np.isfinite(float(value)) for value in row.values())


def test_run_json_has_everything_needed_to_repeat_the_run(finished: tuple[Path, dict[str, Any]], photographs: Path) -> None:
    record = read_run(finished[0])
    assert record.finished
    assert (record.preset, record.seed, record.parameters, record.macs_per_pixel) == ("small", 0, 2048, 206)
    assert record.parse_architecture() == tiny_presets()["small"].architecture
    assert record.blur == BLURS[PRESETS["small"].blur]
    recipe = replace(PRESETS["small"].recipe, epochs=EPOCHS, steps_per_epoch=STEPS, batch=4, patch=32, precision="any")
    assert replace(record.recipe, precision="any") == recipe
    assert record.recipe.precision in ("float32", "mixed_bfloat16")
    assert record.data.folders == (str(photographs.resolve()),)
    assert len(record.data.validation) == 2
    assert sorted(record.data.train + record.data.validation) == sorted(p.name for p in photographs.iterdir())
    assert {"keras", "numpy", "deblurkit"} <= record.versions.keys()
    assert record.command.startswith(f"deblurkit train --data {photographs}")
    assert record.device.startswith("cpu")
    assert record.seconds > 0


def test_the_printed_results_are_those_in_run_json_and_history(finished: tuple[Path, dict[str, Any]]) -> None:
    run, printed = finished
    results = read_run(run).results
    assert {key: printed[key] for key in results} == results
    assert printed["preset"] == "small"
    assert printed["pictures"] == 2
    last = rows(run)[-1]
    assert printed["restored_psnr_db"] == pytest.approx(float(last["val_psnr_db"]), abs=0.001)
    assert printed["input_psnr_db"] == pytest.approx(float(last["val_input_psnr_db"]), abs=0.001)
    assert 0 < printed["input_accuracy"] <= 1


def test_the_saved_weights_are_the_averaged_ones_that_were_validated(finished: tuple[Path, dict[str, Any]]) -> None:
    run = finished[0]
    with np.load(run / "checkpoint.npz") as checkpoint:
        raw = [checkpoint[f"weight/{i}"] for i in range(sum(k.startswith("weight/") for k in checkpoint))]
    kept = load_network(run).get_weights()
    assert [k.shape for k in kept] == [r.shape for r in raw]
    differences = [float(np.abs(k - r).max()) for k, r in zip(kept, raw, strict=True)]
    assert 0 < max(differences) < 0.1


# resuming


def test_a_run_that_was_killed_and_resumed_has_the_history_of_one_that_was_not(
    finished: tuple[Path, dict[str, Any]], photographs: Path, tmp_path: Path
) -> None:
    run, delay_s = tmp_path / "run", random.uniform(0, 3)
    training = process(*settings(photographs), "--out", run, start_new_session=True)
    deadline = time.monotonic() + 200
    while not (run / "checkpoint.npz").exists():
        assert training.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(delay_s)
    training.send_signal(signal.SIGKILL)
    training.communicate()
    reached = len(rows(run)) if (run / "history.csv").exists() else 0
    trained(process("train", "--out", run, "--resume", "--cpu", "--json"))
    assert without_seconds(run) == without_seconds(finished[0]), f"killed {delay_s:.3f} s after the checkpoint, {reached} epochs"
    assert read_run(run).results == read_run(finished[0]).results
    for ours, theirs in zip(load_network(run).get_weights(), load_network(finished[0]).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resuming_a_finished_run_changes_nothing(command: Command, copied: Path) -> None:
    before, weights = read_run(copied), load_network(copied).get_weights()
    history, checkpoint = (copied / "history.csv").read_bytes(), (copied / "checkpoint.npz").read_bytes()
    ended = command("train", "--out", copied, "--resume", "--cpu", "--quiet")
    assert ended.code == 0
    after = read_run(copied)
    assert replace(after, results={}) == replace(before, results={})
    assert after.results["restored_psnr_db"] == pytest.approx(before.results["restored_psnr_db"], abs=0.01)
    assert (copied / "history.csv").read_bytes() == history
    assert (copied / "checkpoint.npz").read_bytes() == checkpoint
    for now, then in zip(load_network(copied).get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_run_killed_after_its_last_checkpoint_gets_the_rest_of_its_files_by_resuming(
    command: Command, finished: tuple[Path, dict[str, Any]], copied: Path
) -> None:
    for name in LEFT - {"run.json", "checkpoint.npz", "summary.txt"}:
        (copied / name).unlink()
    write_run(copied, replace(read_run(copied), finished=False, results={}, seconds=0.0))
    assert command("train", "--out", copied, "--resume", "--cpu", "--quiet").code == 0
    assert (copied / "history.csv").read_bytes() == (finished[0] / "history.csv").read_bytes()
    assert {p.name for p in copied.iterdir()} == LEFT
    assert read_run(copied).finished


def test_a_truncated_checkpoint_is_a_clear_error(command: Command, copied: Path) -> None:
    checkpoint = copied / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    ended = command("train", "--out", copied, "--resume", "--cpu", "--quiet")
    assert ended.code == 3
    assert "checkpoint.npz: cannot resume from it" in ended.err
    assert "delete it to start the run again" in ended.err


def test_resuming_without_a_run_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    ended = command("train", "--out", tmp_path / "nothing", "--resume", "--cpu")
    assert ended.code == 4
    assert "not a training run" in ended.err


def test_resuming_on_other_pictures_is_refused(command: Command, copied: Path, photographs: Path, tmp_path: Path) -> None:
    fewer = Path(shutil.copytree(photographs, tmp_path / "fewer"))
    (fewer / "3.png").unlink()
    record = read_run(copied)
    write_run(copied, replace(record, data=replace(record.data, folders=(str(fewer),))))
    ended = command("train", "--out", copied, "--resume", "--cpu", "--quiet")
    assert ended.code == 2
    assert "its pictures have changed since it started (7 now)" in ended.err


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schema", 2, "schema 2, this version reads 1; update deblurkit"),
        ("sede", 1, "unknown key 'sede'; did you mean 'seed'?"),
        ("seed", "one", "seed: expected int, found 'one'"),
    ],
)
def test_a_run_json_with_a_wrong_schema_key_or_type_is_refused(copied: Path, key: str, value: object, said: str) -> None:
    content = json.loads((copied / "run.json").read_text()) | {key: value}
    (copied / "run.json").write_text(json.dumps(content))
    with pytest.raises(BundleError) as caught:
        read_run(copied)
    assert said in str(caught.value)


# wrong usage and bad data


def test_an_output_folder_that_is_not_empty_is_left_alone(command: Command, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", *TINY)
    assert ended.code == 2
    assert "exists and is not empty; choose another --out, or continue its run with --resume" in ended.err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--patch", 36], "--patch 36: small needs a multiple of 16"),
        (["--preset", "dense", "--patch", 256], "--patch 256: dense takes 128x128 only"),
        (["--preset", "smal"], "did you mean 'small'?"),
        (["--epochs", -2], "--epochs -2: expected a number above 0"),
        (["--steps", 0], "expected a number above 0"),
        (["--batch", -1], "--batch -1: expected a number above 0"),
        (["--learning-rate", 0], "expected a number above 0"),
        (["--val-share", 1], "--val-share 1.0: expected a share of at least 0 and below 1"),
        (["--val-share", -0.1], "expected a share of at least 0 and below 1"),
        (["--blur", "strong"], "invalid choice: 'strong'"),
        (["--pairs", "a", "b"], "not allowed with argument"),
    ],
)
def test_wrong_usage_ends_with_2_and_makes_no_folder(
    command: Command, photographs: Path, tmp_path: Path, words: list[object], said: str
) -> None:
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", "--cpu", *words)
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", ["nowhere", "empty", "one"])
def test_a_folder_that_cannot_be_trained_on_ends_with_3_and_makes_no_run(
    command: Command, photographs: Path, tmp_path: Path, data: str
) -> None:
    if data != "nowhere":
        (tmp_path / data).mkdir()
    if data == "one":
        shutil.copy(photographs / "0.png", tmp_path / "one")
    ended = command("train", "--data", tmp_path / data, "--out", tmp_path / "run", *TINY)
    assert ended.code == 3
    assert str(tmp_path / data) in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny", "eager")
def test_a_loss_that_is_not_finite_ends_the_training_with_3(command: Command, photographs: Path, tmp_path: Path) -> None:
    words = [*TINY, "--steps", 12, "--epochs", 1, "--learning-rate", 1e30]
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", *words)
    assert ended.code == 3
    assert "the loss became" in ended.err
    assert "in epoch 1" in ended.err
    assert "lower --learning-rate" in ended.err
    assert not (tmp_path / "run" / "model.weights.h5").exists()


@pytest.mark.usefixtures("tiny", "eager")
def test_validating_on_the_training_pictures_is_warned_about(command: Command, photographs: Path, tmp_path: Path) -> None:
    words = [*TINY, "--epochs", 1, "--val-share", 0]
    ended = command("train", "--data", photographs, "--out", tmp_path / "run", *words)
    assert ended.code == 0
    assert "--val-share 0: validated on the training pictures" in ended.err
    record = read_run(tmp_path / "run")
    assert record.data.train == record.data.validation
    assert record.results["pictures"] == 8


@pytest.mark.usefixtures("tiny")
def test_training_on_pairs_learns_their_degradation(command: Command, tmp_path: Path) -> None:
    for i in range(5):
        sharp = dead_leaves(64, 64, i)
        write_picture(tmp_path / "clear" / f"{i}.png", sharp)
        write_picture(tmp_path / "dark" / f"{i}.png", sharp // 3)
    run = tmp_path / "run"
    words = ["--epochs", 3, "--steps", 25, "--batch", 4, "--patch", 32, "--learning-rate", 3e-3, "--cpu", "--quiet"]
    ended = command("train", "--pairs", tmp_path / "dark", tmp_path / "clear", "--out", run, *words)
    assert ended.code == 0
    history = rows(run)
    assert float(history[-1]["loss"]) < 0.7 * float(history[0]["loss"])
    assert float(history[-1]["val_loss"]) < float(history[0]["val_loss"])
    record = read_run(run)
    assert record.data.kind == "pairs"
    assert record.data.folders == (str(tmp_path / "dark"), str(tmp_path / "clear"))
    assert record.results["restored_psnr_db"] > record.results["input_psnr_db"]


# other backends


UNDER_JAX_ENVIRONMENT = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"}  # it compiles faster
UNDER_JAX = """
import sys, numpy as np, deblurkit
from pathlib import Path
folder, support, *words = sys.argv[1:]
sys.path.insert(0, support)
from tiny_presets import tiny_presets
from train.presets import PRESETS
PRESETS.update(tiny_presets())
code = deblurkit.main(["train", "--out", folder + "/run", *words])
from train.weights import load_network
if code == 0:
    np.save(folder + "/restored.npy", load_network(Path(folder, "run")).predict_on_batch(np.load(folder + "/blurred.npy")))
sys.exit(code)
"""


def test_weights_trained_under_jax_load_under_tensorflow(photographs: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    blurred = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    np.save(tmp_path / "blurred.npy", blurred)
    words = ["--data", photographs, "--epochs", 1, *TINY, "--learning-rate", 1e-2, "--precision", "float32"]
    arguments = [sys.executable, "-c", UNDER_JAX, str(tmp_path), str(Path(PROGRAM).parent), *map(str, words)]
    ended = subprocess.run(
        arguments, env=os.environ | UNDER_JAX_ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert read_run(tmp_path / "run").device.endswith("(jax)")
    under_jax = np.load(tmp_path / "restored.npy")
    under_tensorflow = np.asarray(load_network(tmp_path / "run").predict_on_batch(blurred))
    assert np.abs(under_jax - blurred).max() > 1e-3
    np.testing.assert_allclose(under_tensorflow, under_jax, atol=1e-5)
