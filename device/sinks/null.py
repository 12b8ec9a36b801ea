"""Nowhere: to measure the loop."""

from device.images.frame import Restored


class Null:
    """Takes frames and forgets them."""

    description = "nowhere (null)"

    def write(self, restored: Restored) -> None:
        """Forget the frame."""

    def close(self) -> None:
        """Nothing to finish."""
