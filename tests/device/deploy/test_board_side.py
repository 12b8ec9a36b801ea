"""`deblurkit deploy` at the board's end: what it believes of what comes, and what it does with it."""

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
from deploy_parts import PI, gathered

from device.deploy import board, payload, signature, ssh
from device.deploy.board import activate, environment, main, paths, receive
from device.deploy.board.channel import Line, Lost
from device.deploy.board.paths import Refused
from device.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the board's /opt/deblurkit, and no key kept yet."""
    home = tmp_path / "opt"
    (home / "releases").mkdir(parents=True)
    for module in (paths, main):
        monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(receive, "SIGNERS", tmp_path / "etc" / "allowed_signers")
    return home


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A new key of ssh's."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    return tmp_path / "key"


def a_line(data: bytes) -> Line:
    """The board's end of a connection over which this comes, and which then ends."""
    return Line(io.BufferedReader(io.BytesIO(b"{}\n" + data)))  # type: ignore[arg-type]


# What the board believes


def arrived(release: payload.Release, part: Path) -> Path:
    """What the board has of it, once it came."""
    files = release.files()
    receive.receive(a_line(b"".join(p.read_bytes() for _, p in files)), part, [(n, p.stat().st_size) for n, p in files])
    return part


def test_what_was_sent_is_what_arrives(kit: payload.Kit, tmp_path: Path, here: Path) -> None:
    release = gathered(tmp_path / "release", kit)
    payload.seal(release, None)
    part = arrived(release, here / "releases" / ".part-1")
    assert payload.hashes(part) == payload.hashes(release.folder)
    assert receive.check(part) == "the hashes of all files are right"


def test_a_connection_that_ends_early_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Lost):
        receive.receive(a_line(b"only this"), tmp_path / "part", [("file", 1000)])


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "a/../../b", ".part", "a//b", "a b", "a/.hidden", "", "ä", "a\n"]
)
def test_no_name_leads_out_of_the_release(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="no name of a file that a release can have"):
        receive.receive(a_line(b"x"), tmp_path / "part", [(name, 1)])


@pytest.mark.parametrize("change", ["altered", "missing", "more"])
def test_a_file_that_is_not_as_the_list_says_is_refused(kit: payload.Kit, tmp_path: Path, here: Path, change: str) -> None:
    release = gathered(tmp_path / "release", kit)
    payload.seal(release, None)
    file = release.folder / "constraints.txt"
    if change == "altered":
        file.write_text("numpy\n")
    elif change == "missing":
        file.unlink()
    else:
        (release.folder / "more.txt").write_text("")
    with pytest.raises(Refused, match=r"(constraints|more)\.txt: (its SHA-256|only in the list)"):
        receive.check(release.folder)


def test_after_a_first_signed_release_only_its_key_is_believed(kit: payload.Kit, tmp_path: Path, here: Path, key: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    release = gathered(tmp_path / "release", kit)
    payload.seal(release, key)
    assert receive.check(release.folder).endswith("and it is signed")
    assert receive.pin(release.folder)
    assert receive.check(release.folder).endswith(f"its signature is of the key that {receive.SIGNERS} names")
    assert not receive.pin(release.folder), "once is enough"
    strange = gathered(tmp_path / "strange", kit)
    payload.seal(strange, other)
    with pytest.raises(Refused, match="SHA256SUMS: not signed by the key"):
        receive.check(strange.folder)
    unsigned = gathered(tmp_path / "unsigned", kit)
    payload.seal(unsigned, None)
    with pytest.raises(Refused, match="takes signed releases only"):
        receive.check(unsigned.folder)
    with open(release.folder / "SHA256SUMS", "a") as sums:
        sums.write("0  more\n")
    with pytest.raises(Refused, match="SHA256SUMS: not signed"):
        receive.check(release.folder)


def test_a_bundle_s_manifest_is_signed_too(kit: payload.Kit, tmp_path: Path, here: Path, key: Path, small_copy: Path) -> None:
    manifest = json.loads((small_copy / "manifest.json").read_text())
    (small_copy / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    release = payload.gather(tmp_path / "release", kit, payload.opened([str(small_copy)]), None, False, PI)
    payload.seal(release, key)
    assert "signed" in receive.check(release.folder)
    (release.folder / "bundles/1/manifest.json.sig").unlink()
    with pytest.raises(Refused, match=r"bundles/1/manifest\.json: not signed"):
        receive.check(release.folder)


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes a key of ssh's"):
        signature.signers(tmp_path / "none")


# What happens there


def test_the_board_s_files_need_the_standard_library_and_each_other_only() -> None:
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
def test_what_is_sent_runs_without_the_kit() -> None:
    begin = "import json, sys; exec(json.loads(sys.stdin.buffer.readline()))"
    sent = f"{json.dumps(ssh._program())}\n{json.dumps({'action': 'check', 'files': []})}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", begin], input=sent, capture_output=True, text=True, cwd="/", check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "deblurkit.service: not there" in json.loads(done.stdout)["refused"]


def test_a_command_is_ended_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    with pytest.raises(Lost):
        a_line(b"").run("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 300")
    assert time.monotonic() - begun_s < 100
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_before_the_switch_somebody_must_be_there_now() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb", buffering=0) as there, open(reading, "rb") as stream:
        there.write(b"{}\n")
        line = Line(stream)
        there.write(b".")
        line.confirm()
        there.close()
        with pytest.raises(Lost):
            line.confirm()


def test_two_at_once_are_one_too_many(here: Path) -> None:
    with (
        main.locked(),
        pytest.raises(Refused, match=rf"another deploy is at work on this board \(process {os.getpid()},"),
        main.locked(),
    ):
        pass
    with main.locked():
        pass


def test_the_scripts_of_an_environment_run_under_its_last_name(tmp_path: Path) -> None:
    part = tmp_path / ".part-1"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", part / "venv"], check=True)
    script = part / "venv/bin/hello"
    script.write_text(f"#!{part}/venv/bin/python\nimport sys\nprint(sys.prefix)\n")
    script.chmod(0o755)
    (part / "wheels").mkdir()
    final = environment.settle(part)
    assert final == tmp_path / "1"
    assert not (final / "wheels").exists()
    done = subprocess.run([final / "venv/bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(final / "venv")
    assert str(part) not in (final / "venv/pyvenv.cfg").read_text()


def test_a_link_changes_in_one_step_and_leads_to_a_release(here: Path) -> None:
    for name in ("0.1.0-aa-1", "0.1.0-bb-2"):
        (here / "releases" / name).mkdir()
        paths.link("current", name)
        assert (here / "current").resolve() == here / "releases" / name
        assert paths.linked("current") == name
    paths.link("current", None)
    assert paths.linked("current") is None
    assert sorted(p.name for p in here.iterdir()) == ["releases"]


def test_releases_are_in_the_order_of_their_times(here: Path) -> None:
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
def test_pictures_or_a_camera_that_lacks_are_well_and_nothing_else(status: dict[str, Any], fine: bool) -> None:
    assert activate.well(status) is fine


def test_the_program_of_a_unit_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from device.service import systemd_unit

    text = systemd_unit.rendered(Path("/home/pi/my kit 100%/bin/deblurkit"), [])
    (tmp_path / "unit").write_text(text)
    monkeypatch.setattr(activate, "UNIT", tmp_path / "unit")
    assert activate.program() == Path("/home/pi/my kit 100%/bin/deblurkit")


def test_a_board_that_refuses_before_it_has_all_is_heard() -> None:
    with subprocess.Popen(["sh", "-c", "exec <&-; echo refused"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read() == b"refused\n"
        ssh._feed(child.stdin, b"a line that stays in the buffer", [], threading.Event(), lambda _: None)
