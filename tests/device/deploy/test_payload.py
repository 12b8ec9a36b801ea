"""`deblurkit deploy`: what is sent (payload.py, wheels.py), and the command as far as it goes without a board.

test_board_side.py has the board's side, tests/rigs/service/test_deploy.py a booted board.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_parts import PI, assembled

from device.deploy import payload, wheels
from device.errors import UsageError

Command = Callable[..., Any]


def test_the_wheel_has_the_pins_of_both_systems(kit: payload.Kit, tmp_path: Path) -> None:
    for codename, file in (("bookworm", "bookworm.txt"), ("trixie", "constraints.txt")):
        release = payload.assemble(
            tmp_path / codename, kit=kit, bundles={}, source=None, lan=False, facts=replace(PI, codename=codename)
        )
        assert (release.folder / "constraints.txt").read_bytes() == (payload.CHECKOUT / "constraints" / file).read_bytes()


def test_the_same_content_is_recognised_and_any_other_is_another_release(kit: payload.Kit, tmp_path: Path) -> None:
    one, same, other = (assembled(tmp_path / str(n), kit, source) for n, source in enumerate(("demo", "demo", "auto")))
    assert one.record["content"] == same.record["content"] != other.record["content"]
    assert one.name.startswith(f"{kit.version}-{one.record['content'][:8]}-")


def test_the_same_checkout_builds_the_same_wheel(kit: payload.Kit, tmp_path: Path) -> None:
    assert payload.find_kit(None, tmp_path).path.read_bytes() == kit.path.read_bytes()


def test_a_file_that_is_not_a_wheel_of_deblurkit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other-1.dist-info/METADATA", "Name: other\nVersion: 1\n")
    for name, why in (("text.whl", "not a wheel"), ("other.whl", "a wheel of other 1"), ("none.whl", "No such file")):
        with pytest.raises(UsageError, match=why):
            payload.read_kit(tmp_path / name)


def test_without_a_checkout_the_error_says_how_to_pass_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "CHECKOUT", tmp_path)
    with pytest.raises(UsageError, match="pass one: --kit deblurkit-"):
        payload.find_kit(None, tmp_path)


def test_markers_are_evaluated_for_the_board_s_python_and_processor() -> None:
    lines = [
        "av==19.0.2 ; python_full_version >= '3.12'",
        "av==18.1.0 ; python_full_version < '3.12'",
        "tensorflow-cpu>=2.20; platform_machine == 'x86_64'",
        "segno>=1.6; extra == 'live'",
        "keras>=3; extra == 'train'",
    ]
    assert wheels.applicable(lines, PI) == ["av==18.1.0", "segno>=1.6"]
    newer = replace(PI, python=(3, 13, 5), machine="x86_64")
    assert wheels.applicable(lines, newer) == ["av==19.0.2", "tensorflow-cpu>=2.20", "segno>=1.6"]


def test_a_setting_reaches_the_service_as_it_was_typed() -> None:
    text = payload.drop_in({"SOURCE": 'http://camera/100%/a "b"\\c.mjpg'})
    assert text.splitlines()[1:] == ["[Service]", 'Environment="DEBLURKIT_SOURCE=http://camera/100%%/a \\"b\\"\\\\c.mjpg"']


def test_an_address_with_a_password_is_not_written_where_everybody_can_read_it() -> None:
    with pytest.raises(UsageError, match=r"write it into /etc/deblurkit\.toml"):
        payload.check_source("rtsp://user:secret@camera/stream")
    payload.check_source("rtsp://camera/a@b")


def test_a_bundle_s_folder_is_sent_whole_and_a_shipped_bundle_by_name(kit: payload.Kit, small_copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((small_copy / "manifest.json").read_text())
    (small_copy / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    bundles = payload.open_bundles([str(small_copy), "nano"])
    release = payload.assemble(tmp_path / "release", kit=kit, bundles=bundles, source=None, lan=False, facts=PI)
    assert release.record["bundles"] == ["bundles/1", "nano"]
    sent = {name for name, _ in release.files()}
    assert {f"bundles/1/{a['file']}" for a in manifest["artifacts"]} <= sent
    value = f"DEBLURKIT_BUNDLE=/opt/deblurkit/releases/{release.name}/bundles/1,nano"
    assert value in (release.folder / "settings.conf").read_text()


def test_options_that_contradict_each_other_are_refused(command: Command) -> None:
    ended = command("deploy", "pi@board", "--rollback", "--bundle", "nano")
    assert ended.code == 2
    assert "--rollback: goes back to the release before" in ended.err


def test_a_bad_bundle_is_refused_before_the_board_is_contacted(command: Command, small_copy: Path) -> None:
    next(small_copy.glob("*.tflite")).write_bytes(b"altered")
    ended = command("deploy", "pi@board", "--bundle", small_copy)
    assert ended.code == 4
    assert "copy the bundle again" in ended.err


def test_for_an_unreachable_board_the_error_has_the_line_to_try(command: Command) -> None:
    ended = command("deploy", "-o", "ProxyCommand=false", "pi@board")
    assert ended.code == 1
    assert "pi@board: ssh cannot connect" in ended.err
    assert "ssh pi@board" in ended.err
