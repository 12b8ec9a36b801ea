"""Facts about a board, and whether the kit can run there. Reading them changes nothing on the board."""

import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from device.errors import RunError

# Runs in any shell that a board may have. It must also report boards without a usable Python.
SCRIPT = r"""
fact() { printf 'fact:%s=%s\n' "$1" "$2"; }
fact machine "$(uname -m)"
fact bits "$(getconf LONG_BIT 2>/dev/null)"
fact libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
fact python "$(/usr/bin/python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)"
fact venv "$(/usr/bin/python3 -c 'import ensurepip, venv; print("yes")' 2>/dev/null)"
fact systemd "$([ -d /run/systemd/system ] && echo yes)"
fact codename "$( (. /etc/os-release; echo "$VERSION_CODENAME") 2>/dev/null)"
fact raspberry "$([ -e /etc/rpi-issue ] && echo yes)"
fact model "$( (tr -d '\0' </proc/device-tree/model) 2>/dev/null)"
for place in /opt/deblurkit /opt /; do [ -d "$place" ] && break; done
fact free_kib "$(df -Pk "$place" | awk 'NR == 2 { print $4 }')"
fact clock "$(date +%s)"
fact user "$(id -un)"
fact root "$(if [ "$(id -u)" = 0 ]; then echo root; elif sudo -n true 2>/dev/null; then echo sudo; fi)"
fact unit "$(sed -n 's/^ExecStart=//p' /etc/systemd/system/deblurkit.service 2>/dev/null)"
fact release "$(cat /opt/deblurkit/current/release.json 2>/dev/null)"
"""
MACHINES = ("aarch64", "x86_64")
NEEDED_MIB = 600
"""For an environment while pip unpacks its packages, in addition to what is sent."""
_DAY_S = 86400.0


@dataclass(frozen=True)
class Facts:
    """The facts about a board."""

    machine: str
    """From `uname -m`."""
    bits: int
    """Of its programs, 32 or 64; 0 if unknown."""
    libc: tuple[int, int]
    """(2, 36); (0, 0) without the GNU C library."""
    python: tuple[int, int, int]
    """The version of /usr/bin/python3; (0, 0, 0) without it."""
    venv: bool
    systemd: bool
    codename: str
    """Of the system: "bookworm"."""
    raspberry: bool
    """Whether it is Raspberry Pi OS, where picamera2 comes from apt."""
    model: str
    free_mib: int
    clock_s: float
    """Seconds since 1970, by the board's clock."""
    user: str
    root: str
    """`root`, `sudo` (without a password), or empty."""
    unit: str
    """The command in the service's unit."""
    release: dict[str, Any] = field(default_factory=dict)
    """release.json of the release that `current` points at; empty without one."""

    @property
    def summary(self) -> str:
        """For a person, in one line."""
        python = ".".join(str(n) for n in self.python)
        installed = f"runs {self.release['id']}" if self.running_release else "runs no release of deploy"
        return f"{self.model or self.machine}, {self.codename}, Python {python}, {self.free_mib} MiB free, {installed}"

    @property
    def running_release(self) -> str:
        """The release that the service runs; empty if deploy did not install it."""
        name = str(self.release.get("id", ""))
        return name if name and f"/{name}/" in self.unit else ""


def parse(output: str) -> Facts:
    """The facts in the output of SCRIPT, which may have other lines too. Raises RunError if there are none."""
    answers = dict(line[5:].split("=", 1) for line in output.splitlines() if line.startswith("fact:") and "=" in line)
    if "release" not in answers:
        raise RunError(f"the board's shell did not run the script (it answered {output[:200]!r}); expected a user with /bin/sh")
    libc = _numbers(answers["libc"].removeprefix("glibc "), 2)
    python = _numbers(answers["python"], 3)
    try:
        release = json.loads(answers["release"] or "{}")
    except ValueError:
        release = {}
    return Facts(
        machine=answers["machine"],
        bits=int(answers["bits"] or 0),
        libc=(libc[0], libc[1]),
        python=(python[0], python[1], python[2]),
        venv=answers["venv"] == "yes",
        systemd=answers["systemd"] == "yes",
        codename=answers["codename"],
        raspberry=answers["raspberry"] == "yes",
        model=answers["model"],
        free_mib=int(answers["free_kib"] or 0) // 1024,
        clock_s=float(answers["clock"] or 0),
        user=answers["user"],
        root=answers["root"],
        unit=answers["unit"],
        release=release if isinstance(release, dict) else {},
    )


def _numbers(text: str, count: int) -> list[int]:
    numbers = [int(word) for word in text.split(".") if word.isdigit()]
    return (numbers + [0] * count)[:count]


def problems(facts: Facts, now_s: float) -> list[str]:
    """Why this board cannot run any kit: what was seen, what is expected, what to do. `now_s` is the time here."""
    return [*_system(facts), *_python(facts), *permission_problems(facts), *_clock(facts.clock_s, now_s)]


def _system(facts: Facts) -> list[str]:
    found = []
    if facts.machine not in MACHINES or facts.bits == 32:
        kind = f"{facts.machine} with programs of {facts.bits or 'unknown'} bits"
        found.append(f"{kind}; expected a 64-bit system on {' or '.join(MACHINES)}: flash the 64-bit Raspberry Pi OS")
    elif facts.libc == (0, 0):
        found.append("no GNU C library; expected Debian, Raspberry Pi OS, Ubuntu or another system that standard wheels run on")
    if not facts.systemd:
        found.append("not started by systemd; expected systemd, which keeps the service running")
    return found


def _python(facts: Facts) -> list[str]:
    if not (3, 11) <= facts.python[:2] <= (3, 13):
        seen = "no /usr/bin/python3" if facts.python == (0, 0, 0) else f"Python {'.'.join(str(n) for n in facts.python)}"
        return [f"{seen}; expected Python 3.11, 3.12 or 3.13, which Debian and Raspberry Pi OS have since Bookworm"]
    if not facts.venv:
        return ["Python without venv; install it: sudo apt install python3-venv"]
    return []


def permission_problems(facts: Facts) -> list[str]:
    """Why this user cannot change the board. A rollback needs nothing else."""
    if facts.root:
        return []
    line = f"echo '{facts.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{facts.user}"
    return [f"{facts.user} is not root and cannot use sudo without a password; to allow it, run on the board: {line}"]


def space_problems(facts: Facts, sent_mib: float) -> list[str]:
    """Why the board's disk has no room for what is sent."""
    needed = NEEDED_MIB + round(sent_mib)
    if facts.free_mib >= needed:
        return []
    return [
        f"{facts.free_mib} MiB free for /opt/deblurkit; expected {needed} MiB: sudo apt clean; sudo journalctl --vacuum-size=50M"
    ]


def _clock(board_s: float, now_s: float) -> list[str]:
    if abs(board_s - now_s) <= _DAY_S:
        return []
    board, here = (datetime.datetime.fromtimestamp(s, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC") for s in (board_s, now_s))
    return [
        f"its clock says {board}, here it is {here}, and a wrong clock makes every certificate invalid; expected the same day: "
        f"sudo timedatectl set-ntp true, or without a network sudo date -u -s '{here}'"
    ]
