"""The fixtures of fake and network cameras (tests/support)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from camera_fixtures import mjpeg, rtsp, watch  # noqa: F401
