"""The fixtures of cameras, of the loop and of `deploy`, which lie with the rigs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from camera_fixtures import mjpeg, rtsp, rtsp_record, watch  # noqa: F401
from deploy_parts import kit  # noqa: F401
from loop_parts import models  # noqa: F401
