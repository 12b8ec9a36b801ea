"""The service under a real systemd: its life, its limits, its logs."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
DEMO = 'source = "demo"\nsink = ["web", "record:/var/lib/deblurkit/recordings"]\nwait_camera = true\n'
LONG_S = 60.0  # more than anything here takes


def until(wanted: Callable[[], bool], what: str) -> None:
    """Wait until this happens; fail if it does not."""
    end = time.monotonic() + LONG_S
    while not wanted():
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.2)


def configure(inside: Inside, text: str) -> None:
    """Write the configuration."""
    assert inside("sh", "-c", 'printf "%s" "$0" > /etc/deblurkit.toml && chmod 600 /etc/deblurkit.toml', text).returncode == 0


def fact(inside: Inside, name: str) -> str:
    """A property of the service, from systemd."""
    return inside("systemctl", "show", "deblurkit", "-P", name).stdout.strip()


def page(inside: Inside, path: str) -> str:
    """What the page answers; empty if it does not."""
    code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080{path}', timeout=5).read().decode())"
    return inside("python3", "-c", code).stdout.strip()


def healthy(inside: Inside) -> bool:
    """Whether pictures come."""
    return page(inside, "/healthz") == "ok"


@pytest.fixture
def service(inside: Inside, kit: Inside) -> Iterator[str]:
    """The process of the service after `deblurkit service install`, with generated pictures and a recorder."""
    inside("rm", "-rf", "/var/lib/private/deblurkit/recordings")
    configure(inside, DEMO)
    done = kit("service", "install", timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    assert "runs; its page says: ok" in done.stdout
    yield fact(inside, "MainPID")
    inside("systemctl", "stop", "deblurkit")


def test_it_runs_is_enabled_and_reports_its_status(inside: Inside, kit: Inside, service: str) -> None:
    assert fact(inside, "ActiveState") == "active"
    assert inside("systemctl", "is-enabled", "deblurkit").stdout.strip() == "enabled"
    status = kit("service", "status", "--json")
    assert status.returncode == 0, status.stdout
    record = json.loads(status.stdout.splitlines()[-1])
    assert (record["running"], record["health"], record["MainPID"]) == (True, "ok", service)
    assert record["page"] == "http://127.0.0.1:8080"
    assert any(line.startswith("from demo") for line in record["log"])


def test_it_has_no_rights_and_sees_only_the_home_folders_that_it_needs(inside: Inside, service: str) -> None:
    lines = inside("cat", f"/proc/{service}/status").stdout.splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"][0] != "0"
    assert status["CapBnd"] == ["0000000000000000"]
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    inside("sh", "-c", "echo secret > /home/pi/secret; echo secret > ~root/secret")
    seen = inside("nsenter", "--target", service, "--mount", "find", "/home", "/root", "-maxdepth", "2").stdout.split("\n")
    assert "/home/pi/my kit" in seen
    assert not [path for path in seen if PurePosixPath(path).name == "secret"]
    written = inside("nsenter", "--target", service, "--mount", "sh", "-c", "touch '/home/pi/my kit/.venv/x' /usr/x /etc/x")
    assert written.stderr.count("Read-only file system") == 3, "root itself could not write there"


def test_models_pictures_and_the_recorder_work_within_these_limits(inside: Inside, service: str) -> None:
    def recorded() -> bool:
        recording = state(inside).get("recording") or {}
        return bool(recording.get("files") and recording.get("bytes"))

    until(recorded, "a recording")
    found = state(inside)
    assert found["runtime"] == "litert"
    assert found["not_restored"] == 0
    assert found["recording"]["error"] == ""
    owners = inside("find", "/var/lib/deblurkit/recordings/", "-name", "*.mp4", "-printf", "%u %m\n").stdout.split()
    assert owners[1] == "600"


def state(inside: Inside) -> dict[str, Any]:
    """The page's state."""
    answer = page(inside, "/state")
    return json.loads(answer) if answer else {}


def test_a_loop_that_hangs_is_killed_by_the_watchdog_and_started_again(inside: Inside, service: str) -> None:
    inside("kill", "-STOP", service)
    until(lambda: fact(inside, "MainPID") not in (service, "0") and healthy(inside), "a restart by the watchdog")
    log = inside("journalctl", "-u", "deblurkit", "-o", "cat", "--no-pager").stdout
    assert "Watchdog timeout" in log
    assert "most recent call first" in log, "the stacks of all threads"


def test_a_killed_process_is_started_again_and_again(inside: Inside, service: str) -> None:
    for _ in range(6):  # systemd gives up after five by default
        before = fact(inside, "MainPID")
        inside("kill", "-KILL", before)
        until(lambda: fact(inside, "MainPID") not in (before, "0"), "a restart")  # noqa: B023
    until(lambda: healthy(inside), "pictures")


def test_a_reload_keeps_the_process_and_the_pictures(inside: Inside, service: str) -> None:
    assert inside("systemctl", "reload", "deblurkit").returncode == 0
    assert fact(inside, "MainPID") == service
    until(lambda: state(inside).get("message", "").startswith("restoring with"), "a reload")
    frames = state(inside)["frames"]
    until(lambda: healthy(inside) and state(inside)["frames"] > frames, "pictures after a reload")
    assert (fact(inside, "ActiveState"), fact(inside, "MainPID")) == ("active", service)


def test_a_stop_is_clean(inside: Inside, service: str) -> None:
    assert inside("systemctl", "stop", "deblurkit").returncode == 0
    assert (fact(inside, "ActiveState"), fact(inside, "Result")) == ("inactive", "success")
    assert fact(inside, "ExecMainStatus") == "0"


def test_the_journal_has_plain_messages_with_priorities(inside: Inside, service: str) -> None:
    lines = inside("journalctl", "-u", "deblurkit", f"_PID={service}", "-o", "json", "--no-pager").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert any(entry["PRIORITY"] == "6" and str(entry["MESSAGE"]).startswith("from demo") for entry in entries)


def test_an_invalid_configuration_fails_once_and_says_why(inside: Inside, kit: Inside, service: str) -> None:
    configure(inside, 'sorce = "demo"\n')
    assert inside("systemctl", "restart", "deblurkit").returncode != 0
    assert (fact(inside, "ActiveState"), fact(inside, "ExecMainStatus")) == ("failed", "2")
    status = kit("service", "status")
    assert status.returncode == 1
    assert "unknown key 'sorce'; did you mean 'source'?" in status.stdout


def test_without_a_camera_it_waits_and_says_so(inside: Inside, kit: Inside) -> None:
    configure(inside, "wait_camera = true\n[web]\nlan = true\n")
    done = kit("service", "install", timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    assert fact(inside, "ActiveState") == "active"
    status = kit("service", "status", "--json")
    record = json.loads(status.stdout.splitlines()[-1])
    assert status.returncode == 1
    assert "no camera" in record["health"]
    assert "?token=" in record["page"]
    assert fact(inside, "NRestarts") == "0"


def test_uninstalling_stops_it_and_keeps_the_user_s_files(inside: Inside, kit: Inside, service: str) -> None:
    done = kit("service", "uninstall")
    assert done.returncode == 0
    assert done.stdout.startswith("removed; kept: /etc/deblurkit.toml and /var/lib/deblurkit")
    assert inside("systemctl", "cat", "deblurkit").returncode != 0
    assert inside("pgrep", "-f", "deblurkit run").returncode == 1
    assert inside("test", "-e", "/etc/deblurkit.toml").returncode == 0
    status = kit("service", "status")
    assert (status.returncode, status.stdout.strip()) == (1, "not installed; sudo deblurkit service install")


def test_doctor_finds_no_problem(kit: Inside) -> None:
    done = kit("doctor", "--json")
    assert done.returncode == 0, done.stdout
