"""Wheels for a board that cannot reach the package index, downloaded here for its Python and its processor."""

import subprocess
import sys
from pathlib import Path

from device.deploy.preflight import Facts
from device.errors import RunError

EXTRA = "live"


def download(requirements: tuple[str, ...], constraints: Path, facts: Facts, folder: Path) -> float:
    """Put the wheels of these requirements, and of everything they require, into `folder`; returns MiB. Raises RunError.

    pip can download for another Python, but evaluates markers ("python_full_version >= '3.12'") with its own, so `applicable`
    evaluates them.
    """
    pins = [line for line in constraints.read_text().splitlines() if line.strip() and not line.startswith("#")]
    wanted, pinned = applicable(list(requirements), facts), applicable(pins, facts)
    folder.mkdir()
    (pin_file := folder / "constraints.tmp").write_text("".join(f"{line}\n" for line in pinned))
    python = f"{facts.python[0]}.{facts.python[1]}"
    tags = [f"--platform=manylinux_{facts.libc[0]}_{minor}_{facts.machine}" for minor in range(facts.libc[1], 16, -1)]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder),
        *("--constraint", pin_file, "--python-version", python, "--implementation", "cp", "--only-binary=:all:"),
        *("--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
        *(*tags, f"--platform=manylinux2014_{facts.machine}", *wanted),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", check=False)
    pin_file.unlink()
    if done.returncode != 0:
        raise RunError(f"the wheels for Python {python} on {facts.machine} cannot be downloaded: {done.stderr.strip()[-800:]}")
    return sum(wheel.stat().st_size for wheel in folder.iterdir()) / 2**20


def applicable(lines: list[str], facts: Facts) -> list[str]:
    """The requirements that apply on that board, without their markers. Raises RunError without pip."""
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError as error:
        raise RunError(f"{sys.executable} has no pip, which downloads the wheels: {sys.executable} -m ensurepip") from error
    environment = {
        "python_version": f"{facts.python[0]}.{facts.python[1]}",
        "python_full_version": ".".join(str(n) for n in facts.python),
        "platform_machine": facts.machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": EXTRA,
    }
    parsed = [Requirement(line) for line in lines]
    return [f"{one.name}{one.specifier}" for one in parsed if one.marker is None or one.marker.evaluate(environment)]
