"""Start a Python process of our own: for a camera, a publisher, a check of the doctor, a benchmark.

Not for an interpreter that the user names (`bench --python`): it has its own installation of the kit.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import device

_ROOT = str(Path(device.__file__).resolve().parent.parent)


def start_python(*arguments: str, **options: Any) -> subprocess.Popen[Any]:
    """Start this interpreter with `arguments` and with our packages importable; `options` are those of Popen."""
    return subprocess.Popen(_command(arguments), env=_environment(), **options)


def run_python(*arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run this interpreter to its end. Raises subprocess.TimeoutExpired after killing it when the time is over."""
    return subprocess.run(
        _command(arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=_environment(),
        check=False,
    )


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-P", *arguments]  # -P: never import from the current folder


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
