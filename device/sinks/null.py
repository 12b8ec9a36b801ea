"""A sink that discards frames, to measure the loop."""

from device.images.frame import Restored


class Null:
    """Discards all frames."""

    description = "nowhere (null)"

    def write(self, restored: Restored) -> None:
        """Discard the frame."""

    def close(self) -> None:
        """Nothing to finish."""
