"""picamera2, our OpenCV and LiteRT in one environment, made by `scripts/setup.sh floor` as on a Raspberry Pi; no camera.

What differs from a Raspberry Pi: picamera2, simplejpeg and videodev2 are wheels of the versions that Raspberry Pi's archive
has, not its packages; libcamera is Debian's (Bookworm: 0.3.2 of backports); kms++ and PiDNG are stubs; x86-64 or whatever
this machine is. What is the same: Debian's Python and numpy, the constraints file, the environment with
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

from device.bundle import open_bundle
from device.errors import CameraLost
from device.frame import Frame
from device.restorer import Restorer
from device.scene import chart
from device.settings import CameraSettings
from device.sources.picamera import PiCamera, cameras
from device.yuv import from_rgb

NUMPY_2 = Path("/opt/numpy2")


def test_libcamera_picamera2_opencv_and_litert_work_in_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    import libcamera
    import simplejpeg  # picamera2's compiled encoder: what breaks first with another numpy
    from ai_edge_litert.interpreter import Interpreter
    from picamera2 import Picamera2

    scene = chart(96, 128, seed=1)
    decoded = cv2.imdecode(np.frombuffer(simplejpeg.encode_jpeg(scene.copy(), 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[..., ::-1].astype(int) - scene).mean() < 6
    with Restorer(open_bundle("nano")) as restorer:
        restored = restorer.restore(Frame(0, 0.0, from_rgb(scene)))
    assert restored.size_wh == (128, 96)
    assert not restored.mark
    assert Interpreter.__module__.startswith("ai_edge_litert")
    assert callable(Picamera2)
    with capsys.disabled():
        packages = ("picamera2", "simplejpeg", "numpy", "opencv-python-headless", "ai-edge-litert")
        print("\n", Path(libcamera.__file__).parent, *(f"{name} {version(name)}" for name in packages), sep=" ")


def test_the_system_s_picamera2_and_the_environment_s_opencv_are_what_is_imported() -> None:
    import picamera2

    assert "/usr/lib/python3" in str(picamera2.__file__)
    assert "/.venv/" in str(cv2.__file__)


def test_on_bookworm_numpy_stays_the_one_that_picamera2_was_compiled_against() -> None:
    if os.environ["PICAMERA_RIG"] != "imports-bookworm":
        pytest.skip("on Trixie everything is compiled against numpy 2")
    assert np.__version__.startswith("1.")
    assert "/usr/lib/python3" in str(np.__file__)


def test_without_a_camera_there_is_none_and_opening_one_says_where_to_look() -> None:
    assert cameras() == []
    with pytest.raises(CameraLost, match=r"picamera2:0: no such camera, libcamera sees none; look at the ribbon"):
        PiCamera(0, CameraSettings())


def test_numpy_2_on_bookworm_is_named_with_the_line_that_mends_it() -> None:
    if not NUMPY_2.is_dir():
        pytest.skip("on Trixie everything is compiled against numpy 2")
    code = "from device.sources.picamera import cameras; cameras()"
    path = f"{NUMPY_2}:/usr/lib/python3/dist-packages:."  # the system's simplejpeg before the environment's newer one
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "CameraLost: picamera2 does not fit numpy 2." in done.stderr
    assert "constraints/bookworm.txt" in done.stderr
