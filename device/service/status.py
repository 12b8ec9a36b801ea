"""The state of the installed service: its process from systemd, its health from the page, its messages from the journal."""

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
_LOG_LINES = 10
_COMMAND_TIMEOUT_S = 180.0  # longer than the unit's TimeoutStartSec


def settings_of(path: Path) -> Settings:
    """The settings in a configuration file. Raises UsageError for one that `run` would refuse."""
    return read_settings(argparse.Namespace(config=path))


def run_command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the system to its end. Raises RunError if it cannot start or takes too long."""
    try:
        return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{shlex.join(words)}: {error}; try it by hand") from error


def facts() -> dict[str, str] | None:
    """What systemd knows, by its own names; None if the service is not installed. Raises RunError without systemd."""
    if shutil.which("systemctl") is None:
        raise RunError("no systemctl: this machine has no systemd")
    shown = run_command("systemctl", "show", NAME, f"--property={','.join((*_FACTS, 'LoadState'))}")
    if shown.returncode != 0:
        raise RunError(f"systemctl show: {shown.stderr.strip()}; was this machine started by systemd?")
    properties = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    if properties.pop("LoadState", "") == "not-found":
        return None
    return {name: value for name in _FACTS if (value := properties.get(name, "")) not in ("", "[not set]")}


def has_page(settings: Settings) -> bool:
    """Whether the service has a web page."""
    return "web" in settings.sink or not settings.sink


def health(settings: Settings, timeout_s: float = 0.0) -> str:
    """The page's answer about the loop: `ok` if pictures come. Waits so long for `ok`. Empty if no page answers."""
    until = time.monotonic() + timeout_s
    while True:
        answer = _healthz(settings) if has_page(settings) else ""
        if answer == "ok" or time.monotonic() >= until or not has_page(settings):
            return answer
        time.sleep(0.25)


def _healthz(settings: Settings) -> str:
    return _get(settings, "/healthz")[:200].decode(errors="replace").strip()


def waits_for_camera(settings: Settings) -> bool:
    """Whether the page says that the camera is missing."""
    try:
        return json.loads(_get(settings, "/state"))["camera"]["ok"] is False
    except (ValueError, LookupError, TypeError):
        return False


def _get(settings: Settings, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(settings)) else {}
    try:
        connection = http.client.HTTPConnection("127.0.0.1", settings.web.port, timeout=2)
        connection.request("GET", path, headers=headers)
        return connection.getresponse().read(1 << 20)
    except (OSError, http.client.HTTPException):
        return b""


def _token(settings: Settings) -> str:
    try:
        return (STATE / "token").read_text().strip() if settings.web.lan else ""
    except OSError:
        return ""


def page_address(settings: Settings) -> str | None:
    """The page's address, with its token if the network may see it; None without a page."""
    if not has_page(settings):
        return None
    if not settings.web.lan:
        return f"http://127.0.0.1:{settings.web.port}"
    token = _token(settings)
    return f"http://{own_name()}:{settings.web.port}/" + (f"?token={token}" if token else "")


def how_to_open_page(settings: Settings) -> str:
    """The address for a person: on a terminal also as a QR code, or how to make the page visible to a phone."""
    address = page_address(settings)
    if address is None:
        return "without a page: `sink` does not name web"
    if not settings.web.lan:
        return f"{address} (this machine only; for a phone set lan = true in {CONFIG}, then: sudo systemctl restart {NAME})"
    return f"{address}\n{qr_code(address)}".rstrip() if sys.stdout.isatty() else address


def last_log_lines() -> list[str]:
    """The last lines in the journal, oldest first; empty if this user may not read them."""
    if shutil.which("journalctl") is None:
        return []
    done = run_command("journalctl", f"--unit={NAME}", f"--lines={_LOG_LINES}", "--output=cat", "--no-pager", "--quiet")
    return [line for line in done.stdout.splitlines() if line.strip()]
