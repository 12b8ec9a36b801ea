"""The folder for what the kit must remember: the page's token, and what `bench --pick` measured."""

import os
from pathlib import Path


def state_folder() -> Path:
    """systemd's StateDirectory, or else the user's state folder. It may not exist yet."""
    if folders := os.environ.get("STATE_DIRECTORY"):
        return Path(folders.partition(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "deblurkit"
