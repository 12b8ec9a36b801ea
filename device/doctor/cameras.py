"""Cameras: is there one, may this user open it, does apt's picamera2 work with the installed numpy?"""

import grp
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from device.doctor.diagnosis import Diagnosis
from device.sources.picamera import INSTALL
from device.system import hardware
from device.system.python_process import run_python

_ANSWER_S = 30.0  # importing picamera2 takes 5 s on a Raspberry Pi Zero 2
# Under numpy 2, a module compiled for numpy 1 fails with one of these (numpy's "common problems" and migration guide).
_NUMPY_MISMATCH = ("numpy.dtype size changed", "compiled using NumPy 1.x", "_ARRAY_API not found", "numpy.core.multiarray failed")


def permissions(root: Path = hardware.ROOT) -> Iterator[Diagnosis]:
    """May this user open the device nodes of cameras, their image processors and their buffers?"""
    nodes = [p for pattern in ("video*", "media*", "v4l-subdev*", "dma_heap/*") for p in sorted((root / "dev").glob(pattern))]
    if not nodes:
        yield Diagnosis("permissions", "missing", "no camera nodes in /dev (video*, media*, dma_heap)", "connect a camera")
        return
    closed = [p for p in nodes if not os.access(p, os.R_OK | os.W_OK)]
    if not closed:
        yield Diagnosis("permissions", "ok", f"{len(nodes)} nodes in /dev can be opened")
        return
    groups = sorted({_group(p) for p in closed})
    shown = ", ".join(f"/{p.relative_to(root)}" for p in closed[:4]) + (" …" if len(closed) > 4 else "")
    join = " and ".join(f"sudo usermod -aG {name} $USER" for name in groups if name != "root")
    fix = f"{join}; then log in again" if join else "they belong to root: install the udev rules (apt install udev)"
    yield Diagnosis("permissions", "poor", f"{shown} cannot be opened by this user (group {', '.join(groups)})", fix)


def _group(path: Path) -> str:
    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def picamera2() -> Iterator[Diagnosis]:
    """Is picamera2 installed, and does it work with the installed numpy?"""
    if importlib.util.find_spec("picamera2") is None:
        if (hardware.model() or "").startswith("Raspberry Pi"):
            yield Diagnosis("picamera2", "missing", "not installed: ribbon-cable cameras do not work", INSTALL)
        return
    code, output = _ask("import picamera2")
    if code == 0:
        yield Diagnosis("picamera2", "ok", _version("picamera2"))
    elif any(sign in output for sign in _NUMPY_MISMATCH):
        found = f"{_version('picamera2')} was built for a different numpy than {_version('numpy')}"
        fix = "pip install -c constraints/bookworm.txt numpy opencv-python-headless   (numpy below 2, like apt's)"
        yield Diagnosis("picamera2", "poor", found, fix)
    else:
        last = output.strip().splitlines()[-1] if output.strip() else f"ended with {code}"
        yield Diagnosis("picamera2", "poor", f"cannot be imported: {last}", "sudo apt install --reinstall python3-picamera2")


def camera() -> Iterator[Diagnosis]:
    """The first camera. Looked for in a separate process, because libcamera leaves threads behind and may hang."""
    code, output = _ask("from device.sources.open_camera import first_camera; print(first_camera())")
    lines = output.strip().splitlines() or [f"ended with {code}"]
    if code == 0:
        yield Diagnosis("camera", "ok", lines[-1])
        return
    reason = lines[-1].removeprefix("device.errors.CameraLost: ").split(";", maxsplit=1)[0]
    yield Diagnosis("camera", "missing", reason, "connect a camera, or use --source demo")


def _ask(code: str) -> tuple[int, str]:
    """(exit code, output or, on failure, errors) of a separate Python process; 124 if it does not end in time."""
    try:
        done = run_python("-c", code, timeout_s=_ANSWER_S)
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {_ANSWER_S:.0f} s"
    return done.returncode, done.stderr if done.returncode else done.stdout


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
