"""A sink that writes a video file."""

import os
import threading
from pathlib import Path

import cv2

from device.errors import RunError
from device.images.frame import Restored

_CODECS = {".avi": "MJPG", ".webm": "VP80"}


class VideoSink:
    """Writes MPEG-4 to .mp4, .mkv and .mov, MJPEG to .avi. The file gets its name when it is finished."""

    def __init__(self, path: Path, fps: float) -> None:
        self.description = f"{path}, video at {fps:.4g} fps"
        self._path, self._fps = path, fps
        self._aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._frames = 0
        self._closed = False
        self._lock = threading.Lock()  # a stop may close while a write has not returned: OpenCV would crash

    def write(self, restored: Restored) -> None:
        """Append one frame. Raises RunError if the file cannot be opened or the frame has another size."""
        size_wh = (restored.pixels.shape[1], restored.pixels.shape[0])
        with self._lock:
            if self._closed:
                raise RunError(f"{self._path}: is already closed")
            if self._writer is None:
                self._writer, self._size_wh = self._open(size_wh), size_wh
            if size_wh != self._size_wh:
                raise RunError(f"{self._path}: frame size changed to {size_wh} from {self._size_wh}; write a folder of pictures")
            self._writer.write(cv2.cvtColor(restored.pixels, cv2.COLOR_RGB2BGR))
            self._frames += 1

    def _open(self, size_wh: tuple[int, int]) -> cv2.VideoWriter:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self._path}: its folder cannot be created: {error.strerror}; choose another --sink") from error
        codec = cv2.VideoWriter.fourcc(*_CODECS.get(self._path.suffix.lower(), "mp4v"))
        writer = cv2.VideoWriter(str(self._aside), cv2.CAP_FFMPEG, codec, self._fps, size_wh)
        if not writer.isOpened():
            self._aside.unlink(missing_ok=True)
            raise RunError(f"{self._path}: OpenCV cannot write a {size_wh[0]}x{size_wh[1]} video here; try .mp4 or .avi")
        return writer

    def close(self) -> None:
        """Finish and rename the file. Raises RunError if the video is incomplete, as on a full disk."""
        with self._lock:
            self._closed = True
            if self._writer is None:
                return
            self._writer.release()
            self._writer = None
        # VideoWriter reports no errors, so read the file back. Matroska has its frame count at the beginning, even if the end
        # is missing, so check the last frame too.
        check = cv2.VideoCapture(str(self._aside), cv2.CAP_FFMPEG)
        complete = check.isOpened() and int(check.get(cv2.CAP_PROP_FRAME_COUNT)) >= self._frames
        complete = complete and check.set(cv2.CAP_PROP_POS_FRAMES, self._frames - 1) and check.grab()
        check.release()
        if (
            complete and self._path.suffix.lower() == ".avi"
        ):  # half of the last JPEG still decodes: check the length in the header
            with open(self._aside, "rb") as file:
                complete = int.from_bytes(file.read(8)[4:], "little") + 8 <= os.fstat(file.fileno()).st_size
        if not complete:
            self._aside.unlink(missing_ok=True)
            raise RunError(f"{self._path}: the video is incomplete after {self._frames} frames; is the disk full?")
        try:
            with open(self._aside, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._aside, self._path)
        except OSError as error:
            self._aside.unlink(missing_ok=True)
            raise RunError(f"{self._path}: cannot be finished: {error.strerror}; choose another --sink") from error
