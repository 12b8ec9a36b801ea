"""Restored frames as a video file."""

import os
from pathlib import Path

import cv2

from device.errors import RunError
from device.frame import Restored

_CODECS = {".avi": "MJPG", ".webm": "VP80"}


class VideoFile:
    """MPEG-4 in .mp4, .mkv and .mov, MJPEG in .avi. Written aside and renamed when it is finished."""

    def __init__(self, path: Path, fps: float) -> None:
        self.description = f"{path}, video at {fps:.4g} fps"
        self._path, self._fps = path, fps
        self._aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._frames = 0

    def write(self, restored: Restored) -> None:
        """Append one frame. Raises RunError if it cannot be opened, or the frame has another size."""
        size_wh = (restored.pixels.shape[1], restored.pixels.shape[0])
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*_CODECS.get(self._path.suffix.lower(), "mp4v"))
            self._writer = cv2.VideoWriter(str(self._aside), cv2.CAP_FFMPEG, codec, self._fps, size_wh)
            self._size_wh = size_wh
            if not self._writer.isOpened():
                self._aside.unlink(missing_ok=True)
                raise RunError(f"{self._path}: OpenCV cannot write a {size_wh[0]}x{size_wh[1]} video here; try .mp4 or .avi")
        if size_wh != self._size_wh:
            raise RunError(f"{self._path}: frame of {size_wh} in a video of {self._size_wh}; write a folder of pictures instead")
        self._writer.write(cv2.cvtColor(restored.pixels, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Finish the file and give it its name. Raises RunError if it did not become a video (a full disk does that)."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        # VideoWriter reports no error of its own: read the file back.
        check = cv2.VideoCapture(str(self._aside), cv2.CAP_FFMPEG)
        whole = check.isOpened() and int(check.get(cv2.CAP_PROP_FRAME_COUNT)) >= self._frames
        check.release()
        if not whole:
            self._aside.unlink(missing_ok=True)
            raise RunError(f"{self._path}: the video did not come out whole after {self._frames} frames; is the disk full?")
        with open(self._aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(self._aside, self._path)
