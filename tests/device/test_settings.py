"""Settings of `deblurkit run`: a flag overrides the environment, which overrides the file."""

import json
import os
import re
import tomllib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import device.settings
from device.images.picture import write_picture
from device.settings import CameraSettings, RecordSettings, Settings, WebSettings, read_settings

Command = Callable[..., Any]


def frames_of(ended: Any) -> int:
    assert ended.code == 0, ended.err
    return int(json.loads(ended.out.splitlines()[-1])["frames"])


def test_a_flag_overrides_the_environment_which_overrides_the_file(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text(f'source = "{folder}"\nsink = ["null"]\nframes = 1\nthreads = 1\n')
    line = ("run", "--config", tmp_path / "run.toml", "--json")
    assert frames_of(command(*line)) == 1
    monkeypatch.setenv("DEBLURKIT_FRAMES", "2")
    assert frames_of(command(*line)) == 2
    assert frames_of(command(*line, "--frames", "3")) == 3


def test_a_flag_may_reset_a_setting_to_its_default(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("DEBLURKIT_FRAMES", "many", "DEBLURKIT_FRAMES='many': not a valid value of frames"),
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
        ("[camera]\nsise = '1x1'", "camera: unknown key 'sise'; did you mean 'size'"),
        ("camera = 3", "camera: expected a table of keys"),
        ("[camera]\nsize = 'large'", "size large: expected WIDTHxHEIGHT"),
        ("[camera]\nrotation = 45", "rotation 45: expected 0, 90, 180 or 270"),
        ("[camera]\nfocus = 'near'", "focus near: expected auto, or dioptres"),
        ("[camera]\nfps = -1.0", "fps -1.0: expected 0 or more"),
        ("[camera]\nfps = nan", "fps nan: expected 0 or more"),
        ("[web]\nport = 70000", "port 70000: expected 0 to 65535"),
        ("[web]\nviewers = 0", "viewers 0: expected at least 1"),
        ("roi = '1,2,3'", "roi 1,2,3: expected X,Y,WIDTH,HEIGHT"),
        ("roi = '0,0,0,10'", "roi 0,0,0,10: expected X,Y,WIDTH,HEIGHT"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_of_settings_is_wrong_usage(command: Command, tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "run.toml").write_text(text)
    ended = command("run", "--config", tmp_path / "run.toml", "--source", "demo", "--sink", "null")
    assert ended.code == 2
    assert words in ended.err


def settings_of(**flags: Any) -> Settings:
    return read_settings(Namespace(**{"config": None, **flags}))


def test_the_file_has_tables_and_flags_set_values_in_them(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'sink = "web"\n[camera]\nsize = "1280x720"\nfps = 25\n[web]\nport = 81\nhosts = ["a.example"]\n'
    )
    settings = settings_of(config=tmp_path / "run.toml", size="320x240", lan=True)
    assert settings.sink == ("web",)
    assert (settings.camera.size_wh, settings.camera.fps) == ((320, 240), 25.0)
    assert (settings.web.port, settings.web.lan, settings.web.hosts) == (81, True, ("a.example",))


def test_the_environment_sets_values_in_tables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBLURKIT_SIZE", "800x600")
    monkeypatch.setenv("DEBLURKIT_LAN", "1")
    monkeypatch.setenv("DEBLURKIT_FPS", "12.5")
    monkeypatch.setenv("DEBLURKIT_BUNDLE", "small,nano")
    settings = settings_of()
    assert settings.camera.size_wh == (800, 600)
    assert settings.web.lan
    assert settings.fps == 12.5
    assert settings.bundles == ("small", "nano")


def test_a_target_adds_the_smaller_bundle_unless_bundles_are_given() -> None:
    assert settings_of().bundles == ("small",)
    assert settings_of(fps=30.0).bundles == settings_of(max_age=80.0).bundles == ("small", "nano")
    assert settings_of(fps=30.0, bundle=["small"]).bundles == ("small",)


def test_a_region_is_read_as_pixels() -> None:
    assert settings_of().roi_xywh is None
    assert settings_of(roi="8,16,320,240").roi_xywh == (8, 16, 320, 240)


def test_a_target_for_a_file_is_wrong_usage(command: Command, folder: Path) -> None:
    ended = command("run", "--source", folder, "--sink", "null", "--fps", 30)
    assert ended.code == 2
    assert "--fps and --max-age are for live sources" in ended.err


def test_the_installed_example_lists_every_setting_with_its_default() -> None:
    text = (Path(device.settings.__file__).parent / "deblurkit.toml").read_text()
    lines = [line.removeprefix("# ").removeprefix("#") for line in text.splitlines()]
    given = tomllib.loads("\n".join(line for line in lines if re.match(r"\[?[a-z_]+(\]| = )", line)))
    for record, values in (
        (Settings, given),
        (CameraSettings, given["camera"]),
        (WebSettings, given["web"]),
        (RecordSettings, given["record"]),
    ):
        named = {f.name for f in fields(record)}
        assert named - {"frames", "seconds", "replace"} <= set(values) <= named
