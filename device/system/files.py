"""Files that are whole or not there: written aside, synced and renamed."""

import os
from contextlib import suppress
from pathlib import Path

from device.errors import RunError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write aside, sync, rename: after a power cut the file is the old one or the new one, never half. Raises RunError."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):  # where there is no such folder, or no room for a name, there is nothing to remove
            aside.unlink()
        raise RunError(f"{path}: cannot be written: {error.strerror}; free some space or choose another place") from error
