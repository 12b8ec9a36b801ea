"""`deblurkit deploy` on the board: what it verifies of a release, and what it does with it."""

import ast
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from deploy_parts import PI, assembled

from device.deploy import board, payload, signature, ssh
from device.deploy.board import activate, environment, main, paths, receive
from device.deploy.board.channel import Channel, ConnectionLost
from device.deploy.board.paths import Refused
from device.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the board's /opt/deblurkit; no key is kept yet."""
    home = tmp_path / "opt"
    (home / "releases").mkdir(parents=True)
    for module in (paths, main):
        monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(receive, "SIGNERS", tmp_path / "etc" / "allowed_signers")
    return home


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A new ssh key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    return tmp_path / "key"


def a_channel(data: bytes) -> Channel:
    """The board's end of a connection that delivers this data and then ends."""
    return Channel(io.BufferedReader(io.BytesIO(b"{}\n" + data)))  # type: ignore[arg-type]


# What the board verifies


def received(release: payload.Release, part: Path) -> Path:
    """The folder in which the board has received this release."""
    files = release.files()
    receive.receive(a_channel(b"".join(p.read_bytes() for _, p in files)), part, [(n, p.stat().st_size) for n, p in files])
    return part


def test_the_board_receives_what_was_sent(kit: payload.Kit, tmp_path: Path, here: Path) -> None:
    release = assembled(tmp_path / "release", kit)
    payload.seal(release, None)
    part = received(release, here / "releases" / ".part-1")
    assert payload.hashes(part) == payload.hashes(release.folder)
    assert receive.verify(part) == "all hashes are correct"


def test_a_connection_that_ends_early_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost):
        receive.receive(a_channel(b"only this"), tmp_path / "part", [("file", 1000)])


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "a/../../b", ".part", "a//b", "a b", "a/.hidden", "", "ä", "a\n"]
)
def test_no_file_name_leads_out_of_the_release(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="not a valid file name in a release"):
        receive.receive(a_channel(b"x"), tmp_path / "part", [(name, 1)])


@pytest.mark.parametrize("change", ["altered", "missing", "more"])
def test_a_file_that_does_not_match_the_list_of_hashes_is_refused(
    kit: payload.Kit, tmp_path: Path, here: Path, change: str
) -> None:
    release = assembled(tmp_path / "release", kit)
    payload.seal(release, None)
    file = release.folder / "constraints.txt"
    if change == "altered":
        file.write_text("numpy\n")
    elif change == "missing":
        file.unlink()
    else:
        (release.folder / "more.txt").write_text("")
    with pytest.raises(Refused, match=r"(constraints|more)\.txt: (its SHA-256|in the list of hashes but)"):
        receive.verify(release.folder)


def test_after_the_first_signed_release_only_its_key_is_accepted(kit: payload.Kit, tmp_path: Path, here: Path, key: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    release = assembled(tmp_path / "release", kit)
    payload.seal(release, key)
    assert receive.verify(release.folder).endswith("; signed")
    assert receive.keep_key(release.folder)
    assert receive.verify(release.folder).endswith(f"; signed by the key in {receive.SIGNERS}")
    assert not receive.keep_key(release.folder), "the key is already kept"
    strange = assembled(tmp_path / "strange", kit)
    payload.seal(strange, other)
    with pytest.raises(Refused, match="SHA256SUMS: not signed by the key"):
        receive.verify(strange.folder)
    unsigned = assembled(tmp_path / "unsigned", kit)
    payload.seal(unsigned, None)
    with pytest.raises(Refused, match="accepts signed releases only"):
        receive.verify(unsigned.folder)
    with open(release.folder / "SHA256SUMS", "a") as sums:
        sums.write("0  more\n")
    with pytest.raises(Refused, match="SHA256SUMS: not signed"):
        receive.verify(release.folder)


def test_a_bundle_s_manifest_is_signed_too(kit: payload.Kit, tmp_path: Path, here: Path, key: Path, small_copy: Path) -> None:
    manifest = json.loads((small_copy / "manifest.json").read_text())
    (small_copy / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    release = payload.assemble(
        tmp_path / "release", kit=kit, bundles=payload.open_bundles([str(small_copy)]), source=None, lan=False, facts=PI
    )
    payload.seal(release, key)
    assert "signed" in receive.verify(release.folder)
    (release.folder / "bundles/1/manifest.json.sig").unlink()
    with pytest.raises(Refused, match=r"bundles/1/manifest\.json: not signed"):
        receive.verify(release.folder)


def test_a_file_that_is_not_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--sign takes an ssh key"):
        signature.allowed_signers(tmp_path / "none")


# What it does


def test_the_board_s_files_import_only_the_standard_library_and_each_other() -> None:
    for name in board.MODULES:
        tree = ast.parse(Path(board.__file__).with_name(f"{name}.py").read_text())
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                assert module.startswith(board.__name__) or module.partition(".")[0] in sys.stdlib_module_names, (
                    f"{name}: {module}"
                )
    assert {p.stem for p in Path(board.__file__).parent.glob("*.py")} - {"__init__"} == set(board.MODULES)


@pytest.mark.skipif(paths.UNIT.exists(), reason="this machine runs the service")
def test_the_program_that_is_sent_runs_without_the_kit() -> None:
    start = "import json, sys; exec(json.loads(sys.stdin.buffer.readline()))"
    sent = f"{json.dumps(ssh._program())}\n{json.dumps({'action': 'check', 'files': []})}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start], input=sent, capture_output=True, text=True, cwd="/", check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "deblurkit.service: does not exist" in json.loads(done.stdout)["refused"]


def test_a_command_is_killed_when_the_connection_is_lost(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with pytest.raises(ConnectionLost):
        a_channel(b"").run("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 300")
    assert time.monotonic() - started_s < 100
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_before_the_switch_the_board_waits_for_a_new_heartbeat() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as workstation, open(reading, "rb") as stream:
        workstation.write(b"{}\n")
        channel = Channel(stream)
        later = threading.Timer(0.3, workstation.write, [b"."])  # one that came before the wait would not count
        later.start()
        channel.wait_for_heartbeat()
        later.join()
        workstation.close()
        with pytest.raises(ConnectionLost):
            channel.wait_for_heartbeat()


def test_a_second_deploy_at_the_same_time_is_refused(here: Path) -> None:
    with (
        main.exclusive(),
        pytest.raises(Refused, match=rf"another deploy is running on this board \(process {os.getpid()},"),
        main.exclusive(),
    ):
        pass
    with main.exclusive():
        pass


def test_the_scripts_of_an_environment_run_under_its_final_name(tmp_path: Path) -> None:
    part = tmp_path / ".part-1"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", part / "venv"], check=True)
    script = part / "venv/bin/hello"
    script.write_text(f"#!{part}/venv/bin/python\nimport sys\nprint(sys.prefix)\n")
    script.chmod(0o755)
    (part / "wheels").mkdir()
    final = environment.finish(part)
    assert final == tmp_path / "1"
    assert not (final / "wheels").exists()
    done = subprocess.run([final / "venv/bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(final / "venv")
    assert str(part) not in (final / "venv/pyvenv.cfg").read_text()


def test_a_link_changes_in_one_step_and_points_at_a_release(here: Path) -> None:
    for name in ("0.1.0-aa-1", "0.1.0-bb-2"):
        (here / "releases" / name).mkdir()
        paths.set_link("current", name)
        assert (here / "current").resolve() == here / "releases" / name
        assert paths.linked_release("current") == name
    paths.set_link("current", None)
    assert paths.linked_release("current") is None
    assert sorted(p.name for p in here.iterdir()) == ["releases"]


def test_releases_are_ordered_by_their_times(here: Path) -> None:
    for name in ("0.2.0-zz-20260102T000000", "0.10.0-aa-20260101T000000", ".part-0.1.0-aa-20270101T000000"):
        (here / "releases" / name).mkdir()
    assert [p.name for p in paths.releases()] == ["0.10.0-aa-20260101T000000", "0.2.0-zz-20260102T000000"]


@pytest.mark.parametrize(
    ("status", "fine"),
    [
        ({"running": True, "health": "ok", "page": "http://127.0.0.1:8080"}, True),
        ({"running": True, "health": "", "page": None}, True),
        ({"running": True, "health": "no camera: none", "page": "http://127.0.0.1:8080", "waits_for_camera": True}, True),
        ({"running": True, "health": "no new frame for 9 s", "page": "http://127.0.0.1:8080", "waits_for_camera": False}, False),
        ({"running": True, "health": "", "page": "http://127.0.0.1:8080"}, False),
        ({"running": False, "ActiveState": "activating"}, False),
        ({}, False),
    ],
)
def test_only_pictures_or_a_missing_camera_are_healthy(status: dict[str, Any], fine: bool) -> None:
    assert activate.is_healthy(status) is fine


def test_the_program_is_read_back_from_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from device.service import systemd_unit

    text = systemd_unit.render(Path("/home/pi/my kit 100%/bin/deblurkit"), [])
    (tmp_path / "unit").write_text(text)
    monkeypatch.setattr(activate, "UNIT", tmp_path / "unit")
    assert activate.installed_program() == Path("/home/pi/my kit 100%/bin/deblurkit")


def test_a_refusal_before_the_end_of_the_transfer_is_read() -> None:
    with subprocess.Popen(["sh", "-c", "exec <&-; echo refused"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read() == b"refused\n"
        ssh._send(child.stdin, b"a line that stays in the buffer", [], threading.Event())
