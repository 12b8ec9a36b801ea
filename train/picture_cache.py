"""Pictures that lie in files: decoded when they are asked for, and kept only as far as a limit on memory allows.

What is asked for never depends on what is kept, so a data set may be larger than the memory and gives the same batches.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device.errors import DataError
from device.images.frame import Pixels
from device.images.picture import read_picture
from train.near_duplicates import Thumbnail

_UNKNOWN_MEMORY = 4 << 30  # bytes, where the system does not say what it has


class Photograph(Protocol):
    """What batches are cut from: a sharp picture, and its real blurred partner where the data set has pairs.

    Pixels are (height, width, 3) uint8 R G B and not to be written to: others may be reading them.
    """

    @property
    def name(self) -> str:
        """Unique within its data set."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width, known without decoding it."""

    @property
    def sharp(self) -> Pixels:
        """The sharp picture; may decode a file each time, so ask once."""

    @property
    def blurred(self) -> Pixels | None:
        """Its blurred partner, of the same size; None in a data set of photographs."""

    @property
    def thumbnail(self) -> Thumbnail:
        """What `train.near_duplicates` compares."""


class PixelCache:
    """Decoded pictures, the last used ones, of at most `limit_bytes` together. Threads may share it.

    What callers hold comes on top: one picture each. Two that ask for the same one at once may both decode it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = self.peak_bytes = self.decoded = self.evicted = 0
        self._held: OrderedDict[Path, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path) -> Pixels:
        """The pixels of this file, decoded if they are not held. Raises DataError as `read_picture` does."""
        with self._lock:
            if path in self._held:
                self._held.move_to_end(path)
                return self._held[path]
        pixels = read_picture(path)
        with self._lock:
            self.decoded += 1
            if pixels.nbytes > self.limit_bytes:
                self.evicted += 1
            elif path not in self._held:
                while self.held_bytes + pixels.nbytes > self.limit_bytes:
                    self.evicted += 1
                    self.held_bytes -= self._held.popitem(last=False)[1].nbytes
                self._held[path] = pixels
                self.held_bytes += pixels.nbytes
                self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        return pixels


@dataclass(frozen=True)
class FilePicture:
    """A `Photograph` in a file, or a pair of files."""

    name: str
    path: Path
    size_hw: tuple[int, int]
    cache: PixelCache
    thumbnail: Thumbnail
    blurred_path: Path | None = None

    @property
    def sharp(self) -> Pixels:
        """Decoded now, or held. Raises DataError where the file is no longer what it was."""
        return self._read(self.path)

    @property
    def blurred(self) -> Pixels | None:
        """The partner of a pair; see `sharp`."""
        return None if self.blurred_path is None else self._read(self.blurred_path)

    def _read(self, path: Path) -> Pixels:
        pixels = self.cache.read(path)
        if pixels.shape[:2] != self.size_hw:
            (height, width), (was_high, was_wide) = pixels.shape[:2], self.size_hw
            raise DataError(
                f"{path}: {width}x{height} now, {was_wide}x{was_high} when the training began; leave the pictures as they are"
            )
        return pixels


def default_cache_bytes() -> int:
    """Half of the memory that is free for programs now; the network and what feeds it need the rest."""
    return available_bytes() // 2


def available_bytes() -> int:
    """Memory that programs can still take: what Linux says, less where a control group (a container) allows less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (OSError, ValueError):
            free = _UNKNOWN_MEMORY
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return free
