"""The text of the systemd unit: the template beside this file, with the paths of the kit on this machine."""

import importlib.util
import os
import re
import stat
import sys
import sysconfig
from pathlib import Path

import device
from device.errors import UsageError

TEMPLATE = Path(__file__).with_name("deblurkit.service")
_HOMES = ("/home", "/root", "/run/user")  # hidden by ProtectHome
_NEEDED = ("device", "numpy", "cv2", "ai_edge_litert")  # a user who can read these can read the other packages beside them


def command() -> Path:
    """The `deblurkit` of this environment. Raises UsageError if it is not installed."""
    program = Path(sysconfig.get_path("scripts")).resolve() / "deblurkit"
    if not program.is_file():
        raise UsageError(f"{program}: no such file; a service needs an installed kit: `make run` once, or pip install it")
    return program


def folders() -> list[Path]:
    """The folders with Python, its packages and the kit; none is inside another."""
    needed = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix, Path(device.__file__).parent.parent)}
    return sorted(path for path in needed if not any(other in path.parents for other in needed))


def render(program: Path, needed: list[Path]) -> str:
    """The unit that runs `program`. Of the home folders it sees only those `needed`."""
    at_home = [p for p in needed if any(p.is_relative_to(home) for home in _HOMES)]
    binds = "".join(f"BindReadOnlyPaths={_quoted(p)}\n" for p in at_home)
    return TEMPLATE.read_text().replace("@COMMAND@", _quoted(program)).replace("@BINDS@", binds)


def _quoted(path: Path) -> str:
    """A path, which may have spaces, for a unit (systemd.syntax(7)); % starts a specifier."""
    if re.search(r"[^\w\s./%@+,=~#()&'!\[\]{}-]|[\n\r\t]", str(path)):
        raise UsageError(f"{path}: has a character that means something else to systemd; install the kit at a path without it")
    return '"' + str(path).replace("%", "%%") + '"'


def require_readable(program: Path, needed: list[Path]) -> None:
    """Check that the service's own user can read the kit. Raises UsageError with the line that allows it.

    Folders in a home are mounted for the service, so the home itself may stay closed (0700 on Raspberry Pi OS).
    """
    specs = [spec for name in _NEEDED if (spec := importlib.util.find_spec(name)) is not None]
    files = [program, Path(sys.executable).resolve(), *(Path(spec.origin).resolve() for spec in specs if spec.origin)]
    for file in files:
        top = next((p for p in needed if p in file.parents and any(p.is_relative_to(h) for h in _HOMES)), None)
        for path in (*reversed(file.parents), file):
            if top is not None and path in top.parents:
                continue
            permission = stat.S_IROTH if path == file else stat.S_IXOTH
            if not os.stat(path).st_mode & permission:
                raise UsageError(
                    f"{path}: other users cannot read it, and neither could the service's own user; allow it: "
                    f"sudo chmod -R o+rX '{path}'"
                )
