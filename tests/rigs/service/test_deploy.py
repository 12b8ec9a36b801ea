"""`deblurkit deploy` to a booted Debian over a real OpenSSH. The container has no network, so its packages are sent along.

Each test continues with the releases of the tests before it: installing one takes half a minute.
"""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from device.deploy import payload, preflight
from device.deploy.ssh import Connection, DeployRefused

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
Deploy = Callable[..., "subprocess.CompletedProcess[str]"]
LEADER = os.environ.get("SERVICE_RIG", "").partition(":")[0]
ROOT = Path(payload.CHECKOUT)
RELAY = ROOT / "tests/support/relay.py"
TARGET = "deployer@board"
LONG_S = 300.0  # more than anything here takes
RELEASES = "/opt/deblurkit/releases"
BROKEN = 'import os\nif "NOTIFY_SOCKET" in os.environ:\n    raise SystemExit("this kit is broken on purpose")\n'


def until(wanted: Callable[[], bool], what: str) -> None:
    """Wait until this happens; fail if it does not."""
    end = time.monotonic() + LONG_S
    while not wanted():
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.05)


def out(inside: Inside, line: str) -> str:
    """The output of a shell command in the container."""
    return inside("sh", "-c", line).stdout.strip()


def process(inside: Inside) -> str:
    """The service's process; "0" if it does not run."""
    return out(inside, "systemctl show deblurkit -P MainPID")


def page(inside: Inside, path: str) -> str:
    """What the page answers; empty if it does not."""
    code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080{path}', timeout=5).read().decode())"
    return inside("python3", "-c", code).stdout.strip()


def unfinished(inside: Inside) -> str:
    """The folders of releases that are not complete."""
    return out(inside, f"ls -d {RELEASES}/.part-* 2>/dev/null")


def answer(done: "subprocess.CompletedProcess[str]", code: int = 0) -> dict[str, object]:
    """The JSON object in the last line of the output."""
    assert (done.returncode, bool(done.stdout)) == (code, True), done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ssh keys: `id`, and `other`, which the board does not know."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("id", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    return folder


@pytest.fixture(scope="module")
def way(inside: Inside, keys: Path) -> list[str]:
    """The ssh options that reach the board: as `deployer`, who may use sudo, or as `guest`, who may not."""
    public = (keys / "id.pub").read_text()
    script = """set -e
        systemctl start ssh
        grep -qw "$(uname -n)" /etc/hosts || echo "127.0.1.1 $(uname -n)" >> /etc/hosts  # as on every system; sudo needs it
        for user in deployer guest; do
            id $user >/dev/null 2>&1 || useradd --create-home --shell /bin/sh $user
            install -d -m 700 -o $user /home/$user/.ssh
            printf '%s' "$0" > /home/$user/.ssh/authorized_keys
            chown $user /home/$user/.ssh/authorized_keys
        done
        echo 'deployer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deployer"""
    made = inside("sh", "-c", script, public)
    assert made.returncode == 0, made.stderr
    host = out(inside, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    (keys / "known_hosts").write_text(f"board {host}\n")
    proxy = f"nsenter --target {LEADER} --net {sys.executable} {RELAY} 22 {keys}/relay.pid"
    options = (f"ProxyCommand={proxy}", f"IdentityFile={keys}/id", f"UserKnownHostsFile={keys}/known_hosts",
               "IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes")  # fmt: skip
    return list(options)


@pytest.fixture(scope="module")
def line(way: list[str]) -> Callable[..., list[str]]:
    """The command line."""
    options = [word for option in way for word in ("-o", option)]
    start = [sys.executable, "-m", "deblurkit", "deploy"]
    return lambda *words, target=TARGET: [*start, target, *options, "--json", *map(str, words)]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The environment of the commands: pip uses the wheels that the rig has downloaded."""
    return {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.environ["SERVICE_WHEELS"]}


@pytest.fixture(scope="module")
def deploy(line: Callable[..., list[str]], environment: dict[str, str], kit: Path) -> Deploy:
    """`deploy("--wheels")`: the command, run to its end. `whole`: it also builds the wheel and downloads packages by itself."""

    def run(*words: object, whole: bool = False, **where: str) -> "subprocess.CompletedProcess[str]":
        built = [] if whole or {"--kit", "--rollback"} & set(words) else ["--kit", kit]
        return subprocess.run(
            line(*words, *built, **where), cwd=ROOT, capture_output=True, text=True, timeout=LONG_S, check=False,
            env=None if whole else environment,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def begin(line: Callable[..., list[str]], environment: dict[str, str], kit: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`begin("--wheels")`: the same, started only."""
    pipe = subprocess.PIPE
    return lambda *words: subprocess.Popen(
        line(*words, "--kit", kit), cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
    )


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's wheel."""
    return payload.find_kit(None, tmp_path_factory.mktemp("kit")).path


@pytest.fixture
def by_hand(inside: Inside) -> Inside:
    """Runs the `deblurkit` that the rig has installed in a home folder."""
    program = os.environ["SERVICE_RIG"].partition(":")[2]
    return lambda *words, **options: inside(program, *words, **options)


@pytest.fixture(scope="module")
def broken(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel whose `doctor` finds no problem, and whose service ends at once."""
    path = tmp_path_factory.mktemp("broken") / kit.name
    with zipfile.ZipFile(kit) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, (BROKEN.encode() if name == "device/cli.py" else b"") + good.read(name))
    return path


@pytest.fixture(scope="module")
def fresh(inside: Inside) -> Iterator[None]:
    """A board without any release."""
    out(inside, "systemctl disable --now deblurkit; rm -f /etc/systemd/system/deblurkit.service /etc/deblurkit.toml")
    out(inside, "rm -rf /opt/deblurkit /etc/deblurkit /etc/systemd/system/deblurkit.service.d; systemctl daemon-reload")
    yield
    out(inside, "systemctl disable --now deblurkit; umount /opt/deblurkit; umount /opt/deblurkit/releases")


def test_a_service_that_was_installed_by_hand_is_restored_if_the_first_release_does_not_run(
    inside: Inside, by_hand: Inside, deploy: Deploy, fresh: None, broken: Path
) -> None:
    inside("sh", "-c", "printf 'source = \"demo\"\nwait_camera = true\n' > /etc/deblurkit.toml")
    assert by_hand("service", "install", timeout=120).returncode == 0
    before = out(inside, "cat /etc/systemd/system/deblurkit.service /etc/deblurkit.toml")
    done = deploy("--wheels", "--source", "demo", "--kit", broken)
    assert done.returncode == 1
    assert "what was there before runs again: ok" in done.stderr
    assert out(inside, "cat /etc/systemd/system/deblurkit.service /etc/deblurkit.toml") == before
    assert page(inside, "/healthz") == "ok"
    assert by_hand("service", "uninstall", timeout=120).returncode == 0
    inside("rm", "-r", "/etc/deblurkit.toml", "/opt/deblurkit")


def test_a_first_release_that_does_not_run_leaves_no_service_behind(
    inside: Inside, deploy: Deploy, fresh: None, broken: Path
) -> None:
    done = deploy("--wheels", "--source", "demo", "--kit", broken)
    result = answer(done, code=1)
    assert "there was no service before, so it is removed again" in done.stderr
    assert any("this kit is broken on purpose" in text for text in result["log"])  # type: ignore[union-attr, attr-defined]
    assert inside("systemctl", "cat", "deblurkit").returncode != 0
    assert out(inside, f"ls -A {RELEASES}; ls /opt/deblurkit") == "lock\nreleases"
    assert out(inside, "ls /etc/deblurkit.toml /etc/systemd/system/deblurkit.service.d/*") == ""


def test_a_fresh_board_ends_with_a_healthy_service_and_its_page(
    inside: Inside, deploy: Deploy, fresh: None, capsys: pytest.CaptureFixture[str]
) -> None:
    done = deploy("--wheels", "--source", "demo", whole=True)
    result = answer(done)
    assert (result["deployed"], result["health"], result["page"]) == (True, "ok", "http://127.0.0.1:8080")
    assert "<title>" in page(inside, "/")
    assert out(inside, "readlink /opt/deblurkit/current") == f"releases/{result['release']}"
    assert f'"/opt/deblurkit/releases/{result["release"]}/venv/bin/deblurkit" run' in out(inside, "systemctl cat deblurkit")
    assert out(inside, "systemctl is-enabled deblurkit") == "enabled"
    assert out(inside, "/opt/deblurkit/current/venv/bin/deblurkit --version").startswith("deblurkit ")
    assert unfinished(inside) == ""
    with capsys.disabled():
        print(f"\nfirst deploy: {result['seconds']} s, {result['sent_mib']} MiB sent, "
              f"{out(inside, 'du -sm /opt/deblurkit/current/').split()[0]} MiB there")  # fmt: skip


def test_the_same_again_changes_nothing_and_reports_its_health(inside: Inside, deploy: Deploy) -> None:
    before = process(inside), out(inside, f"ls -A {RELEASES}")
    result = answer(deploy("--wheels", "--source", "demo"))
    assert (result["deployed"], result["unchanged"], result["health"]) == (False, True, "ok")
    assert (process(inside), out(inside, f"ls -A {RELEASES}")) == before


def test_lan_is_refused_if_the_configuration_says_otherwise(inside: Inside, deploy: Deploy) -> None:
    before = process(inside)
    done = deploy("--source", "demo", "--lan")
    assert done.returncode == 1
    assert "says lan = false and is never overwritten; change it there" in done.stderr
    assert process(inside) == before


def test_another_release_is_activated_and_the_one_before_stays(
    inside: Inside, deploy: Deploy, small_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = out(inside, "readlink /opt/deblurkit/current").rpartition("/")[2]
    inside("sh", "-c", "echo '# mine' >> /etc/deblurkit.toml")
    result = answer(deploy("--wheels", "--source", "demo", "--bundle", weightless(small_copy), whole=True))
    assert (result["deployed"], result["before"], result["health"]) == (True, first, "ok")
    assert sorted(result["kept"]) == sorted([first, str(result["release"])])  # type: ignore[call-overload]
    assert json.loads(page(inside, "/state"))["bundle"] == "small"
    assert f"DEBLURKIT_BUNDLE={RELEASES}/{result['release']}/bundles/1" in out(inside, "systemctl show deblurkit -P Environment")
    assert out(inside, "tail -n 1 /etc/deblurkit.toml") == "# mine"
    with capsys.disabled():
        print(f"\nsecond deploy: {result['seconds']} s, {result['sent_mib']} MiB sent")


def weightless(bundle: Path) -> Path:
    """The bundle, with a manifest that names no weights."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "weights": None}))
    return bundle


def test_rollback_goes_to_the_release_before_with_its_settings_and_back_again(inside: Inside, deploy: Deploy) -> None:
    now, before = (out(inside, f"readlink /opt/deblurkit/{name}").rpartition("/")[2] for name in ("current", "previous"))
    result = answer(deploy("--rollback"))
    assert (result["release"], result["before"], result["health"]) == (before, now, "ok")
    assert "DEBLURKIT_BUNDLE" not in out(inside, "systemctl show deblurkit -P Environment")
    assert f"/{before}/" in out(inside, "cat /proc/$(systemctl show deblurkit -P MainPID)/cmdline | tr '\\0' ' '")
    assert answer(deploy("--rollback"))["release"] == now


def test_a_release_whose_service_cannot_start_is_undone(inside: Inside, deploy: Deploy, broken: Path) -> None:
    before = out(inside, f"readlink /opt/deblurkit/current /opt/deblurkit/previous; ls -A {RELEASES}; systemctl cat deblurkit")
    done = deploy("--wheels", "--source", "demo", "--kit", broken)
    result = answer(done, code=1)
    assert "runs again: ok" in done.stderr
    assert any("this kit is broken on purpose" in text for text in result["log"])  # type: ignore[union-attr, attr-defined]
    assert page(inside, "/healthz") == "ok"
    after = out(inside, f"readlink /opt/deblurkit/current /opt/deblurkit/previous; ls -A {RELEASES}; systemctl cat deblurkit")
    assert after == before


@pytest.mark.parametrize(
    ("sign", "cut"),
    [("release.json", signal.SIGKILL), ("venv/bin/python", signal.SIGKILL), ("venv/bin/pip", signal.SIGSTOP)],
    ids=["cut in the transfer", "cut in the installation", "silent from the installation on"],
)
def test_a_lost_connection_leaves_what_ran(
    inside: Inside, begin: Callable[..., "subprocess.Popen[str]"], keys: Path, sign: str, cut: signal.Signals
) -> None:
    before = process(inside), out(inside, f"ls -A {RELEASES}")
    with begin("--wheels", "--again", "--source", "demo") as lost:
        until(lambda: out(inside, f"ls {RELEASES}/.part-*/{sign}") != "", "the first files of the release")
        relay = int((keys / "relay.pid").read_text())
        os.kill(relay, cut)
        until(lambda: unfinished(inside) == "", "the board removes what it has received")
        with suppress(ProcessLookupError):
            os.kill(relay, signal.SIGKILL)
        _, stderr = lost.communicate(timeout=LONG_S)
    assert lost.returncode == 1, stderr
    assert "the connection was lost; what ran before still runs" in stderr
    assert (process(inside), out(inside, f"ls -A {RELEASES}")) == before
    assert page(inside, "/healthz") == "ok"


def test_a_connection_that_is_cut_during_the_switch_does_not_stop_it(
    inside: Inside, begin: Callable[..., "subprocess.Popen[str]"], deploy: Deploy, keys: Path
) -> None:
    with begin("--wheels", "--again", "--source", "demo") as cut:
        assert cut.stderr is not None
        stderr = ""
        while "switching to" not in stderr:
            stderr = cut.stderr.readline()
            assert stderr, "it ended before the switch"
        release = stderr.split()[-1]
        os.kill(int((keys / "relay.pid").read_text()), signal.SIGKILL)
        _, rest = cut.communicate(timeout=LONG_S)
    assert cut.returncode == 1
    assert "the board finishes the switch by itself" in rest
    until(lambda: inside("flock", "--nonblock", "/opt/deblurkit/lock", "true").returncode == 0, "the board has finished")
    result = answer(deploy("--source", "demo"))
    assert (result["unchanged"], result["release"], result["health"]) == (True, release, "ok")


def test_a_fourth_release_cleans_up_after_a_power_cut_removes_the_oldest_and_refuses_a_second_deploy_meanwhile(
    inside: Inside, deploy: Deploy, begin: Callable[..., "subprocess.Popen[str]"]
) -> None:
    before = out(inside, f"ls {RELEASES}").splitlines()
    inside("mkdir", "-p", f"{RELEASES}/.part-of-a-board-that-lost-its-power/venv")
    with begin("--wheels", "--source", "demo", "--bundle", "nano") as first:
        until(lambda: out(inside, f"ls {RELEASES}/.part-*/venv/bin/python") != "", "the first deploy has started its work")
        second = deploy("--again", "--source", "demo")
        stdout, stderr = first.communicate(timeout=LONG_S)
    assert second.returncode == 1
    assert "another deploy is running on this board (process " in second.stderr
    assert first.returncode == 0, stderr
    assert "removing .part-of-a-board-that-lost-its-power, left over from an interrupted deploy" in stderr
    result = json.loads(stdout.splitlines()[-1])
    assert unfinished(inside) == ""
    assert (len(before), len(result["kept"])) == (3, 3)
    assert len(set(before) - set(result["kept"])) == 1
    assert (result["health"], json.loads(page(inside, "/state"))["bundle"]) == ("ok", "nano")


def test_without_a_camera_it_runs_and_waits(inside: Inside, deploy: Deploy) -> None:
    result = answer(deploy("--wheels"))
    assert str(result["health"]).startswith("waiting for a camera (no camera")
    assert out(inside, "systemctl show deblurkit -P NRestarts") == "0"


def test_a_full_disk_is_refused_beforehand_and_harmless_in_the_middle(inside: Inside, deploy: Deploy) -> None:
    before = process(inside)
    out(inside, "mount -t tmpfs -o size=100m small /opt/deblurkit")
    done = deploy("--wheels", "--source", "demo")
    out(inside, "umount /opt/deblurkit")
    assert done.returncode == 1
    assert "100 MiB free for /opt/deblurkit; expected " in done.stderr
    out(inside, f"mount -t tmpfs -o size=2g,nr_inodes=12 small {RELEASES}")
    done = deploy("--wheels", "--source", "demo")
    left = unfinished(inside)
    out(inside, f"umount {RELEASES}")
    assert done.returncode == 1
    assert "No space left on device; the running release was not changed" in done.stderr
    assert left == ""
    assert process(inside) == before


def test_without_sudo_nothing_is_changed(inside: Inside, deploy: Deploy) -> None:
    before = process(inside), out(inside, f"ls -A {RELEASES}")
    done = deploy("--wheels", "--source", "demo", target="guest@board")
    assert done.returncode == 1
    assert "guest is not root and cannot use sudo without a password" in done.stderr
    assert (process(inside), out(inside, f"ls -A {RELEASES}")) == before


def test_a_board_that_has_a_key_accepts_only_releases_signed_with_it(
    inside: Inside, deploy: Deploy, way: list[str], keys: Path, kit: Path, tmp_path: Path, small_copy: Path
) -> None:
    signed = answer(deploy("--wheels", "--source", "demo", "--sign", keys / "id", "--bundle", weightless(small_copy)))
    assert (signed["signed"], signed["health"]) == (True, "ok")
    assert out(inside, "cat /etc/deblurkit/allowed_signers").startswith('deblurkit namespaces="deblurkit" ssh-ed25519 ')
    before = process(inside), out(inside, f"ls -A {RELEASES}")
    unsigned = deploy("--source", "demo")
    assert unsigned.returncode == 1
    assert "this board accepts signed releases only, and this one is not signed" in unsigned.stderr
    strange = deploy("--source", "demo", "--sign", keys / "other")
    assert strange.returncode == 1
    assert "SHA256SUMS: not signed by the key in /etc/deblurkit/allowed_signers" in strange.stderr
    with Connection(TARGET, None, way) as board:
        facts = preflight.parse(board.run_script(preflight.SCRIPT))
        for changed, why in (
            ("settings.conf", "settings.conf: its SHA-256 is not the one in the list"),
            ("SHA256SUMS", "SHA256SUMS: not signed"),
        ):
            release = payload.assemble(
                tmp_path / changed, kit=payload.read_kit(kit), bundles={}, source="demo", lan=False, facts=facts
            )
            payload.seal(release, keys / "id")
            with open(release.folder / changed, "a") as file:
                file.write("\n")
            with pytest.raises(DeployRefused, match=why):
                board.request({"action": "deploy", "id": release.name}, root=False, files=release.files())
    assert (process(inside), out(inside, f"ls -A {RELEASES}")) == before
    assert page(inside, "/healthz") == "ok"


def test_uninstalling_on_the_board_removes_the_settings_of_the_release_too(inside: Inside) -> None:
    done = inside("/opt/deblurkit/current/venv/bin/deblurkit", "service", "uninstall")
    assert done.returncode == 0, done.stderr
    assert out(inside, "ls /etc/systemd/system/deblurkit.service.d/") == ""
