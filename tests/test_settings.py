"""Settings of `deblurkit run`: a flag beats the environment, which beats the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.picture import write_picture

Command = Callable[..., Any]


def frames_of(ended: Any) -> int:
    assert ended.code == 0, ended.err
    return int(json.loads(ended.out.splitlines()[-1])["frames"])


def test_a_flag_beats_the_environment_which_beats_the_file(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text(f'source = "{folder}"\nsink = ["null"]\nframes = 1\nthreads = 1\n')
    line = ("run", "--config", tmp_path / "run.toml", "--json")
    assert frames_of(command(*line)) == 1
    monkeypatch.setenv("DEBLURKIT_FRAMES", "2")
    assert frames_of(command(*line)) == 2
    assert frames_of(command(*line, "--frames", "3")) == 3


def test_a_flag_may_turn_a_setting_back_to_its_default(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBLURKIT_FRAMES", "2")
    assert frames_of(command("run", "--source", folder, "--sink", "null", "--json", "--frames", 0)) == len(os.listdir(folder))


def test_the_environment_sets_every_kind_of_value(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "out" / "mine.png", np.zeros((6, 6, 3), np.uint8))
    values = {
        "SOURCE": folder,
        "SINK": f"null,{tmp_path / 'out'}",
        "VARIANT": "fp16",
        "THREADS": 1,
        "SECONDS": 300.5,
        "REPLACE": "true",
        "BUNDLE": "small",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"DEBLURKIT_{name}", str(value))
    ended = command("run", "--json")
    assert frames_of(ended) == len(os.listdir(folder))
    assert json.loads(ended.out.splitlines()[-1])["artifact"].startswith("fp16.")
    assert sorted(os.listdir(tmp_path / "out")) == sorted({*os.listdir(folder), "mine.png"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DEBLURKIT_FRAMES", "many", "DEBLURKIT_FRAMES='many': not a value that frames can have"),
        ("DEBLURKIT_REPLACE", "perhaps", "DEBLURKIT_REPLACE='perhaps'"),
        ("DEBLURKIT_VARIENT", "int8", "DEBLURKIT_VARIENT: no such setting; did you mean 'variant'"),
    ],
)
def test_a_wrong_environment_is_wrong_usage(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    ended = command("run", "--source", folder, "--sink", "null")
    assert ended.code == 2
    assert words in ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("variannt = 'int8'", "unknown key 'variannt'; did you mean 'variant'"),
        ("frames = 'two'", "frames: expected int, found 'two'"),
        ("frames = ", "not valid TOML"),
        ("[run]\nframes = 2", "unknown key 'run'"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_of_settings_is_wrong_usage(command: Command, tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "run.toml").write_text(text)
    ended = command("run", "--config", tmp_path / "run.toml", "--source", "demo", "--sink", "null")
    assert ended.code == 2
    assert words in ended.err
    assert "run.toml" in ended.err
