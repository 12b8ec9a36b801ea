"""What a board is, and whether the kit can live there. Nothing is changed by looking."""

import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from device.errors import RunError

# Runs in whatever shell the board has: it must also tell of boards without a Python that serves.
SCRIPT = r"""
tell() { printf 'look:%s=%s\n' "$1" "$2"; }
tell machine "$(uname -m)"
tell bits "$(getconf LONG_BIT 2>/dev/null)"
tell libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
tell python "$(/usr/bin/python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)"
tell venv "$(/usr/bin/python3 -c 'import ensurepip, venv; print("yes")' 2>/dev/null)"
tell systemd "$([ -d /run/systemd/system ] && echo yes)"
tell codename "$( (. /etc/os-release; echo "$VERSION_CODENAME") 2>/dev/null)"
tell raspberry "$([ -e /etc/rpi-issue ] && echo yes)"
tell model "$( (tr -d '\0' </proc/device-tree/model) 2>/dev/null)"
for place in /opt/deblurkit /opt /; do [ -d "$place" ] && break; done
tell free_kib "$(df -Pk "$place" | awk 'NR == 2 { print $4 }')"
tell clock "$(date +%s)"
tell user "$(id -un)"
tell root "$(if [ "$(id -u)" = 0 ]; then echo root; elif sudo -n true 2>/dev/null; then echo sudo; fi)"
tell unit "$(sed -n 's/^ExecStart=//p' /etc/systemd/system/deblurkit.service 2>/dev/null)"
tell release "$(cat /opt/deblurkit/current/release.json 2>/dev/null)"
"""
MACHINES = ("aarch64", "x86_64")
NEEDED_MIB = 600
"""For an environment with its packages while pip unpacks them, beside what is sent."""
_DAY_S = 86400.0


@dataclass(frozen=True)
class Facts:
    """What was seen of a board."""

    machine: str
    """As `uname -m` says."""
    bits: int
    """Of the programs, 32 or 64; 0 where the board does not say."""
    libc: tuple[int, int]
    """(2, 36); (0, 0) without the GNU C library."""
    python: tuple[int, int, int]
    """Of /usr/bin/python3; (0, 0, 0) without one."""
    venv: bool
    systemd: bool
    codename: str
    """Of the system: "bookworm"."""
    raspberry: bool
    """Raspberry Pi OS, where picamera2 comes from apt."""
    model: str
    free_mib: int
    clock_s: float
    """Seconds since 1970, by the board's clock."""
    user: str
    root: str
    """`root`, `sudo` (without a password), or empty."""
    unit: str
    """What the service's unit starts."""
    release: dict[str, Any] = field(default_factory=dict)
    """release.json of what `current` leads to; empty where there is none."""

    @property
    def in_words(self) -> str:
        """For a person, in one line."""
        python = ".".join(str(n) for n in self.python)
        there = f"{self.release['id']} is there" if self.runs else "nothing of deploy's is there"
        return f"{self.model or self.machine}, {self.codename}, Python {python}, {self.free_mib} MiB free, {there}"

    @property
    def runs(self) -> str:
        """The release that the service runs; empty where that is none of deploy's."""
        name = str(self.release.get("id", ""))
        return name if name and f"/{name}/" in self.unit else ""


def read(answer: str) -> Facts:
    """Facts from what the script said; a board's shell may say more. Raises RunError where it is no shell's answer."""
    said = dict(line[5:].split("=", 1) for line in answer.splitlines() if line.startswith("look:") and "=" in line)
    if "release" not in said:
        raise RunError(f"the board's shell did not answer as a shell does ({answer[:200]!r}); expected a user with /bin/sh")
    libc = _numbers(said["libc"].removeprefix("glibc "), 2)
    python = _numbers(said["python"], 3)
    try:
        release = json.loads(said["release"] or "{}")
    except ValueError:
        release = {}
    return Facts(
        machine=said["machine"],
        bits=int(said["bits"] or 0),
        libc=(libc[0], libc[1]),
        python=(python[0], python[1], python[2]),
        venv=said["venv"] == "yes",
        systemd=said["systemd"] == "yes",
        codename=said["codename"],
        raspberry=said["raspberry"] == "yes",
        model=said["model"],
        free_mib=int(said["free_kib"] or 0) // 1024,
        clock_s=float(said["clock"]),
        user=said["user"],
        root=said["root"],
        unit=said["unit"],
        release=release if isinstance(release, dict) else {},
    )


def _numbers(text: str, count: int) -> list[int]:
    numbers = [int(word) for word in text.split(".") if word.isdigit()]
    return (numbers + [0] * count)[:count]


def missing(facts: Facts, now_s: float) -> list[str]:
    """What keeps any kit from this board: what was seen, what is expected, what to do. `now_s` is the time here."""
    return [*_system(facts), *_python(facts), *rights(facts), *_clock(facts.clock_s, now_s)]


def _system(facts: Facts) -> list[str]:
    found = []
    if facts.machine not in MACHINES or facts.bits == 32:
        kind = f"{facts.machine} with programs of {facts.bits or 'unknown'} bits"
        found.append(f"{kind}; expected a 64-bit system on {' or '.join(MACHINES)}: flash the 64-bit Raspberry Pi OS")
    elif facts.libc == (0, 0):
        found.append("no GNU C library; expected Debian, Raspberry Pi OS, Ubuntu or alike, for which there are wheels")
    if not facts.systemd:
        found.append("not started by systemd; expected systemd, which keeps the service running")
    return found


def _python(facts: Facts) -> list[str]:
    if not (3, 11) <= facts.python[:2] <= (3, 13):
        seen = "no /usr/bin/python3" if facts.python == (0, 0, 0) else f"Python {'.'.join(str(n) for n in facts.python)}"
        return [f"{seen}; expected Python 3.11, 3.12 or 3.13, as Debian and Raspberry Pi OS from Bookworm on have it"]
    if not facts.venv:
        return ["Python without venv; expected it: sudo apt install python3-venv"]
    return []


def rights(facts: Facts) -> list[str]:
    """The same of the right to change it: all that a way back needs."""
    if facts.root:
        return []
    line = f"echo '{facts.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/{facts.user}"
    return [f"{facts.user} is not root and cannot use sudo without a password; expected either: on the board, {line}"]


def room(facts: Facts, sent_mib: float) -> list[str]:
    """The same of the room on its disk for what is sent."""
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
        f"its clock says {board}, here it is {here}, and with a wrong clock no certificate holds; expected the same day: "
        f"sudo timedatectl set-ntp true, or without a network sudo date -u -s '{here}'"
    ]
