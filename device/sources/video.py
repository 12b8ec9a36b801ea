"""A video file; every frame in order."""

import logging
import time
from pathlib import Path

import cv2

from device.errors import DataError
from device.images.frame import Frame
from device.sources.source import SourceStatus

log = logging.getLogger(__name__)


class VideoSource:
    """Frames of a file that OpenCV reads with FFmpeg."""

    live = False
    status = SourceStatus()

    def __init__(self, path: Path) -> None:
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DataError(f"{path}: not a video that can be decoded; if it is not truncated, convert it, for example to .mp4")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0
        self.total = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"{path}, video of {width}x{height} at {self.fps:.4g} fps"
        self.origin: Path | None = path.resolve()
        self._path, self._index = path, 0

    def read(self) -> Frame | None:
        """The next frame; None after the last. Raises DataError for a video without any readable frame."""
        captured = time.monotonic()
        got, bgr = self._capture.read()
        if not got:
            if self._index == 0:
                raise DataError(f"{self._path}: none of its frames can be decoded; download or convert it again")
            if self._index < 0.99 * self.total - 1:  # some containers only estimate the number of frames
                log.warning("%s: ends after %d of %d frames; is it truncated?", self._path, self._index, self.total)
            return None
        index = self._index
        self._index += 1
        return Frame(index, captured, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
