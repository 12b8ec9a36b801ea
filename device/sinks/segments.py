"""The recorder's folder: which files in it are its own, their order, their caps, and what a power cut left of the last ones."""

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from device.errors import RunError

# A number that only grows, then the time for people. The order is that of the numbers: a clock may step back.
_NAME = re.compile(r"deblurkit-(\d{8,})-\d{8}T\d{6}Z\.mp4")
_FSTAB = Path("/etc/fstab")
_MENDED = 2  # files at the end that a power cut may have torn: the open one, and the one before that was not synced yet
_DOUBTED = 4  # fragments at the end of each, two seconds, that may be there by name only
_mounts: dict[Path, Path] = {}  # folder -> the mount point that it lay under when this process first opened it


class Segments:
    """Owns two descriptors while it is open, the folder's and its lock: two recorders in one folder would delete each other's.

    Files are made and deleted relative to the folder that was opened: nothing is ever written to where a medium has been.
    """

    def __init__(self, folder: Path, max_bytes: int, min_free_bytes: int, ahead_bytes: int) -> None:
        """Make the folder if need be, adopt what is in it. `ahead_bytes`: what may be written until the next look.

        Raises RunError when the folder cannot be made or read, when its medium is not mounted, or when another one records there.
        """
        self._folder = Path(os.path.abspath(folder))
        self._max, self._min_free, self._ahead = max_bytes, min_free_bytes, ahead_bytes
        _require_medium(self._folder)
        try:
            # Only the last part of the path is made: where a medium is missing, its parents are missing too.
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
            for name in list(self._sizes)[-_MENDED:]:
                self._mend(name)
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
        """Their size together."""
        return sum(self._sizes.values())

    def refresh(self) -> None:
        """Look what is there: others may delete segments, too."""
        found = [name for name in os.listdir(self.fd) if _NAME.fullmatch(name)]
        found.sort(key=_number)
        self._sizes = {}
        for name in found:
            with suppress(FileNotFoundError):
                self._sizes[name] = os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_size
        self._last_number = max(self._last_number, *map(_number, found), 0)

    def begin(self) -> tuple[str, int, int]:
        """A new, empty segment: (name, descriptor, bytes that it shall have at most). Raises RunError when there is no room.

        An eighth of the room at most, so that the caps can be held by deleting others.
        """
        self.refresh()
        self.make_room()
        room = min(self._max, self.bytes + self._free() - self._min_free)
        self._last_number += 1
        name = f"deblurkit-{self._last_number:08d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.mp4"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=self.fd)
        self._sizes[name] = 0
        return name, fd, max(room // 8, self._ahead)

    def grown(self, name: str, size: int) -> None:
        """The open segment has this size now."""
        self._sizes[name] = size

    def make_room(self, being_written: str = "") -> None:
        """Delete the oldest segments until the caps hold for what comes next.

        Raises RunError when the folder is not there any more, or when the disk is full and nothing is left to delete.
        """
        self._require_folder()
        while (over := self.bytes + self._ahead > self._max) or self._free() < self._min_free + self._ahead:
            oldest = next(iter(self._sizes), being_written)
            if oldest == being_written:
                if over:
                    return  # the open segment ends before it is as large as that
                free, least = self._free() / 2**20, (self._min_free + self._ahead) / 2**20
                raise RunError(
                    f"{self._folder}: {free:.0f} MiB are free, fewer than the {least:.0f} to be left, and no older recording can"
                    " be deleted; free some space, or lower min_free_gib"
                )
            with suppress(FileNotFoundError):
                os.unlink(oldest, dir_fd=self.fd)
            del self._sizes[oldest]

    def cut(self, name: str) -> None:
        """The segment is closed, and may be torn: keep what is whole of it, nothing where nothing is."""
        with suppress(OSError):  # it is given up because of such an error, and the next start mends it again
            self._mend(name)

    def _mend(self, name: str) -> None:
        """Cut off what a power cut left unfinished. Every fragment before plays."""
        with open(os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self.fd), "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            whole = whole_bytes(file.fileno(), size)
            if whole == 0:
                os.unlink(name, dir_fd=self.fd)
                self._sizes.pop(name, None)
                return
            if whole < size:
                os.ftruncate(file.fileno(), whole)
            self._sizes[name] = whole

    def _free(self) -> int:
        state = os.fstatvfs(self.fd)
        return state.f_bavail * state.f_frsize

    def _require_folder(self) -> None:
        """Whether the path still leads to the folder that was opened: a medium may have been removed."""
        here = os.fstat(self.fd)
        try:
            there = os.stat(self._folder)
        except OSError as error:
            raise RunError(f"{self._folder}: has gone while recording ({error.strerror}); put its medium back") from error
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise RunError(f"{self._folder}: is another folder than the one recorded to; its medium was removed or replaced")

    def close(self) -> None:
        """Let the folder go, so that its medium can be removed. Closing twice is safe."""
        if not self._closed:
            self._closed = True
            os.close(self.fd)


def whole_bytes(fd: int, size: int) -> int:
    """Up to where a fragmented MP4 file consists of whole fragments (boxes `moof` and `mdat`); 0 without any.

    ISO/IEC 14496-12: a box is its size (4 bytes), its kind (4 bytes), and for size 1 the true size (8 bytes). Of the last
    fragments the pictures are looked at as well: a file system may know a length before it has the data.
    """
    at = 0
    fragments: list[tuple[int, int]] = []  # first byte of the pictures, end
    tail = 0  # end of the index that stands behind the last fragment of a finished file
    while at + 8 <= size:
        head = os.pread(fd, 16, at)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or at + length > size:
            break
        if kind == b"mdat":
            fragments.append((at + (16 if head[:4] == b"\0\0\0\1" else 8), at + length))
        elif kind == b"mfra":
            tail = at + length
        at += length
    doubted = fragments[-_DOUBTED:]
    for number, (first, end) in enumerate(doubted, len(fragments) - len(doubted)):
        if not _holds_pictures(fd, first, end):
            return fragments[number - 1][1] if number else 0
    return max(tail, fragments[-1][1]) if fragments else 0


def _holds_pictures(fd: int, at: int, end: int) -> bool:
    """Whether they are NAL units of H.264, each after its length (4 bytes). None ends in a byte of 0 (ITU-T H.264, 7.4.1)."""
    while at + 4 < end:
        length = int.from_bytes(os.pread(fd, 4, at), "big")
        at += 4 + length
        if length == 0 or at > end or os.pread(fd, 1, at - 1) == b"\0":
            return False
    return at == end


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def _lock(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{folder}: another recorder writes there; give each one a folder of its own") from error
    except OSError:
        pass  # a network file system without locks


def _mount_point(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if os.path.ismount(p))


def _require_medium(folder: Path) -> None:
    """Raises RunError where a medium should be mounted and is not: else its recordings would fill the system's own disk."""
    expected = {_mounts.get(folder), *_fstab()} - {None}
    for mount in expected:
        if mount is not None and (mount == folder or mount in folder.parents) and not os.path.ismount(mount):
            raise RunError(f"{folder}: nothing is mounted at {mount}; put the medium in, or mount {mount}")


def _fstab() -> list[Path]:
    """Mount points that the system knows of."""
    try:
        lines = [line.split("#")[0].split() for line in _FSTAB.read_text(errors="replace").splitlines()]
    except OSError:
        return []
    return [Path(fields[1].replace("\\040", " ")) for fields in lines if len(fields) >= 3 and fields[1].startswith("/")]
