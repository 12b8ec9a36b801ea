"""Files and links of a release on the board, each changed in one step; and how the system's commands are run."""

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
SHOWN_LINES = 15  # of a log or of a command's output
_COMMAND_TIMEOUT_S = 300.0  # longer than `service install` waits for systemd


class Refused(Exception):
    """The board does not accept the release, or the release did not run."""

    def __init__(self, message: str, code: int = 1, **facts: Any) -> None:
        super().__init__(message)
        self.code, self.facts = code, facts


def read_if_exists(file: Path) -> bytes | None:
    """The content of a file; None if it does not exist."""
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return None


def write_or_remove(file: Path, data: bytes | None) -> None:
    """Write to a temporary file, sync, rename; None removes the file."""
    if data is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    with open(temporary, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(file)


def set_link(name: str, release: str | None) -> None:
    """Point `current` or `previous` at this release, in one step; None removes the link."""
    temporary = HOME / f".{name}.part"
    temporary.unlink(missing_ok=True)
    if release is None:
        (HOME / name).unlink(missing_ok=True)
    else:
        temporary.symlink_to(f"releases/{release}")
        temporary.rename(HOME / name)


def linked_release(name: str) -> str | None:
    """The release that `current` or `previous` points at; None without the link."""
    with suppress(OSError):
        return Path(os.readlink(HOME / name)).name
    return None


def releases() -> list[Path]:
    """All releases, oldest first, by the time at the end of their names."""
    complete = (path for path in (HOME / "releases").iterdir() if not path.name.startswith("."))
    return sorted(complete, key=lambda path: path.name.rpartition("-")[2])


def run_command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a command of the system to its end, even if the connection is lost. Status 127 if it cannot start or takes too long."""
    words = [str(argument) for argument in arguments]
    try:
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_COMMAND_TIMEOUT_S,
            check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))


def tail(text: str) -> str:
    """The last lines of a text."""
    return "\n".join(text.strip().splitlines()[-SHOWN_LINES:])
