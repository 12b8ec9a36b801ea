"""The recorder's folder: its segments in order, the limits on their size, and their repair after a power cut."""

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from device.errors import RunError
from device.sinks.fragments import complete_bytes

# An increasing number, then the time for people. Order follows the numbers, because a clock may be set back.
_NAME = re.compile(r"deblurkit-(\d{8,})-\d{8}T\d{6}Z\.mp4")
_FSTAB = Path("/etc/fstab")
_REPAIRED = 2  # files at the end that a power cut may have damaged: the open one, and the previous one if not synced yet
_mounts: dict[Path, Path] = {}  # folder -> its mount point when this process first opened it


class Segments:
    """The segments in a folder. Owns the folder's descriptor and a lock: two recorders would delete each other's segments.

    Files are created and deleted relative to the open folder, so nothing is written to an empty mount point.
    """

    def __init__(self, folder: Path, max_bytes: int, min_free_bytes: int, ahead_bytes: int) -> None:
        """Create the folder if necessary and adopt its segments. `ahead_bytes` may be written between two calls of `make_room`.

        Raises RunError if the folder cannot be created or read, its medium is not mounted, or another recorder uses it.
        """
        self._folder = Path(os.path.abspath(folder))
        self._max, self._min_free, self._ahead = max_bytes, min_free_bytes, ahead_bytes
        _require_medium(self._folder)
        try:
            # Create only the last part of the path: if a medium is missing, the parents are missing too.
            self._folder.mkdir(exist_ok=True)
            self.fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RunError(
                f"{folder}: cannot be opened: {error.strerror}; record to an existing, writable folder; is its medium there?"
            ) from error
        self._closed = False
        try:
            _lock(self.fd, folder)
            _mounts.setdefault(self._folder, _mount_point(self._folder))
            self._sizes: dict[str, int] = {}
            self._last_number = 0
            self.refresh()
            for name in list(self._sizes)[-_REPAIRED:]:
                self._repair(name)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, RunError):
                raise RunError(f"{folder}: {error.strerror}; record to a readable, writable folder") from error
            raise

    @property
    def files(self) -> int:
        """Number of segments."""
        return len(self._sizes)

    @property
    def bytes(self) -> int:
        """Their total size."""
        return sum(self._sizes.values())

    def refresh(self) -> None:
        """Read the folder again: others may have deleted segments."""
        names = sorted((name for name in os.listdir(self.fd) if _NAME.fullmatch(name)), key=_number)
        self._sizes = {}
        for name in names:
            with suppress(FileNotFoundError):
                self._sizes[name] = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_size
        self._last_number = max(self._last_number, *map(_number, names), 0)

    def begin(self) -> tuple[str, int, int]:
        """Create an empty segment: (name, descriptor, maximum size in bytes). Raises RunError if there is no room.

        The maximum is an eighth of the room, so that deleting other segments is enough to stay below the limits.
        """
        self.refresh()
        self.make_room()
        room = min(self._max, self.bytes + self._free() - self._min_free)
        self._last_number += 1
        name = f"deblurkit-{self._last_number:08d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.mp4"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=self.fd)
        self._sizes[name] = 0
        return name, fd, max(room // 8, self._ahead)

    def set_size(self, name: str, size: int) -> None:
        """Report the current size of the open segment."""
        self._sizes[name] = size

    def make_room(self, being_written: str = "") -> None:
        """Delete the oldest segments until the limits hold for the next `ahead_bytes` as well.

        Raises RunError if the folder is gone, or the disk is full and no other segment can be deleted.
        """
        self._require_folder()
        while (over := self.bytes + self._ahead > self._max) or self._free() < self._min_free + self._ahead:
            oldest = next(iter(self._sizes), being_written)
            if oldest == being_written:
                if over:
                    return  # the open segment ends before it gets that large
                free, least = self._free() / 2**20, (self._min_free + self._ahead) / 2**20
                raise RunError(
                    f"{self._folder}: {free:.0f} MiB are free, expected at least {least:.0f}, and there is no older recording to"
                    " delete; free some space, or lower min_free_gib"
                )
            with suppress(FileNotFoundError):
                os.unlink(oldest, dir_fd=self.fd)
            del self._sizes[oldest]

    def truncate(self, name: str) -> None:
        """Cut a closed, possibly incomplete segment to its complete fragments; delete it if there are none."""
        with suppress(OSError):  # such an error is why it is incomplete; the next start repairs it
            self._repair(name)

    def _repair(self, name: str) -> None:
        """Remove an incomplete fragment at the end of a segment; all fragments before it are playable."""
        with open(os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self.fd), "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            complete = complete_bytes(file.fileno(), size)
            if complete == 0:
                os.unlink(name, dir_fd=self.fd)
                self._sizes.pop(name, None)
                return
            if complete < size:
                os.ftruncate(file.fileno(), complete)
            self._sizes[name] = complete

    def _free(self) -> int:
        state = os.fstatvfs(self.fd)
        return state.f_bavail * state.f_frsize

    def _require_folder(self) -> None:
        """Raise RunError if the path no longer leads to the open folder: its medium may have been removed."""
        here = os.fstat(self.fd)
        try:
            there = os.stat(self._folder)
        except OSError as error:
            raise RunError(f"{self._folder}: disappeared while recording ({error.strerror}); put its medium back") from error
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise RunError(f"{self._folder}: is no longer the same folder; its medium was removed or replaced; put it back")

    def close(self) -> None:
        """Release the folder, so that its medium can be removed. Closing twice is safe."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def _lock(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{folder}: another recorder uses it; give each recorder its own folder") from error
    except OSError:
        pass  # a network file system without locks


def _mount_point(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if os.path.ismount(p))


def _require_medium(folder: Path) -> None:
    """Raise RunError if a medium should be mounted but is not: recordings would fill the system disk."""
    expected = {_mounts.get(folder), *_fstab()} - {None}
    for mount in expected:
        if mount is not None and (mount == folder or mount in folder.parents) and not os.path.ismount(mount):
            raise RunError(f"{folder}: nothing is mounted at {mount}; insert the medium, or mount {mount}")


def _fstab() -> list[Path]:
    """Mount points in /etc/fstab."""
    try:
        lines = [line.split("#")[0].split() for line in _FSTAB.read_text(errors="replace").splitlines()]
    except OSError:
        return []
    return [Path(fields[1].replace("\\040", " ")) for fields in lines if len(fields) >= 3 and fields[1].startswith("/")]
