"""What the installed service says: systemd of its process, the page of its pictures, the journal of what happened."""

import argparse
import http.client
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from device.errors import RunError
from device.settings import Settings, read_settings
from device.sinks.web.token import own_name, qr_code

NAME = "deblurkit"
CONFIG, STATE = Path("/etc/deblurkit.toml"), Path("/var/lib/deblurkit")
_FACTS = ("ActiveState", "SubState", "Result", "MainPID", "NRestarts", "ActiveEnterTimestamp", "MemoryCurrent", "StatusText")
_LINES = 10
_COMMAND_S = 180.0  # longer than the unit's TimeoutStartSec


def settings_of(path: Path) -> Settings:
    """The settings of a configuration. Raises UsageError for one that `run` would not take."""
    return read_settings(argparse.Namespace(config=path))


def call(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the system to its end. Raises RunError where that cannot be."""
    try:
        return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{shlex.join(words)}: {error}; try it by hand") from error


def facts() -> dict[str, str] | None:
    """What systemd knows, by its own names; None where the service is not installed. Raises RunError without systemd."""
    if shutil.which("systemctl") is None:
        raise RunError("there is no systemctl: this machine has no systemd")
    shown = call("systemctl", "show", NAME, f"--property={','.join((*_FACTS, 'LoadState'))}")
    if shown.returncode != 0:
        raise RunError(f"systemctl show: {shown.stderr.strip()}; was this machine started by systemd?")
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    if found.pop("LoadState", "") == "not-found":
        return None
    return {name: value for name in _FACTS if (value := found.get(name, "")) not in ("", "[not set]")}


def has_page(settings: Settings) -> bool:
    """Whether one of its sinks is the page."""
    return "web" in settings.sink or not settings.sink


def health(settings: Settings, patience_s: float = 0.0) -> str:
    """What the page says of the loop, `ok` where pictures come; waited for so long. Empty where no page answers."""
    until = time.monotonic() + patience_s
    while True:
        answer = _healthz(settings) if has_page(settings) else ""
        if answer == "ok" or time.monotonic() >= until or not has_page(settings):
            return answer
        time.sleep(0.25)


def _healthz(settings: Settings) -> str:
    answer = _asked(settings, "/healthz")
    return answer[:200].decode(errors="replace").strip()


def waits_for_camera(settings: Settings) -> bool:
    """Whether the page says that it is a camera that lacks, and nothing else."""
    try:
        return json.loads(_asked(settings, "/state"))["camera"]["ok"] is False
    except (ValueError, LookupError, TypeError):
        return False


def _asked(settings: Settings, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(settings)) else {}
    try:
        asked = http.client.HTTPConnection("127.0.0.1", settings.web.port, timeout=2)
        asked.request("GET", path, headers=headers)
        return asked.getresponse().read(1 << 20)
    except (OSError, http.client.HTTPException):
        return b""


def _token(settings: Settings) -> str:
    try:
        return (STATE / "token").read_text().strip() if settings.web.lan else ""
    except OSError:
        return ""


def entrance(settings: Settings) -> str | None:
    """The page's address, in the network with its token; None without a page."""
    if not has_page(settings):
        return None
    if not settings.web.lan:
        return f"http://127.0.0.1:{settings.web.port}"
    token = _token(settings)
    return f"http://{own_name()}:{settings.web.port}/" + (f"?token={token}" if token else "")


def invitation(settings: Settings) -> str:
    """The address for a person: on a terminal also as a QR code, else with how a phone gets to it."""
    address = entrance(settings)
    if address is None:
        return "without a page: `sink` does not name web"
    if not settings.web.lan:
        return f"{address} (this machine only; for a phone set lan = true in {CONFIG}, then: sudo systemctl restart {NAME})"
    return f"{address}\n{qr_code(address)}".rstrip() if sys.stdout.isatty() else address


def last_lines() -> list[str]:
    """The last messages in the journal, oldest first; empty where this user may not read them."""
    if shutil.which("journalctl") is None:
        return []
    done = call("journalctl", f"--unit={NAME}", f"--lines={_LINES}", "--output=cat", "--no-pager", "--quiet")
    return [_message(line) for line in done.stdout.splitlines() if line.strip()]


def _message(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['level']}: {entry['message']}"
    except (ValueError, KeyError, TypeError):
        return line
