"""Where frames come from. Adding a source: a file with a class like those here, and a line in `open_source`."""

from pathlib import Path
from typing import Protocol

from device.config import nearest
from device.errors import DataError
from device.frame import Frame
from device.picture import is_picture, is_video


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

    def read(self) -> Frame | None:
        """Wait for the next frame; None at the end. Raises CameraLost for a camera that has gone, DataError for a bad file."""

    def close(self) -> None:
        """Free the device or file. Closing twice is safe."""


def open_source(spec: str) -> Source:
    """Open `auto`, `demo`, `v4l2:/dev/video0`, a picture, a video or a folder of pictures.

    `auto` is the first camera. Raises CameraLost when there is none, DataError for a path that is nothing of the kind.
    """
    if spec == "demo":
        from device.sources.demo import Demo

        return Demo()
    if spec == "auto" or spec.startswith("v4l2:"):
        from device.sources.v4l2 import Camera, first_camera

        return Camera(first_camera() if spec == "auto" else spec.removeprefix("v4l2:"))
    path = Path(spec)
    if path.is_dir() or (path.is_file() and is_picture(path)):
        from device.sources.pictures import Pictures

        return Pictures(path)
    if path.is_file() and is_video(path):
        from device.sources.video import VideoFile

        return VideoFile(path)
    if path.exists():
        raise DataError(f"{spec}: neither a picture nor a video by its suffix; rename it, or give a folder of pictures")
    raise DataError(f"{spec}: no such file or folder, and no known source; {nearest(spec, ['auto', 'demo', 'v4l2:/dev/video0'])}")
