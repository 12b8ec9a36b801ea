"""The contract of a sink: what `open_sink` returns and the loop writes to; and what some sinks offer beyond it."""

from typing import Protocol, runtime_checkable

from device.images.frame import Restored
from device.state import RecordingState


class Sink(Protocol):
    """Takes restored frames. Whoever opens it owns and closes it; `write` is called from one thread.

    The same frame may be written twice: the loop repeats the last one to keep a frame rate.
    """

    description: str

    def write(self, restored: Restored) -> None:
        """Take one frame. Raises RunError if it cannot be stored or sent."""

    def close(self) -> None:
        """Finish the output. Closing twice is safe."""


@runtime_checkable
class Recording(Protocol):
    """A sink that can be paused and resumed while the run goes on. Both calls may come from any thread and return at once."""

    def record(self, on: bool) -> None:
        """Start or stop recording with the next frame."""

    def recording(self) -> RecordingState:
        """The present state."""


@runtime_checkable
class Invitation(Protocol):
    """A sink that a person opens in a browser."""

    def invitation(self) -> str:
        """The address to open. It may contain a secret token: print it on a terminal, never log it."""
