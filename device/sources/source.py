"""The contract of a source: what `open_source` returns and the loop reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device.images.frame import Frame


@dataclass(frozen=True)
class SourceStatus:
    """The health of a source."""

    ok: bool = True
    """False while it delivers placeholder frames instead of pictures."""
    reason: str = ""
    """What is wrong, in words; empty when nothing is."""
    reopened: int = 0
    """How often it was opened again after a failure."""
    bad_frames: int = 0
    """Frames that were dropped because they were truncated, empty or green."""


class Source(Protocol):
    """Delivers frames. Whoever opens it owns and closes it; `read` is called from one thread, `close` from any."""

    live: bool
    """True if only the newest frame matters (camera, demo); False if every frame does, in order (files)."""
    fps: float
    """Nominal frames per second; 0.0 if unknown."""
    total: int
    """Number of frames; 0 if unknown."""
    origin: Path | None
    """The file or folder that it reads, resolved; None for a camera."""
    status: SourceStatus

    @property
    def description(self) -> str:
        """In words, for logs and the page."""

    def read(self) -> Frame | None:
        """Wait for the next frame; None at the end. Raises CameraLost if the camera is gone, DataError for a bad file."""

    def close(self) -> None:
        """Release the device or file. Closing twice is safe."""
