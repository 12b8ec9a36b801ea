"""Where frames come from. Adding a source: a file with a class like those here, and a line in `open_source`.

Cameras are opened in a process of their own (`device/sources/watched.py`), which is killed and begun again when a read
does not return; `open_camera` is what that process calls.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device.config import nearest
from device.errors import DataError
from device.images.frame import Frame
from device.images.picture import is_picture, is_video
from device.settings import CameraSettings


@dataclass(frozen=True)
class Status:
    """How a source is doing."""

    ok: bool = True
    """False while it delivers cards instead of pictures."""
    reason: str = ""
    """What is wrong, in words; empty where nothing is."""
    reopened: int = 0
    """How often it was opened again."""
    bad_frames: int = 0
    """Frames thrown away: truncated, empty, green."""


class Source(Protocol):
    """Delivers frames. The opener owns it and closes it; `read` is called from one thread, `close` from any."""

    live: bool
    """True where only the newest frame matters (camera, demo); False where every frame does, in order (files)."""
    description: str
    fps: float
    """Nominal frames per second; 0.0 where there is no such thing."""
    total: int
    """Number of frames, 0 when unknown."""
    origin: Path | None
    """The file or folder it reads, resolved; None for a camera."""
    status: Status

    def read(self) -> Frame | None:
        """Wait for the next frame; None at the end. Raises CameraLost for a camera that has gone, DataError for a bad file."""

    def close(self) -> None:
        """Free the device or file. Closing twice is safe."""


CAMERAS = ("auto", "picamera2", "picamera2:1", "v4l2:/dev/video0", "rtsp://host/path", "http://host/stream.mjpg")


def open_source(
    spec: str, camera: CameraSettings | None = None, wait: bool = False, stop: threading.Event | None = None
) -> Source:
    """Open a camera (`auto`, `picamera2`, `v4l2:/dev/video0`, `rtsp://…`, `http://…`), `demo`, a picture, a video or a folder.

    `auto` is the first camera. With `wait` a camera that is not there yet is waited for, behind a card that says so;
    `stop` ends that waiting.
    Raises CameraLost when there is none, DataError for a path that is nothing of the kind.
    """
    camera = camera or CameraSettings()
    if spec == "demo":
        from device.sources.demo import Demo

        return Demo(*camera.size_wh, camera.fps)
    if spec.partition(":")[0] in ("auto", "picamera2", "v4l2", "rtsp", "http", "https"):
        from device.sources.watched import Watched

        return Watched(spec, camera, wait, stop=stop)
    path = Path(spec)
    if path.is_dir() or (path.is_file() and is_picture(path)):
        from device.sources.pictures import Pictures

        return Pictures(path)
    if path.is_file() and is_video(path):
        from device.sources.video import VideoFile

        return VideoFile(path)
    if path.exists():
        raise DataError(f"{spec}: neither a picture nor a video by its suffix; rename it, or give a folder of pictures")
    raise DataError(f"{spec}: no such file or folder, and no known source; {nearest(spec, ['demo', *CAMERAS])}")
