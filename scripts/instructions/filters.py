"""Count what a deconvolution filter costs on an emulated Arm core, by the library that does it.

    python scripts/instructions/filters.py
    pip install --target build/scipy --no-deps --platform manylinux_2_17_aarch64 --python-version 311 --only-binary :all: scipy
    PYTHONPATH=build/scipy python scripts/instructions/filters.py          SciPy's transforms, too

A plane of 640x480 pixels, padded as device/blur/deconvolution.py does it; instructions for each pixel of the plane, one thread.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

SIZE_HW, PADDED_HW = (480, 640), (540, 720)
TAPS = 31  # of a one-dimensional filter


def main() -> None:
    """Count each filter on each core and print a table."""
    from counting import CORES, HOME, PYTHON, emulated_root, plugin, prefix

    root = emulated_root(with_others=False)
    for core in CORES:
        command = [
            "qemu-aarch64", "-cpu", core, "-plugin", f"file={plugin()}", "-L", str(prefix(core, root)),
            str(root / "usr/bin" / PYTHON), __file__, "counted",
        ]  # fmt: skip
        environment = {
            **os.environ,
            "PYTHONPATH": f"/opt/counted:{HOME}:{os.environ.get('PYTHONPATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        totals = [int(line.split()[1]) for line in ran.stderr.splitlines() if line.startswith("instructions ")]
        names = [line.removeprefix("filter ") for line in ran.stdout.splitlines() if line.startswith("filter ")]
        for name, (before, after) in zip(names, list(pairwise(totals))[::2], strict=True):
            print(f"{core} (emulated)  {name:44} {(after - before) / (SIZE_HW[0] * SIZE_HW[1]):6.0f} per pixel", flush=True)


def filters() -> dict[str, Callable[[], object]]:
    """Each filter, ready to be called."""
    import cv2
    import numpy as np

    from device.blur.deconvolution import Deconvolver
    from device.blur.kernels import shake_kernel
    from device.blur.psf import Psf

    cv2.setNumThreads(1)
    values = np.random.default_rng(0).random(PADDED_HW, np.float32)
    plane = (values[: SIZE_HW[0], : SIZE_HW[1]] * 255).astype(np.uint8)
    taps = np.full(TAPS, 1 / TAPS, np.float32)
    wiener = values.copy()
    half = np.ones((PADDED_HW[0], PADDED_HW[1] // 2 + 1), np.complex64)

    def by_cv2() -> object:
        spectrum = cv2.dft(values)
        cv2.mulSpectrums(spectrum, wiener, 0, spectrum, conjB=True)
        return cv2.dft(spectrum, spectrum, cv2.DFT_INVERSE | cv2.DFT_SCALE, SIZE_HW[0])

    def by_numpy() -> object:
        return np.fft.irfft2(np.fft.rfft2(values) * half, PADDED_HW)

    found: dict[str, Callable[[], object]] = {
        "cv2.dft, product, inverse": by_cv2,
        "numpy.fft, product, inverse": by_numpy,
        f"cv2.sepFilter2D, {TAPS} + {TAPS} taps": lambda: cv2.sepFilter2D(values, cv2.CV_32F, taps, taps),
    }
    try:
        import scipy.fft
    except ImportError:
        pass
    else:
        found["scipy.fft, product, inverse"] = lambda: scipy.fft.irfft2(scipy.fft.rfft2(values) * half, PADDED_HW)
    shake = shake_kernel(17, np.random.default_rng(0))
    for psf in (Psf("defocus", 3.5), Psf("motion", 17.0, 30.0), Psf("measured", measured=shake)):
        deconvolver = Deconvolver(psf)
        found[f"all of our filter, {psf.kind}"] = lambda deconvolver=deconvolver: deconvolver(plane)  # type: ignore[misc]
    return found


def counted() -> None:
    """In the emulated Python: the plugin prints its count at every call of getppid."""
    gc.disable()
    for name, call in filters().items():
        call()
        print("filter", name, flush=True)
        os.getppid()
        call()
        os.getppid()


if __name__ == "__main__":
    counted() if sys.argv[1:] == ["counted"] else main()
