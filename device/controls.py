"""What the web page may read from a running loop and ask of it."""

from collections.abc import Callable
from dataclasses import dataclass

from device.state import ModelOption, State


@dataclass(frozen=True)
class Controls:
    """Every call may come from any thread and returns at once. What it asks for is done between two frames."""

    state: Callable[[], State]
    options: Callable[[], tuple[ModelOption, ...]]
    switch: Callable[[ModelOption], None]
    """Restore with this model from the next frame on. Raises UsageError unless it is one of the options."""
    reload: Callable[[], None]
    """Open the bundles again from disk and verify them. If that fails, the present models go on and the state says why."""
    record: Callable[[bool], None]
    """Start or stop the recorder. Raises UsageError if the run has none."""
    blur: Callable[[str, bool], None]
    """Undo this blur from the next frame on, in words as `--blur` takes them; True keeps it for later runs. Raises UsageError."""
    strength: Callable[[float], None]
    """How much of the restoration to show, from 0 to 1. Raises UsageError."""
    region: Callable[[tuple[int, int, int, int] | None], None]
    """Estimate and restore only x, y, width, height in pixels; None: the whole picture. Raises UsageError."""
