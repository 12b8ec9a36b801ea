"""Switch the service to another release, and back if that release does not run."""

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.deploy.board.channel import Channel
from device.deploy.board.paths import (
    CONFIG,
    CURRENT,
    DROP_IN,
    PREVIOUS,
    SHOWN_LINES,
    UNIT,
    Refused,
    linked_release,
    read_if_exists,
    releases,
    run_command,
    set_link,
    tail,
    write_or_remove,
)

KEPT_RELEASES = 3
PICTURES_WITHIN_S = 90.0  # of the moment when systemd calls the service started
STEADY_S = 5.0  # how long the same process must have been healthy


@dataclass(frozen=True)
class Snapshot:
    """What ran before the switch: everything that a switch changes."""

    unit: bytes | None
    drop_in: bytes | None
    current: str | None
    previous: str | None
    configured: bool
    active: bool

    @property
    def name(self) -> str:
        """For a person."""
        return self.current or "what was there before"


def activate(channel: Channel, release: Path, new: bool) -> dict[str, Any]:
    """Let the service run this release; returns its status. If it does not run, restores what ran before and raises Refused.

    A `new` release that does not run is removed.
    """
    active = run_command("systemctl", "is-active", "--quiet", "deblurkit").returncode == 0
    before = Snapshot(
        unit=read_if_exists(UNIT),
        drop_in=read_if_exists(DROP_IN),
        current=linked_release(CURRENT),
        previous=linked_release(PREVIOUS),
        configured=CONFIG.exists(),
        active=active,
    )
    channel.send(f"switching to {release.name}", switching=True)
    try:
        status = _install(release)
        if before.current not in (None, release.name):
            set_link(PREVIOUS, before.current)
    except (Refused, OSError) as reason:
        log = last_log_lines()
        channel.send(f"{release.name} does not run; going back to {before.name if before.unit else 'no service'}")
        if new:  # first: its disk space may be what is needed
            shutil.rmtree(release, ignore_errors=True)
        raise Refused(f"{release.name} does not run: {reason}\n{_restore(before)}", log=log, back=before.current) from None
    kept = {linked_release(CURRENT), linked_release(PREVIOUS)} - {None}
    older = [old for old in releases() if old.name not in kept]
    for old in older[: max(0, len(older) + len(kept) - KEPT_RELEASES)]:
        shutil.rmtree(old, ignore_errors=True)
    return {**report(status), "release": release.name, "before": before.current}


def _install(release: Path) -> dict[str, Any]:
    """Install this release's settings, link and service; returns the service's status. Raises Refused if it is not healthy.

    The unit names the release itself. Each kit writes it with its own `service install`, because units may differ between
    releases. `current` is for people, and for the next deploy.
    """
    write_or_remove(DROP_IN, read_if_exists(release / "settings.conf"))
    set_link(CURRENT, release.name)
    lan = json.loads((release / "release.json").read_bytes())["lan"] and not CONFIG.exists()
    program = release / "venv/bin/deblurkit"
    done = run_command(program, "service", "install", "--json", *(["--lan"] if lan else []))
    if done.returncode != 0:
        raise Refused(f"`deblurkit service install` ended with {done.returncode}:\n{tail(done.stderr)}")
    return wait_until_steady(program)


def _restore(before: Snapshot) -> str:
    """Restore what ran before; returns a sentence about its state."""
    write_or_remove(DROP_IN, before.drop_in)
    set_link(CURRENT, before.current)
    set_link(PREVIOUS, before.previous)
    if before.unit is None:
        run_command("systemctl", "disable", "--now", "--quiet", "deblurkit")
        write_or_remove(UNIT, None)
        run_command("systemctl", "daemon-reload")
        run_command("systemctl", "reset-failed", "deblurkit")
        if not before.configured:
            write_or_remove(CONFIG, None)
        return "there was no service before, so it is removed again"
    write_or_remove(UNIT, before.unit)
    run_command("systemctl", "daemon-reload")
    if not before.active:
        run_command("systemctl", "stop", "deblurkit")
        return f"{before.name} is restored; it was stopped, and stays stopped"
    run_command("systemctl", "restart", "deblurkit")
    try:
        return f"{before.name} runs again: {describe(wait_until_steady(installed_program()))}"
    except Refused as reason:
        return f"{before.name} is restored, but does not run either: {reason}"


def wait_until_steady(program: Path) -> dict[str, Any]:
    """Wait until the service has been healthy for STEADY_S; returns its status. Raises Refused if that never happens."""
    started_s = since_s = time.monotonic()
    process = None
    while True:
        status, now_s = service_status(program), time.monotonic()
        if not is_healthy(status) or status.get("MainPID") != process:
            since_s, process = now_s, status.get("MainPID") if is_healthy(status) else None
        elif now_s - since_s >= STEADY_S:
            return status
        if now_s - started_s > PICTURES_WITHIN_S or status.get("ActiveState") == "failed":
            raise Refused(f"its service is not healthy {now_s - started_s:.0f} s after its start: {describe(status)}")
        time.sleep(1)


def service_status(program: Path) -> dict[str, Any]:
    """The object that `deblurkit service status --json` prints; empty if it prints none."""
    done = run_command(program, "service", "status", "--json")
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, LookupError):
        return {}


def is_healthy(status: dict[str, Any]) -> bool:
    """Whether the service runs and pictures come, or only a camera is missing."""
    fine = status.get("page") is None or status.get("health") == "ok" or status.get("waits_for_camera")
    return bool(status.get("running") and fine)


def describe(status: dict[str, Any]) -> str:
    """The status in a few words."""
    if not status.get("running"):
        return " ".join(str(status[key]) for key in ("ActiveState", "Result") if key in status) or "no status"
    health = status.get("health") or ("its page does not answer" if status.get("page") else "it runs, without a page")
    return f"waiting for a camera ({health})" if status.get("waits_for_camera") else str(health)


def report(status: dict[str, Any]) -> dict[str, Any]:
    """The part of the status that the workstation receives."""
    return {"health": describe(status), "page": status.get("page"), "kept": [path.name for path in releases()]}


def installed_program() -> Path:
    """The `deblurkit` in the service's unit, as device/service/systemd_unit.py writes it. Raises Refused."""
    found = re.search(r'^ExecStart="([^"\n]+)" run ', (read_if_exists(UNIT) or b"").decode(errors="replace"), re.MULTILINE)
    if found is None:
        raise Refused(f"{UNIT}: does not exist, or deblurkit did not write it; deploy --again")
    return Path(found[1].replace("%%", "%"))


def last_log_lines() -> list[str]:
    """The service's last messages, oldest first."""
    done = run_command("journalctl", "--unit=deblurkit", f"--lines={SHOWN_LINES}", "--output=cat", "--no-pager", "--quiet")
    return done.stdout.splitlines()
