"""Wheels for a board without a way to the package index, downloaded here for its Python and its processor."""

import subprocess
import sys
from pathlib import Path

from device.deploy.preflight import Facts
from device.errors import RunError

EXTRA = "live"


def download(requirements: tuple[str, ...], constraints: Path, facts: Facts, folder: Path) -> float:
    """Put the wheels of these requirements and of all that they need into `folder`; their size in MiB. Raises RunError.

    pip downloads for another Python, but reads markers ("python_full_version >= '3.12'") for its own: they are judged here.
    """
    pins = [line for line in constraints.read_text().splitlines() if line.strip() and not line.startswith("#")]
    wanted, pinned = judged(list(requirements), facts), judged(pins, facts)
    folder.mkdir()
    (listed := folder / "constraints.tmp").write_text("".join(f"{line}\n" for line in pinned))
    python = f"{facts.python[0]}.{facts.python[1]}"
    tags = [f"--platform=manylinux_{facts.libc[0]}_{minor}_{facts.machine}" for minor in range(facts.libc[1], 16, -1)]
    line = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder),
        *("--constraint", listed, "--python-version", python, "--implementation", "cp", "--only-binary=:all:"),
        *("--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
        *(*tags, f"--platform=manylinux2014_{facts.machine}", *wanted),
    ]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, errors="replace", check=False)
    listed.unlink()
    if done.returncode != 0:
        raise RunError(f"the wheels for Python {python} on {facts.machine} cannot be downloaded: {done.stderr.strip()[-800:]}")
    return sum(wheel.stat().st_size for wheel in folder.iterdir()) / 2**20


def judged(lines: list[str], facts: Facts) -> list[str]:
    """The requirements that hold on that board, without their markers. Raises RunError where pip cannot tell."""
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError as error:
        raise RunError(f"{sys.executable} has no pip, which downloads the wheels: {sys.executable} -m ensurepip") from error
    there = {
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
    found = [Requirement(line) for line in lines]
    return [f"{one.name}{one.specifier}" for one in found if one.marker is None or one.marker.evaluate(there)]
