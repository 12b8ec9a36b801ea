"""Atomic files: written under a temporary name, synced and renamed."""

import os
from contextlib import suppress
from pathlib import Path

from device.errors import RunError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a temporary file, sync, rename: after a power cut the file is the old or the new one, never half. Raises RunError."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # without the folder, or without room for the name, there is nothing to remove
            temporary.unlink()
        raise RunError(f"{path}: cannot be written: {error.strerror}; free some space or choose another place") from error
