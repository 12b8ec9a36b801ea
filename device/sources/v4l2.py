"""A V4L2 camera (USB, or any that has a /dev/video node)."""

import threading
import time
from pathlib import Path

import cv2

from device.errors import CameraLost
from device.frame import Frame


def first_camera() -> str:
    """The first /dev/video node that delivers a picture. Raises CameraLost when there is none."""
    nodes = sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name))
    for node in nodes:
        try:
            Camera(str(node)).close()
        except CameraLost:
            continue
        return str(node)
    seen = f"{len(nodes)} video nodes, none of which delivers a picture" if nodes else "no /dev/video node"
    raise CameraLost(f"no camera: {seen}; plug one in, join the group `video`, or try --source demo")


class Camera:
    """Frames of a V4L2 device in the size it offers first, R G B."""

    live = True
    total = 0
    origin: Path | None = None

    def __init__(self, device: str) -> None:
        self._device, self._index = device, 0
        self._reading = threading.Lock()
        if not Path(device).exists():
            raise CameraLost(f"{device}: no such device; `ls /dev/video*` shows the cameras, --source auto takes the first")
        self._capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        # One buffer, where the driver allows it: queued frames are old frames.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        got, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not got or first is None:
            self._capture.release()
            raise CameraLost(f"{device}: opens but delivers no picture; is another program using it, or is it no camera?")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 30.0
        self.description = f"{device}, camera of {first.shape[1]}x{first.shape[0]} at {self.fps:.4g} fps"

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLost when the camera stops delivering."""
        with self._reading:
            got, bgr = self._capture.read()
        if not got or bgr is None:
            raise CameraLost(f"{self._device}: stopped delivering frames after {self._index}; check its plug and power")
        index = self._index
        self._index += 1
        return Frame(index, time.monotonic(), cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]

    def close(self) -> None:
        """Release the device; while a read hangs, that is left to the end of the process: OpenCV would crash."""
        if self._reading.acquire(blocking=False):
            self._capture.release()
            self._reading.release()
