"""picamera2, our OpenCV and LiteRT in one environment, from `scripts/setup.sh floor` as on a Raspberry Pi; no camera.

What differs from a Raspberry Pi: picamera2, simplejpeg and videodev2 are wheels of the versions in Raspberry Pi's archive, not
its packages; libcamera is Debian's (Bookworm: 0.3.2 from backports); kms++ and PiDNG are stubs; the processor is this
machine's. What is the same: Debian's Python and numpy, the constraints file, the environment with
--system-site-packages, and compiled modules of picamera2 that were built against the system's numpy.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.bundle.open import open_bundle
from device.errors import CameraLost
from device.images import quality
from device.images.frame import pixels_of
from device.images.scenes import chart
from device.images.yuv import from_rgb
from device.restore.restorer import Restorer
from device.settings import CameraSettings
from device.sources.picamera import PiCamera, cameras, controls_of, matrix_and_range

NUMPY_2 = Path("/opt/numpy2")


def test_libcamera_picamera2_opencv_and_litert_work_in_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    import libcamera
    import simplejpeg  # picamera2's compiled encoder: it breaks first with another numpy
    from ai_edge_litert.interpreter import Interpreter
    from picamera2 import Picamera2

    scene = chart(96, 128, seed=1)
    decoded = cv2.imdecode(np.frombuffer(simplejpeg.encode_jpeg(scene.copy(), 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[..., ::-1].astype(int) - scene).mean() < 6
    with Restorer(open_bundle("nano")) as restorer:
        restored = restorer.restore(from_rgb(scene))
    assert restored.shape == (96, 128)
    assert quality.psnr(pixels_of(restored), scene) > 20
    assert Interpreter.__module__.startswith("ai_edge_litert")
    assert callable(Picamera2)
    with capsys.disabled():
        packages = ("picamera2", "simplejpeg", "numpy", "opencv-python-headless", "ai-edge-litert")
        print("\n", Path(libcamera.__file__).parent, *(f"{name} {version(name)}" for name in packages), sep=" ")


def test_picamera2_is_the_system_s_and_opencv_the_environment_s() -> None:
    import picamera2

    assert "/usr/lib/python3" in str(picamera2.__file__)
    assert "/.venv/" in str(cv2.__file__)


def test_on_bookworm_numpy_stays_the_version_that_picamera2_was_compiled_against() -> None:
    if os.environ["PICAMERA_RIG"] != "imports-bookworm":
        pytest.skip("on Trixie everything is compiled against numpy 2")
    assert np.__version__.startswith("1.")
    assert "/usr/lib/python3" in str(np.__file__)


def test_without_a_camera_the_list_is_empty_and_opening_one_says_where_to_look() -> None:
    assert cameras() == []
    with pytest.raises(CameraLost, match=r"picamera2:0: no such camera, libcamera finds none; check the ribbon"):
        PiCamera(0, CameraSettings())


def test_libcamera_s_colour_spaces_become_matrix_and_range() -> None:
    from libcamera import ColorSpace

    assert matrix_and_range(ColorSpace.Sycc()) == ("bt601", True)
    assert matrix_and_range(ColorSpace.Smpte170m()) == ("bt601", False)
    assert matrix_and_range(ColorSpace.Rec709()) == ("bt709", False)


def test_settings_become_libcamera_s_controls() -> None:
    import libcamera
    from libcamera import controls as known

    offered = dict.fromkeys(("AfMode", "AnalogueGain", "ExposureTime", "FrameDurationLimits", "LensPosition"))
    offered |= dict.fromkeys(("NoiseReductionMode", "Sharpness"))
    automatic = controls_of(CameraSettings(fps=25), offered, libcamera)
    assert automatic == {"FrameDurationLimits": (40000, 40000), "AfMode": known.AfModeEnum.Continuous}
    settings = CameraSettings(fps=30, exposure_ms=50, gain=2, focus="2.5", sharpness=0, noise_reduction="off")
    assert controls_of(settings, offered, libcamera) == {
        "FrameDurationLimits": (50000, 50000),  # the exposure has to fit
        "ExposureTime": 50000,
        "AnalogueGain": 2,
        "AfMode": known.AfModeEnum.Manual,
        "LensPosition": 2.5,
        "Sharpness": 0,
        "NoiseReductionMode": known.draft.NoiseReductionModeEnum.Off,
    }
    assert all(hasattr(known, name) or hasattr(known.draft, name) for name in offered)
    assert controls_of(CameraSettings(), {}, libcamera) == {}


def test_for_numpy_2_on_bookworm_the_error_names_the_fix() -> None:
    if not NUMPY_2.is_dir():
        pytest.skip("on Trixie everything is compiled against numpy 2")
    code = "from device.sources.picamera import cameras; cameras()"
    path = f"{NUMPY_2}:/usr/lib/python3/dist-packages:."  # the system's simplejpeg before the environment's newer one
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "CameraLost: picamera2 does not work with numpy 2." in done.stderr
    assert "constraints/bookworm.txt" in done.stderr
