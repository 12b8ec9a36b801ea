"""A picture file, or all pictures in a folder in the order of their names."""

import time
from pathlib import Path

from device.images.frame import Frame
from device.images.picture import pictures_in, read_picture
from device.sources.source import SourceStatus


class Pictures:
    """Delivers each picture once; an unreadable one raises DataError with its name."""

    live = False
    status = SourceStatus()
    fps = 0.0

    def __init__(self, path: Path) -> None:
        self._paths = pictures_in(path) if path.is_dir() else [path]
        self.total = len(self._paths)
        self.description = f"{path}, {self.total} picture{'s' if self.total != 1 else ''}"
        self.origin: Path | None = path.resolve()
        self._index = 0

    def read(self) -> Frame | None:
        """The next picture; None after the last."""
        if self._index >= self.total:
            return None
        path, index = self._paths[self._index], self._index
        self._index += 1
        started = time.monotonic()
        return Frame(index, started, read_picture(path), path.name)

    def close(self) -> None:
        """Nothing to release."""
