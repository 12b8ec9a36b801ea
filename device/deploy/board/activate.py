"""From the release that runs to another, and back where the other one does not run."""

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.deploy.board.channel import Line
from device.deploy.board.paths import (
    CONFIG,
    CURRENT,
    DROP_IN,
    LINES,
    PREVIOUS,
    UNIT,
    Refused,
    content,
    link,
    linked,
    releases,
    system,
    tail,
    write,
)

KEPT = 3  # releases
PICTURES_S = 90.0  # that pictures may take to come once systemd calls the service started
STEADY_S = 5.0  # that the same process must have been well for


@dataclass(frozen=True)
class Before:
    """What ran until now: everything that a switch changes."""

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


def switch(line: Line, release: Path, new: bool) -> dict[str, Any]:
    """Let the service run this release; how it then is. Where it does not run, what ran before runs again: raises Refused.

    A release that is `new` and does not run is removed.
    """
    active = system("systemctl", "is-active", "--quiet", "deblurkit").returncode == 0
    before = Before(content(UNIT), content(DROP_IN), linked(CURRENT), linked(PREVIOUS), CONFIG.exists(), active)
    line.say(f"switches to {release.name}", switching=True)
    try:
        status = _put(release)
        if before.current not in (None, release.name):
            link(PREVIOUS, before.current)
    except (Refused, OSError) as why:
        log = last_lines()
        line.say(f"{release.name} does not run; goes back to {before.name if before.unit else 'no service'}")
        if new:  # first: its room may be what lacks
            shutil.rmtree(release, ignore_errors=True)
        raise Refused(f"{release.name} does not run: {why}\n{_back(before)}", log=log, back=before.current) from None
    kept = {linked(CURRENT), linked(PREVIOUS)} - {None}
    older = [old for old in releases() if old.name not in kept]
    for old in older[: max(0, len(older) + len(kept) - KEPT)]:
        shutil.rmtree(old, ignore_errors=True)
    return {**told(status), "release": release.name, "before": before.current}


def _put(release: Path) -> dict[str, Any]:
    """Settings, link and service of this release, and how the service then is. Raises Refused where it is not well.

    The unit names the release itself and is written anew by each kit's own `service install`, since units may differ from
    release to release. `current` is for people, and for the next deploy.
    """
    write(DROP_IN, content(release / "settings.conf"))
    link(CURRENT, release.name)
    lan = json.loads((release / "release.json").read_bytes())["lan"] and not CONFIG.exists()
    program = release / "venv/bin/deblurkit"
    done = system(program, "service", "install", "--json", *(["--lan"] if lan else []))
    if done.returncode != 0:
        raise Refused(f"`deblurkit service install` ended with {done.returncode}:\n{tail(done.stderr)}")
    return judged(program)


def _back(before: Before) -> str:
    """Put back what ran before; says how that is doing."""
    write(DROP_IN, before.drop_in)
    link(CURRENT, before.current)
    link(PREVIOUS, before.previous)
    if before.unit is None:
        system("systemctl", "disable", "--now", "--quiet", "deblurkit")
        write(UNIT, None)
        system("systemctl", "daemon-reload")
        system("systemctl", "reset-failed", "deblurkit")
        if not before.configured:
            write(CONFIG, None)
        return "there was no service before, so it is removed again"
    write(UNIT, before.unit)
    system("systemctl", "daemon-reload")
    if not before.active:
        system("systemctl", "stop", "deblurkit")
        return f"{before.name} is put back; it was stopped, and stays so"
    system("systemctl", "restart", "deblurkit")
    try:
        return f"{before.name} runs again: {words(judged(program()))}"
    except Refused as why:
        return f"{before.name} is put back, but does not run either: {why}"


def judged(program: Path) -> dict[str, Any]:
    """How the service is, once it is well and has been so for a while. Raises Refused where it never is."""
    begun_s = since_s = time.monotonic()
    process = None
    while True:
        status, now_s = status_of(program), time.monotonic()
        if not well(status) or status.get("MainPID") != process:
            since_s, process = now_s, status.get("MainPID") if well(status) else None
        elif now_s - since_s >= STEADY_S:
            return status
        if now_s - begun_s > PICTURES_S or status.get("ActiveState") == "failed":
            raise Refused(f"its service is not well {now_s - begun_s:.0f} s after its start: {words(status)}")
        time.sleep(1)


def status_of(program: Path) -> dict[str, Any]:
    """What `deblurkit service status --json` says; empty where it says nothing."""
    done = system(program, "service", "status", "--json")
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, LookupError):
        return {}


def well(status: dict[str, Any]) -> bool:
    """Whether the service runs and pictures come, or it waits for a camera."""
    fine = status.get("page") is None or status.get("health") == "ok" or status.get("waits_for_camera")
    return bool(status.get("running") and fine)


def words(status: dict[str, Any]) -> str:
    """The status in a few words."""
    if not status.get("running"):
        return " ".join(str(status[key]) for key in ("ActiveState", "Result") if key in status) or "no status"
    health = status.get("health") or ("its page does not answer" if status.get("page") else "it runs, without a page")
    return f"waits for a camera ({health})" if status.get("waits_for_camera") else str(health)


def told(status: dict[str, Any]) -> dict[str, Any]:
    """What the other end is told of the status."""
    return {"health": words(status), "page": status.get("page"), "kept": [p.name for p in releases()]}


def program() -> Path:
    """The `deblurkit` that the service's unit begins, as device/service/systemd_unit.py writes it. Raises Refused."""
    found = re.search(r'^ExecStart="([^"\n]+)" run ', (content(UNIT) or b"").decode(errors="replace"), re.MULTILINE)
    if found is None:
        raise Refused(f"{UNIT}: not there, or not of deblurkit's making; deploy --again")
    return Path(found[1].replace("%%", "%"))


def last_lines() -> list[str]:
    """The service's last messages, oldest first."""
    done = system("journalctl", "--unit=deblurkit", f"--lines={LINES}", "--output=cat", "--no-pager", "--quiet")
    return done.stdout.splitlines()
