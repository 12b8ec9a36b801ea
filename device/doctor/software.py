"""Packages, runtimes, the shipped bundles, and what the other commands need."""

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
    """numpy and OpenCV."""
    for package in ("numpy", "opencv-python-headless"):
        names = [package, "opencv-python"] if package.startswith("opencv") else [package]
        found = [f"{name} {version(name)}" for name in names if _has(name)]
        if len(found) > 1:
            yield Diagnosis("opencv", "bad", " and ".join(found), "pip uninstall opencv-python   (both own cv2: keep one)")
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
    """What can run a model."""
    none = not any(device.runtimes.installed(name) for name in ("litert", "tflite_runtime", "onnxruntime"))
    for name, info in device.runtimes.RUNTIMES.items():
        reads = f"reads {', '.join(info.formats)}"
        if device.runtimes.installed(name):
            yield Diagnosis(name, "ok", reads)
        else:
            yield Diagnosis(name, "bad" if none and name == "litert" else "missing", f"not installed ({reads})", info.install)


def bundles() -> Iterator[Diagnosis]:
    """What ships, restored with once and compared with its export."""
    names = shipped()
    if not names:
        yield Diagnosis("bundle", "bad", "no bundle is shipped with this installation", "install deblurkit again")
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
                "another runtime may compute rightly: try `deblurkit run --runtime onnxruntime`",
            )


def measurement() -> Iterator[Diagnosis]:
    """What `bench --pick` measured to be best here, and whether that still holds."""
    mend = "deblurkit bench --pick   (for the service: sudo, and the service stopped meanwhile)"
    try:
        measured = tuned.read(tuned.folder())
    except DataError as error:
        yield Diagnosis("measurement", "poor", str(error), mend)
        return
    if measured is None:
        yield Diagnosis("measurement", "missing", "none of this board: what runs best here is not known", mend)
    elif why := tuned.stale_reason(measured):
        yield Diagnosis("measurement", "poor", f"stale: {why}", mend)
    else:
        yield Diagnosis("measurement", "ok", f"{measured.label}, of {measured.measured}")


def commands() -> Iterator[Diagnosis]:
    """What the other commands need."""
    workstation = "(needed on a workstation only)"
    for package, need, where, line in (
        ("keras", "train", workstation, "make setup"),
        ("tf2onnx", "export", workstation, "make setup"),
        ("matplotlib", "bench --report", "(for the page with its plots)", "pip install matplotlib"),
    ):
        if _has(package):
            yield Diagnosis(need, "ok", f"{package} {version(package)}")
        else:
            yield Diagnosis(need, "missing", f"{package} is not installed {where}", line)
