"""`deblurkit service` as a command, into folders; tests/rigs/service does the same with a running systemd."""

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import tomllib
from argparse import Namespace
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import device
from device.errors import UsageError
from device.service import systemd_unit
from device.settings import Settings, read_settings

Command = Callable[..., Any]
TEMPLATES = Path(device.__file__).parent
HIGHEST_EXPOSURE = 1.6  # of `systemd-analyze security` for the unit; docs/service.md explains it
UNIT, CONFIG = "etc/systemd/system/deblurkit.service", "etc/deblurkit.toml"
WANTED = "etc/systemd/system/multi-user.target.wants/deblurkit.service"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program of an environment whose path has spaces and a percent sign, outside of any home."""
    program = tmp_path / "my kit 100%" / "bin" / "deblurkit"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(systemd_unit, "command", lambda: program)
    return program


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty root folder of an image."""
    (tmp_path / "image").mkdir()
    return tmp_path / "image"


def test_installing_into_an_image_writes_unit_configuration_and_the_start_at_boot(
    command: Command, installed: Path, image: Path
) -> None:
    ended = command("service", "install", "--root", image, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out.splitlines()[-1]) == {"running": False, "config_kept": False}
    text = (image / UNIT).read_text()
    escaped = str(installed).replace("%", "%%")
    assert f'ExecStart="{escaped}" run --config ${{CREDENTIALS_DIRECTORY}}/deblurkit.toml\n' in text
    assert "@" not in re.sub(r"SystemCallFilter=.*", "", text), "every placeholder of the template is replaced"
    assert os.readlink(image / WANTED) == f"/{UNIT}"
    assert (image / CONFIG).read_bytes() == (TEMPLATES / "deblurkit.toml").read_bytes()
    assert stat.S_IMODE((image / CONFIG).stat().st_mode) == 0o600, "camera addresses contain passwords"
    assert stat.S_IMODE((image / UNIT).stat().st_mode) == 0o644
    assert sorted(p.name for p in image.rglob("*") if not p.is_dir()) == [
        "deblurkit.service",
        "deblurkit.service",
        "deblurkit.toml",
    ]


def test_installing_again_replaces_the_unit_and_never_the_configuration(command: Command, installed: Path, image: Path) -> None:
    command("service", "install", "--root", image)
    (image / UNIT).write_text("an older one")
    (image / CONFIG).write_text('source = "demo"\n')
    ended = command("service", "install", "--root", image, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out.splitlines()[-1])["config_kept"] is True
    assert "ExecStart=" in (image / UNIT).read_text()
    assert (image / CONFIG).read_text() == 'source = "demo"\n'


def test_another_configuration_does_not_replace_an_existing_one(
    command: Command, installed: Path, image: Path, tmp_path: Path
) -> None:
    command("service", "install", "--root", image)
    mine = tmp_path / "mine.toml"
    mine.write_text('source = "demo"\n')
    ended = command("service", "install", "--root", image, "--config", mine)
    assert ended.code == 2
    assert "never overwritten; edit it, or move it away first" in ended.err
    shown = command("service", "install", "--root", image, "--lan")
    assert shown.code == 2
    assert "says lan = false" in shown.err


def test_lan_and_a_custom_configuration_reach_the_service(command: Command, installed: Path, image: Path, tmp_path: Path) -> None:
    assert command("service", "install", "--root", image, "--lan").code == 0
    assert read_settings(Namespace(config=image / CONFIG)).web.lan is True
    other = tmp_path / "other"
    other.mkdir()
    mine = tmp_path / "mine.toml"
    mine.write_text('source = "demo"\n')
    assert command("service", "install", "--root", other, "--config", mine).code == 0
    assert (other / CONFIG).read_text() == 'source = "demo"\n'


@pytest.mark.parametrize("text", ['sorce = "demo"\n', "source = \n", "[camera]\nsize = 640\n", "\x00\xff"])
def test_an_invalid_configuration_is_not_installed(
    command: Command, installed: Path, image: Path, tmp_path: Path, text: str
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    ended = command("service", "install", "--root", image, "--config", mine)
    assert ended.code == 2
    assert str(mine) in ended.err
    assert not list(image.rglob("*.service"))
    assert command("service", "install", "--root", image, "--config", tmp_path / "nowhere.toml").code == 2


def test_uninstalling_removes_the_unit_and_says_what_it_keeps(command: Command, installed: Path, image: Path) -> None:
    command("service", "install", "--root", image)
    (image / "var/lib/deblurkit").mkdir(parents=True)
    ended = command("service", "uninstall", "--root", image)
    assert ended.code == 0
    assert ended.out.startswith(f"removed; kept: {image / CONFIG} and {image / 'var/lib/deblurkit'}")
    assert not (image / UNIT).exists()
    assert not os.path.lexists(image / WANTED)
    assert (image / CONFIG).exists()
    again = command("service", "uninstall", "--root", image)
    assert again.code == 0
    assert again.out.startswith("there was no service")


def test_a_full_disk_or_a_missing_root_is_an_error_and_leaves_no_half_unit(
    command: Command, installed: Path, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    assert command("service", "install", "--root", tmp_path / "nowhere").code == 2
    full = disk(4)
    (full / "filled").write_bytes(b"x" * 4096)
    ended = command("service", "install", "--root", full)
    assert ended.code == 1
    assert "cannot be written" in ended.err
    assert not (full / UNIT).exists()


@pytest.mark.parametrize(
    "line",
    [
        ["status", "--root", "/"],
        ["status", "--lan"],
        ["uninstall", "--config", "x.toml"],
        ["install", "--config", "x.toml", "--lan"],
        ["restart"],
        [],
    ],
)
def test_options_that_contradict_each_other_are_refused(command: Command, line: list[str]) -> None:
    assert command("service", *line).code == 2


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="this machine was started by systemd")
def test_without_a_running_systemd_nothing_is_written(command: Command, installed: Path) -> None:
    ended = command("service", "install")
    assert ended.code == 1
    assert "was not started by systemd; for an image use --root DIR" in ended.err
    assert not Path(f"/{UNIT}").exists()


def test_only_folders_below_a_home_are_mounted_for_the_service() -> None:
    text = systemd_unit.render(
        Path("/home/pi/my kit/.venv/bin/deblurkit"), [Path("/home/pi/my kit"), Path("/usr"), Path("/opt/x")]
    )
    assert 'BindReadOnlyPaths="/home/pi/my kit"\n' in text
    assert text.count("BindReadOnlyPaths=") == 1
    assert "BindReadOnlyPaths=" not in systemd_unit.render(Path("/opt/kit/bin/deblurkit"), [Path("/opt/kit"), Path("/homes/kit")])


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a:b", "a\nb"])
def test_a_path_that_systemd_would_misread_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="install the kit at a path without it"):
        systemd_unit.render(Path("/opt") / name / "bin/deblurkit", [])


def test_for_a_kit_that_the_service_s_user_cannot_read_the_error_has_the_line_that_allows_it() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        program = Path(folder) / "closed" / "bin" / "deblurkit"
        program.parent.mkdir(parents=True)
        program.write_text("")
        for place in (program.parent, program):
            place.chmod(0o755)
        program.parents[1].chmod(0o700)
        with pytest.raises(UsageError) as raised:
            systemd_unit.require_readable(program, [])
        assert f"sudo chmod -R o+rX '{folder}/closed'" in str(raised.value)


def test_the_folders_of_this_environment_are_complete() -> None:
    folders = systemd_unit.folders()
    assert any(Path(device.__file__).is_relative_to(folder) for folder in folders)
    assert all(a == b or a not in b.parents for a in folders for b in folders)


def test_the_example_names_every_setting_and_changes_only_wait_camera_and_sink() -> None:
    text = (TEMPLATES / "deblurkit.toml").read_text()
    example = read_settings(Namespace(config=TEMPLATES / "deblurkit.toml"))
    assert example.wait_camera is True
    assert example.sink == ("web",)
    plain = Settings()
    assert (example.camera, example.web, example.record) == (plain.camera, plain.web, plain.record)
    for field in fields(Settings):
        if field.name not in ("wait_camera", "sink"):
            assert getattr(example, field.name) == getattr(plain, field.name), field.name
    tables = re.split(r"(?m)^\[(\w+)\]$", text)
    named = {"": tables[0], **dict(zip(tables[1::2], tables[2::2], strict=True))}
    for field in fields(Settings):
        value = getattr(plain, field.name)
        names = [f.name for f in fields(value)] if is_dataclass(value) else [field.name]
        part = named[field.name] if is_dataclass(value) else named[""]
        for name in names:
            assert re.search(rf"(?m)^#?{name} = ", part), f"{name} is not in the example"
        assert field.default is not MISSING or field.default_factory is not MISSING


def test_every_line_of_the_example_has_a_comment_and_is_valid_when_enabled() -> None:
    text = (TEMPLATES / "deblurkit.toml").read_text()
    for block in text.split("\n\n"):
        first = block.removeprefix("[camera]\n").removeprefix("[web]\n").removeprefix("[record]\n")
        assert first.startswith("# "), block
    enabled = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    values = tomllib.loads(enabled)
    assert values["runtime"] == "litert"
    assert values["threads"] == 3
    assert values["camera"]["sharpness"] == 0.0


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """The unit as it is installed, in a folder of its own; its program exists."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    path = tmp_path / "deblurkit.service"
    path.write_text(systemd_unit.render(Path("/bin/true"), [Path("/home/pi/deblurkit"), Path("/usr")]))
    return path


def test_systemd_accepts_the_unit_without_warnings(checked: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", checked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened_as_the_documentation_says(checked: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}", "--no-pager", checked],
        capture_output=True,
        text=True,
        check=False,
    )
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= HIGHEST_EXPOSURE, done.stdout
    assert done.returncode == 0
    documented = (Path(__file__).parents[3] / "docs" / "service.md").read_text()
    assert f"exposure level is {exposure}" in documented
