"""Where the kit keeps what it must remember: the page's token, and what `bench --pick` measured."""

import os
from pathlib import Path


def state_folder() -> Path:
    """systemd's StateDirectory, else the user's state folder. It may not be there yet."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "deblurkit"
