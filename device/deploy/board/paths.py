"""Where things lie on a board, how they change there in one step, and how the system's commands are asked."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

HOME = Path("/opt/deblurkit")
CONFIG = Path("/etc/deblurkit.toml")
SIGNERS = Path("/etc/deblurkit/allowed_signers")
UNIT = Path("/etc/systemd/system/deblurkit.service")
DROP_IN = Path("/etc/systemd/system/deblurkit.service.d/deploy.conf")
CURRENT, PREVIOUS = "current", "previous"
LINES = 15  # of a log or of a command's output, that are shown
_COMMAND_S = 300.0  # longer than `service install` waits for systemd


class Refused(Exception):
    """The release is not taken, or it did not run."""

    def __init__(self, message: str, code: int = 1, **facts: Any) -> None:
        super().__init__(message)
        self.code, self.facts = code, facts


def content(file: Path) -> bytes | None:
    """What is in the file, None where there is none."""
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return None


def write(file: Path, data: bytes | None) -> None:
    """Write aside, sync, rename; None removes the file."""
    if data is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")
    with open(aside, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    aside.rename(file)


def link(name: str, release: str | None) -> None:
    """Let `current` or `previous` lead to this release, in one step; None removes it."""
    aside = HOME / f".{name}.part"
    aside.unlink(missing_ok=True)
    if release is None:
        (HOME / name).unlink(missing_ok=True)
    else:
        aside.symlink_to(f"releases/{release}")
        aside.rename(HOME / name)


def linked(name: str) -> str | None:
    """The release that `current` or `previous` leads to."""
    with suppress(OSError):
        return Path(os.readlink(HOME / name)).name
    return None


def releases() -> list[Path]:
    """All releases, oldest first, by the time at the end of their names."""
    there = (p for p in (HOME / "releases").iterdir() if not p.name.startswith("."))
    return sorted(there, key=lambda p: p.name.rpartition("-")[2])


def system(*what: object) -> "subprocess.CompletedProcess[str]":
    """A command of the system, run to its end whoever listens; one that cannot be begun ended with 127."""
    words = [str(word) for word in what]
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S,
            check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))


def tail(text: str) -> str:
    """The last lines."""
    return "\n".join(text.strip().splitlines()[-LINES:])
