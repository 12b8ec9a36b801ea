"""Sinks that write picture files."""

from pathlib import Path

from device.errors import RunError
from device.images.frame import Restored
from device.images.picture import write_picture


class Folder:
    """Writes every frame as a picture with the frame's name, or a number if it has none. Each file is written atomically."""

    def __init__(self, path: Path) -> None:
        self.description = f"pictures in {path}"
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path}: cannot be created: {error.strerror}; choose another --sink") from error

    def write(self, restored: Restored) -> None:
        """Write one picture."""
        write_picture(self._path / (restored.frame.name or f"frame-{restored.frame.index:06d}.png"), restored.pixels)

    def close(self) -> None:
        """Nothing to finish."""


class LastPicture:
    """Writes one picture, the last frame, when it is closed."""

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        self._path = path
        self._last: Restored | None = None

    def write(self, restored: Restored) -> None:
        """Keep the frame until a newer one arrives."""
        self._last = restored

    def close(self) -> None:
        """Write the picture."""
        if self._last is not None:
            write_picture(self._path, self._last.pixels)
            self._last = None
