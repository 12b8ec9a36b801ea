"""What a viewer may see and ask of a running loop: the page's side of the door between sinks and the loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelOption:
    """One thing that can restore here: a file of a bundle on a runtime."""

    bundle: str
    variant: str
    runtime: str


@dataclass(frozen=True)
class Controls:
    """Every call may come from any thread and returns at once; what was asked for is done between two frames."""

    state: Callable[[], dict[str, Any]]
    """Plain data, see `Session.state`."""
    options: Callable[[], tuple[ModelOption, ...]]
    switch: Callable[[ModelOption], None]
    """Restore with this from the next frame on. Raises UsageError for what is not among the choices."""
    reload: Callable[[], None]
    """Open the bundles again from the disk, verified; the present ones go on if that fails, and the state says why."""
    record: Callable[[bool], None]
    """Start or stop the recorder. Raises UsageError where there is none."""
