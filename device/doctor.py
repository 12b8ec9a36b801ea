"""deblurkit doctor: what this machine has and lacks, with the line that fixes each."""

import os
import platform
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from device import runtimes, selfcheck
from device.bundle import open_bundle, shipped
from device.console import new_parser, print_json, start_logging
from device.errors import OK, CameraLost, DeblurkitError
from device.restorer import Restorer
from device.sources.v4l2 import first_camera
from device.telemetry import temperature_c

EXAMPLE = "deblurkit doctor --json"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    """`ok`, `missing` (something optional, or something needed later) or `bad` (the kit cannot run)."""
    found: str
    mend: str = ""
    """The line that fixes it."""


def main(argv: list[str]) -> int:
    """Print findings; ends with 1 when the kit cannot run here."""
    options = new_parser("doctor", "Say what this machine has and lacks, with the line that fixes each.", EXAMPLE).parse_args(
        argv
    )
    start_logging(options.quiet)
    findings = [finding for check in CHECKS for finding in check()]
    bad = any(f.state == "bad" for f in findings)
    if options.json:
        print_json({"ok": not bad, "findings": [asdict(f) for f in findings]})
    else:
        for f in findings:
            if not (options.quiet and f.state == "ok"):
                print(f"{f.state:8}{f.what:22}{f.found}" + (f"\n{'':30}mend: {f.mend}" if f.mend else ""))
    return 1 if bad else OK


def _system() -> Iterator[Finding]:
    bits = struct.calcsize("P") * 8
    machine = f"{platform.machine()}, {bits}-bit, {os.cpu_count()} cores, {platform.system()}"
    if bits == 64 and platform.machine() in ("x86_64", "aarch64", "arm64"):
        yield Finding("system", "ok", machine)
    else:
        yield Finding("system", "bad", machine, "deblurkit needs a 64-bit system; flash the 64-bit Raspberry Pi OS")
    model = Path("/proc/device-tree/model")
    if model.exists():
        yield Finding("board", "ok", model.read_text(errors="replace").strip("\x00\n"))
    python = platform.python_version()
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("python", "ok" if supported else "bad", python, "" if supported else "use Python 3.11, 3.12 or 3.13")
    degrees = temperature_c()
    yield Finding("temperature", "ok", "not told by this system" if degrees is None else f"{degrees:.0f} °C")


def _packages() -> Iterator[Finding]:
    for package in ("numpy", "opencv-python-headless"):
        names = [package, "opencv-python"] if package.startswith("opencv") else [package]
        found = [f"{name} {version(name)}" for name in names if _has(name)]
        if len(found) > 1:
            yield Finding("opencv", "bad", " and ".join(found), "pip uninstall opencv-python   (both own cv2: keep one)")
        elif found:
            yield Finding(package.split("-")[0], "ok", found[0])
        else:
            yield Finding(package.split("-")[0], "bad", "not installed", f"pip install {package}")


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _runtimes() -> Iterator[Finding]:
    none = not any(runtimes.installed(name) for name in ("litert", "tflite_runtime", "onnxruntime"))
    for name, (formats, _, line) in runtimes.RUNTIMES.items():
        reads = f"reads {', '.join(formats)}"
        if runtimes.installed(name):
            yield Finding(name, "ok", reads)
        else:
            yield Finding(name, "bad" if none and name == "litert" else "missing", f"not installed ({reads})", line)


def _bundles() -> Iterator[Finding]:
    names = shipped()
    if not names:
        yield Finding("bundle", "bad", "no bundle is shipped with this installation", "install deblurkit again")
    for name in names:
        try:
            bundle = open_bundle(name)
            with Restorer(bundle) as restorer:
                reached, quality = selfcheck.scenes_psnr(restorer), restorer.artifact.quality
        except DeblurkitError as error:
            yield Finding(f"bundle {name}", "bad", str(error), "install deblurkit again")
            continue
        expected = quality.scenes_psnr_db if quality else reached
        found = f"{restorer.artifact.label} on {restorer.runtime_name}: scenes {reached:.2f} dB, at export {expected:.2f} dB"
        if abs(reached - expected) <= selfcheck.TOLERANCE_DB:
            yield Finding(f"bundle {name}", "ok", found)
        else:
            yield Finding(
                f"bundle {name}",
                "bad",
                found,
                "another runtime may compute rightly: try `deblurkit run --runtime onnxruntime`",
            )


def _camera() -> Iterator[Finding]:
    try:
        yield Finding("camera", "ok", first_camera())
    except CameraLost as error:
        yield Finding("camera", "missing", str(error).split(";", maxsplit=1)[0], "plug a camera in, or use --source demo")


def _commands() -> Iterator[Finding]:
    for package, need in (("keras", "train"), ("tf2onnx", "export"), ("matplotlib", "bench")):
        if _has(package):
            yield Finding(need, "ok", f"{package} {version(package)}")
        else:
            yield Finding(need, "missing", f"{package} is not installed (needed on a workstation only)", "make setup")
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding(
        "disk",
        "ok" if free_gib > 0.5 else "missing",
        f"{free_gib:.1f} GiB free",
        "" if free_gib > 0.5 else "free some space",
    )


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_system, _packages, _runtimes, _bundles, _camera, _commands)
