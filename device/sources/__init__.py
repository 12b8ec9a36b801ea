"""Where frames come from. To add a source, write a file with a class like those here and add a case to `open_source`.

Cameras are opened in a process of their own (`supervised_camera.py`), which is killed and restarted when a read does not
return; that process calls `open_camera`. The contract of a source is in `source.py`.
"""

import threading
from pathlib import Path

from device.config import nearest
from device.errors import DataError
from device.images.picture import is_picture, is_video
from device.settings import CameraSettings
from device.sources.source import Source

CAMERAS = ("auto", "picamera2", "picamera2:1", "v4l2:/dev/video0", "rtsp://host/path", "http://host/stream.mjpg")
"""Examples of camera specs: for help and error messages, and to tell a camera by what is before the colon."""


def open_source(
    spec: str, camera: CameraSettings | None = None, wait: bool = False, stop: threading.Event | None = None
) -> Source:
    """Open a camera (`auto`, `picamera2`, `v4l2:/dev/video0`, `rtsp://…`, `http://…`), `demo`, a picture, a video or a folder.

    `auto` is the first camera. With `wait`, a missing camera is waited for, and the source delivers placeholder frames until
    it appears; `stop` ends the wait.
    Raises CameraLost if there is no camera, DataError for a path that cannot be read as a source.
    """
    camera = camera or CameraSettings()
    if spec == "demo":
        from device.sources.demo import Demo

        return Demo(*camera.size_wh, camera.fps)
    if spec.partition(":")[0] in {"https", *(camera_spec.partition(":")[0] for camera_spec in CAMERAS)}:
        from device.sources.supervised_camera import SupervisedCamera

        return SupervisedCamera(spec, camera, wait, stop=stop)
    path = Path(spec)
    if path.is_dir() or (path.is_file() and is_picture(path)):
        from device.sources.pictures import Pictures

        return Pictures(path)
    if path.is_file() and is_video(path):
        from device.sources.video import VideoSource

        return VideoSource(path)
    if path.exists():
        raise DataError(f"{spec}: neither a picture nor a video by its suffix; rename it, or give a folder of pictures")
    raise DataError(f"{spec}: no such file or folder, and no known source; {nearest(spec, ['demo', *CAMERAS])}")
