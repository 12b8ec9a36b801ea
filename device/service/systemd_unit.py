"""The text of the systemd unit: the template beside this file, filled with where the kit lies on this machine."""

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
_HOMES = ("/home", "/root", "/run/user")  # what ProtectHome hides
_NEEDED = ("device", "numpy", "cv2", "ai_edge_litert")  # a user who can read these can read what lies beside them


def command() -> Path:
    """The `deblurkit` of the environment that runs this. Raises UsageError where it is not installed."""
    found = Path(sysconfig.get_path("scripts")).resolve() / "deblurkit"
    if not found.is_file():
        raise UsageError(f"{found}: no such file; a service needs the kit installed: `make run` once, or pip install it")
    return found


def folders() -> list[Path]:
    """The folders that hold Python, its packages and the kit, none within another."""
    wanted = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix, Path(device.__file__).parent.parent)}
    return sorted(p for p in wanted if not any(other in p.parents for other in wanted))


def rendered(program: Path, needed: list[Path]) -> str:
    """The unit that runs `program`, and sees of people's home folders only those `needed`."""
    at_home = [p for p in needed if any(p.is_relative_to(home) for home in _HOMES)]
    binds = "".join(f"BindReadOnlyPaths={_quoted(p)}\n" for p in at_home)
    return TEMPLATE.read_text().replace("@COMMAND@", _quoted(program)).replace("@BINDS@", binds)


def _quoted(path: Path) -> str:
    """As systemd reads a path that may hold spaces (systemd.syntax(7)); % begins a specifier."""
    if re.search(r"[^\w\s./%@+,=~#()&'!\[\]{}-]|[\n\r\t]", str(path)):
        raise UsageError(f"{path}: has a character that systemd reads as something else; install the kit in a plainer place")
    return '"' + str(path).replace("%", "%%") + '"'


def require_readable(program: Path, needed: list[Path]) -> None:
    """The service has a user of its own, who must be able to read the kit. Raises UsageError with the line that allows it.

    A folder under a home is put where the service finds it, so the home itself may stay closed (0700 on Raspberry Pi OS).
    """
    specs = [spec for name in _NEEDED if (spec := importlib.util.find_spec(name)) is not None]
    files = [program, Path(sys.executable).resolve(), *(Path(spec.origin).resolve() for spec in specs if spec.origin)]
    for file in files:
        top = next((p for p in needed if p in file.parents and any(p.is_relative_to(h) for h in _HOMES)), None)
        for place in (*reversed(file.parents), file):
            if top is not None and place in top.parents:
                continue
            wanted = stat.S_IROTH if place == file else stat.S_IXOTH
            if not os.stat(place).st_mode & wanted:
                raise UsageError(
                    f"{place}: other users cannot read it, so the service's own user could not; allow it: "
                    f"sudo chmod -R o+rX '{place}'"
                )
