"""The contract of a sink: what `open_sink` returns and the loop writes to."""

from typing import Protocol

from device.images.frame import Restored


class Sink(Protocol):
    """Takes restored frames. Whoever opens it owns and closes it; `write` is called from one thread.

    The same frame may be written twice: the loop repeats the last one to keep a frame rate.
    """

    description: str

    def write(self, restored: Restored) -> None:
        """Take one frame. Raises RunError if it cannot be stored or sent."""

    def close(self) -> None:
        """Finish the output. Closing twice is safe."""
