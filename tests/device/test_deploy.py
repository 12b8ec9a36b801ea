"""`deblurkit deploy`, as far as it can be judged without a board; tests/service/test_deploy.py has a booted one."""

import ast
import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.deploy import board, look, payload, signature, ssh, wheels
from device.deploy.board import arrival, environment, main, places, switch
from device.deploy.board.line import Line, Lost
from device.deploy.board.places import Refused
from device.errors import RunError, UsageError

Command = Callable[..., Any]
NOW_S = 1_800_000_000.0
PI = look.Facts(
    machine="aarch64", bits=64, libc=(2, 36), python=(3, 11, 2), venv=True, systemd=True, codename="bookworm", raspberry=True,
    model="Raspberry Pi 5 Model B Rev 1.0", free_mib=20_000, clock_s=NOW_S + 30, user="pi", root="sudo", unit="", release={},
)  # fmt: skip


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> payload.Kit:
    """The wheel of this checkout."""
    return payload.kit(None, tmp_path_factory.mktemp("kit"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the board's /opt/deblurkit, and no key kept yet."""
    home = tmp_path / "opt"
    (home / "releases").mkdir(parents=True)
    for module in (places, main):
        monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(arrival, "SIGNERS", tmp_path / "etc" / "allowed_signers")
    return home


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A new key of ssh's."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    return tmp_path / "key"


def gathered(folder: Path, kit: payload.Kit, source: str | None = "demo") -> payload.Release:
    """A release without bundles of its own."""
    return payload.gather(folder, kit, {}, source, False, PI)


def a_line(data: bytes) -> Line:
    """The board's end of a connection over which this comes, and which then ends."""
    return Line(io.BufferedReader(io.BytesIO(b"{}\n" + data)))  # type: ignore[arg-type]


# What a board must have


def test_a_board_as_it_should_be_is_taken() -> None:
    assert look.missing(PI, NOW_S) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"machine": "armv7l", "bits": 32}, "armv7l with programs of 32 bits; expected a 64-bit system"),
        ({"bits": 32}, "aarch64 with programs of 32 bits; expected a 64-bit system"),  # Raspberry Pi OS, 32-bit, on a Pi 4
        ({"machine": "riscv64"}, "riscv64 with programs of 64 bits"),
        ({"libc": (0, 0)}, "no GNU C library"),
        ({"python": (3, 9, 2)}, "Python 3.9.2; expected Python 3.11, 3.12 or 3.13"),
        ({"python": (3, 14, 0)}, "Python 3.14.0; expected"),
        ({"python": (0, 0, 0), "venv": False}, "no /usr/bin/python3; expected"),
        ({"venv": False}, "Python without venv; expected it: sudo apt install python3-venv"),
        ({"systemd": False}, "not started by systemd"),
        ({"clock_s": 0.0}, "its clock says 1970-01-01 00:00 UTC, here it is 2027-01-15 08:00 UTC"),
        ({"clock_s": NOW_S + 90_000}, "sudo timedatectl set-ntp true"),
        ({"root": ""}, "pi is not root and cannot use sudo without a password; expected either"),
    ],
)
def test_what_keeps_the_kit_from_a_board_is_said_with_what_to_do(seen: dict[str, Any], said: str) -> None:
    (problem,) = look.missing(replace(PI, **seen), NOW_S)
    assert said in problem


def test_room_is_wanted_for_the_environment_and_for_what_is_sent() -> None:
    assert look.room(replace(PI, free_mib=look.NEEDED_MIB), 0.0) == []
    (problem,) = look.room(replace(PI, free_mib=look.NEEDED_MIB), 130.0)
    assert f"{look.NEEDED_MIB} MiB free for /opt/deblurkit; expected {look.NEEDED_MIB + 130} MiB" in problem


def test_all_that_lacks_is_said_at_once() -> None:
    assert len(look.missing(replace(PI, root="", venv=False, clock_s=0.0), NOW_S)) == 3


def test_the_script_tells_of_this_machine_what_is_true() -> None:
    done = subprocess.run(["sh", "-s"], input=look.SCRIPT, capture_output=True, text=True, check=True)
    facts = look.read("Welcome!\n" + done.stdout)
    assert (facts.machine, facts.bits) == (os.uname().machine, 64)
    assert facts.user
    assert facts.free_mib > 0
    assert abs(facts.clock_s - time.time()) < 60
    assert done.stderr == ""


def test_an_answer_that_is_no_shell_s_is_an_error() -> None:
    with pytest.raises(RunError, match="did not answer as a shell does"):
        look.read("This account is restricted.\n")


def test_the_release_that_the_service_runs_is_told_from_one_that_only_lies_there() -> None:
    there = replace(PI, release={"id": "0.1.0-aa-1"}, unit='"/opt/deblurkit/releases/0.1.0-aa-1/venv/bin/deblurkit" run')
    assert there.runs == "0.1.0-aa-1"
    assert replace(there, unit='"/home/pi/deblurkit/.venv/bin/deblurkit" run').runs == ""


# What travels


def test_the_wheel_carries_the_pins_of_both_systems(kit: payload.Kit, tmp_path: Path) -> None:
    for codename, file in (("bookworm", "bookworm.txt"), ("trixie", "constraints.txt")):
        release = payload.gather(tmp_path / codename, kit, {}, None, False, replace(PI, codename=codename))
        assert (release.folder / "constraints.txt").read_bytes() == (payload.CHECKOUT / "constraints" / file).read_bytes()


def test_the_same_is_known_by_its_content_and_anything_else_is_another_release(kit: payload.Kit, tmp_path: Path) -> None:
    one, same, other = (gathered(tmp_path / str(n), kit, source) for n, source in enumerate(("demo", "demo", "auto")))
    assert one.record["content"] == same.record["content"] != other.record["content"]
    assert one.name.startswith(f"{kit.version}-{one.record['content'][:8]}-")


def test_the_same_checkout_makes_the_same_wheel(kit: payload.Kit, tmp_path: Path) -> None:
    assert payload.kit(None, tmp_path).path.read_bytes() == kit.path.read_bytes()


def test_what_is_no_wheel_of_deblurkit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other-1.dist-info/METADATA", "Name: other\nVersion: 1\n")
    for name, why in (("text.whl", "not a wheel"), ("other.whl", "a wheel of other 1"), ("none.whl", "No such file")):
        with pytest.raises(UsageError, match=why):
            payload.read_kit(tmp_path / name)


def test_without_a_checkout_it_says_how_to_give_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "CHECKOUT", tmp_path)
    with pytest.raises(UsageError, match="give one: --kit deblurkit-"):
        payload.kit(None, tmp_path)


def test_markers_are_judged_for_the_board_s_python_and_processor() -> None:
    lines = [
        "av==19.0.2 ; python_full_version >= '3.12'",
        "av==18.1.0 ; python_full_version < '3.12'",
        "tensorflow-cpu>=2.20; platform_machine == 'x86_64'",
        "segno>=1.6; extra == 'live'",
        "keras>=3; extra == 'train'",
    ]
    assert wheels.judged(lines, PI) == ["av==18.1.0", "segno>=1.6"]
    newer = replace(PI, python=(3, 13, 5), machine="x86_64")
    assert wheels.judged(lines, newer) == ["av==19.0.2", "tensorflow-cpu>=2.20", "segno>=1.6"]


def test_a_setting_reaches_the_service_as_it_was_typed() -> None:
    text = payload.drop_in({"SOURCE": 'http://camera/100%/a "b"\\c.mjpg'})
    assert text.splitlines()[1:] == ["[Service]", 'Environment="DEBLURKIT_SOURCE=http://camera/100%%/a \\"b\\"\\\\c.mjpg"']


def test_an_address_with_a_password_is_not_written_where_all_can_read_it() -> None:
    with pytest.raises(UsageError, match=r"write it into /etc/deblurkit\.toml"):
        payload.check_source("rtsp://user:secret@camera/stream")
    payload.check_source("rtsp://camera/a@b")


def test_a_given_bundle_travels_whole_and_a_shipped_one_by_its_name(kit: payload.Kit, small_copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((small_copy / "manifest.json").read_text())
    (small_copy / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    bundles = payload.opened([str(small_copy), "nano"])
    release = payload.gather(tmp_path / "release", kit, bundles, None, False, PI)
    assert release.record["bundles"] == ["bundles/1", "nano"]
    sent = {name for name, _ in release.files()}
    assert {f"bundles/1/{a['file']}" for a in manifest["artifacts"]} <= sent
    value = f"DEBLURKIT_BUNDLE=/opt/deblurkit/releases/{release.name}/bundles/1,nano"
    assert value in (release.folder / "settings.conf").read_text()


# What the board believes


def arrived(release: payload.Release, part: Path) -> Path:
    """What the board has of it, once it came."""
    files = release.files()
    arrival.receive(a_line(b"".join(p.read_bytes() for _, p in files)), part, [(n, p.stat().st_size) for n, p in files])
    return part


def test_what_was_sent_is_what_arrives(kit: payload.Kit, tmp_path: Path, here: Path) -> None:
    release = gathered(tmp_path / "release", kit)
    payload.seal(release, None)
    part = arrived(release, here / "releases" / ".part-1")
    assert payload.hashes(part) == payload.hashes(release.folder)
    assert arrival.check(part) == "the hashes of all files are right"


def test_a_connection_that_ends_early_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Lost):
        arrival.receive(a_line(b"only this"), tmp_path / "part", [("file", 1000)])


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "a/../../b", ".part", "a//b", "a b", "a/.hidden", "", "ä", "a\n"]
)
def test_no_name_leads_out_of_the_release(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="no name of a file that a release can have"):
        arrival.receive(a_line(b"x"), tmp_path / "part", [(name, 1)])


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
        arrival.check(release.folder)


def test_after_a_first_signed_release_only_its_key_is_believed(kit: payload.Kit, tmp_path: Path, here: Path, key: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    release = gathered(tmp_path / "release", kit)
    payload.seal(release, key)
    assert arrival.check(release.folder).endswith("and it is signed")
    assert arrival.pin(release.folder)
    assert arrival.check(release.folder).endswith(f"its signature is of the key that {arrival.SIGNERS} names")
    assert not arrival.pin(release.folder), "once is enough"
    strange = gathered(tmp_path / "strange", kit)
    payload.seal(strange, other)
    with pytest.raises(Refused, match="SHA256SUMS: not signed by the key"):
        arrival.check(strange.folder)
    unsigned = gathered(tmp_path / "unsigned", kit)
    payload.seal(unsigned, None)
    with pytest.raises(Refused, match="takes signed releases only"):
        arrival.check(unsigned.folder)
    with open(release.folder / "SHA256SUMS", "a") as sums:
        sums.write("0  more\n")
    with pytest.raises(Refused, match="SHA256SUMS: not signed"):
        arrival.check(release.folder)


def test_a_bundle_s_manifest_is_signed_too(kit: payload.Kit, tmp_path: Path, here: Path, key: Path, small_copy: Path) -> None:
    manifest = json.loads((small_copy / "manifest.json").read_text())
    (small_copy / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    release = payload.gather(tmp_path / "release", kit, payload.opened([str(small_copy)]), None, False, PI)
    payload.seal(release, key)
    assert "signed" in arrival.check(release.folder)
    (release.folder / "bundles/1/manifest.json.sig").unlink()
    with pytest.raises(Refused, match=r"bundles/1/manifest\.json: not signed"):
        arrival.check(release.folder)


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


@pytest.mark.skipif(places.UNIT.exists(), reason="this machine runs the service")
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
        places.link("current", name)
        assert (here / "current").resolve() == here / "releases" / name
        assert places.linked("current") == name
    places.link("current", None)
    assert places.linked("current") is None
    assert sorted(p.name for p in here.iterdir()) == ["releases"]


def test_releases_are_in_the_order_of_their_times(here: Path) -> None:
    for name in ("0.2.0-zz-20260102T000000", "0.10.0-aa-20260101T000000", ".part-0.1.0-aa-20270101T000000"):
        (here / "releases" / name).mkdir()
    assert [p.name for p in places.releases()] == ["0.10.0-aa-20260101T000000", "0.2.0-zz-20260102T000000"]


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
    assert switch.well(status) is fine


def test_the_program_of_a_unit_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from device import unit

    text = unit.rendered(Path("/home/pi/my kit 100%/bin/deblurkit"), [])
    (tmp_path / "unit").write_text(text)
    monkeypatch.setattr(switch, "UNIT", tmp_path / "unit")
    assert switch.program() == Path("/home/pi/my kit 100%/bin/deblurkit")


def test_a_board_that_refuses_before_it_has_all_is_heard() -> None:
    with subprocess.Popen(["sh", "-c", "exec <&-; echo refused"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read() == b"refused\n"
        ssh._feed(child.stdin, b"a line that stays in the buffer", [], threading.Event(), lambda _: None)


# The command


def test_options_that_do_not_go_together_are_refused(command: Command) -> None:
    ended = command("deploy", "pi@board", "--rollback", "--bundle", "nano")
    assert ended.code == 2
    assert "--rollback: goes back to what was there before" in ended.err


def test_a_bad_bundle_is_refused_before_anything_is_asked_of_a_board(command: Command, small_copy: Path) -> None:
    next(small_copy.glob("*.tflite")).write_bytes(b"altered")
    ended = command("deploy", "pi@board", "--bundle", small_copy)
    assert ended.code == 4
    assert "copy the bundle again" in ended.err


def test_a_board_that_cannot_be_reached_ends_it_with_the_line_to_try(command: Command) -> None:
    ended = command("deploy", "-o", "ProxyCommand=false", "pi@board")
    assert ended.code == 1
    assert "pi@board: ssh does not get there" in ended.err
    assert "ssh pi@board" in ended.err
