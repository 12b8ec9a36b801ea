"""Packages, runtimes, the shipped bundles, the tuned choice, and what the other commands need."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import device.runtimes
from device.bundle.open import open_bundle, shipped
from device.doctor.diagnosis import Diagnosis
from device.errors import DataError, DeblurkitError
from device.loop import tuned
from device.restore import self_check
from device.restore.restorer import Restorer


def packages() -> Iterator[Diagnosis]:
    """Are numpy and OpenCV installed, and only one OpenCV package?"""
    for package in ("numpy", "opencv-python-headless"):
        names = [package, "opencv-python"] if package.startswith("opencv") else [package]
        found = [f"{name} {version(name)}" for name in names if _has(name)]
        if len(found) > 1:
            yield Diagnosis("opencv", "bad", " and ".join(found), "pip uninstall opencv-python   (both provide cv2: keep one)")
        elif found:
            yield Diagnosis(package.split("-")[0], "ok", found[0])
        else:
            yield Diagnosis(package.split("-")[0], "bad", "not installed", f"pip install {package}")


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def runtimes() -> Iterator[Diagnosis]:
    """Which inference runtimes are installed?"""
    none = not any(device.runtimes.installed(name) for name in ("litert", "tflite_runtime", "onnxruntime"))
    for name, info in device.runtimes.RUNTIMES.items():
        reads = f"reads {', '.join(info.formats)}"
        if device.runtimes.installed(name):
            yield Diagnosis(name, "ok", reads)
        else:
            yield Diagnosis(name, "bad" if none and name == "litert" else "missing", f"not installed ({reads})", info.install)


def bundles() -> Iterator[Diagnosis]:
    """Do the shipped bundles restore as well here as at export?"""
    names = shipped()
    if not names:
        yield Diagnosis("bundle", "bad", "this installation has no shipped bundle", "install deblurkit again")
    for name in names:
        try:
            bundle = open_bundle(name)
            with Restorer(bundle) as restorer:
                reached, quality = self_check.scenes_psnr(restorer), restorer.artifact.quality
        except DeblurkitError as error:
            yield Diagnosis(f"bundle {name}", "bad", str(error), "install deblurkit again")
            continue
        expected = quality.scenes_psnr_db if quality else reached
        found = f"{restorer.artifact.label} on {restorer.runtime_name}: scenes {reached:.2f} dB, at export {expected:.2f} dB"
        if abs(reached - expected) <= self_check.TOLERANCE_DB:
            yield Diagnosis(f"bundle {name}", "ok", found)
        else:
            yield Diagnosis(
                f"bundle {name}",
                "bad",
                found,
                "another runtime may compute correctly: try `deblurkit run --runtime onnxruntime`",
            )


def measurement() -> Iterator[Diagnosis]:
    """Is there a result of `bench --pick` for this machine, and is it still valid?"""
    fix = "deblurkit bench --pick   (for the service: with sudo, while the service is stopped)"
    try:
        measured = tuned.read(tuned.folder())
    except DataError as error:
        yield Diagnosis("measurement", "poor", str(error), fix)
        return
    if measured is None:
        yield Diagnosis("measurement", "missing", "none for this board, so the fastest choice is unknown", fix)
    elif why := tuned.stale_reason(measured):
        yield Diagnosis("measurement", "poor", f"stale: {why}", fix)
    else:
        yield Diagnosis("measurement", "ok", f"{measured.label}, measured {measured.measured}")


def commands() -> Iterator[Diagnosis]:
    """Are the packages of the other commands installed?"""
    workstation = "(needed on a workstation only)"
    for package, command, purpose, install in (
        ("keras", "train", workstation, "make setup"),
        ("tf2onnx", "export", workstation, "make setup"),
        ("matplotlib", "bench --report", "(needed for the plots of the report)", "pip install matplotlib"),
        ("jinja2", "bench --report", "(needed for the HTML report)", "pip install jinja2"),
    ):
        if _has(package):
            yield Diagnosis(command, "ok", f"{package} {version(package)}")
        else:
            yield Diagnosis(command, "missing", f"{package} is not installed {purpose}", install)
