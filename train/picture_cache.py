"""A cache of decoded pictures with a limit on memory, and how much memory is free.

The cache never changes which pictures are read, so a data set may be larger than the memory and gives the same batches.
"""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from device.images.frame import Pixels
from device.images.picture import read_picture

_UNKNOWN_MEMORY = 4 << 30  # bytes, assumed where the system does not report its memory


class PixelCache:
    """The most recently used pictures, decoded, `limit_bytes` at most. Threads may share it.

    Pictures that callers still use come on top of the limit, one per caller. Two threads that read the same picture at the
    same time may both decode it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.cached_bytes = self.peak_bytes = self.decoded = self.evicted = 0
        self._pictures: OrderedDict[Path, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path) -> Pixels:
        """The pixels of this file, from the cache or decoded now. Raises DataError as `read_picture` does."""
        with self._lock:
            if path in self._pictures:
                self._pictures.move_to_end(path)
                return self._pictures[path]
        pixels = read_picture(path)
        with self._lock:
            self.decoded += 1
            if pixels.nbytes > self.limit_bytes:
                self.evicted += 1
            elif path not in self._pictures:
                while self.cached_bytes + pixels.nbytes > self.limit_bytes:
                    self.evicted += 1
                    self.cached_bytes -= self._pictures.popitem(last=False)[1].nbytes
                self._pictures[path] = pixels
                self.cached_bytes += pixels.nbytes
                self.peak_bytes = max(self.peak_bytes, self.cached_bytes)
        return pixels


def default_cache_bytes() -> int:
    """Half of the memory that is free now; the network and the input pipeline need the rest."""
    return available_bytes() // 2


def available_bytes() -> int:
    """Free memory: what Linux reports, or the limit of the control group (a container) if that is lower."""
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
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
    return free
