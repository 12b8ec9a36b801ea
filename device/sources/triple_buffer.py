"""Shared memory for pictures: the camera's process writes them, the loop's process copies them out.

The memory has no name (memfd), so nothing is left behind when both processes are killed. Messages regulate which process may
use which slot (`child.py`).
"""

import mmap
import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images.frame import Image
from device.images.yuv import Yuv

SLOTS = 3  # one being written, one with the newest picture, one being read


@dataclass(frozen=True)
class Layout:
    """The format of the picture in a slot: R G B, or three consecutive planes; rows without padding."""

    height: int
    width: int
    yuv: bool
    matrix: str = ""
    full_range: bool = False

    @property
    def chroma_shape(self) -> tuple[int, int]:
        """(rows, columns) of each chroma plane."""
        return -(-self.height // 2), -(-self.width // 2)

    @property
    def nbytes(self) -> int:
        """Bytes per picture."""
        luma = self.height * self.width
        return luma + 2 * self.chroma_shape[0] * self.chroma_shape[1] if self.yuv else 3 * luma

    def view(self, memory: NDArray[np.uint8]) -> Image:
        """The picture in `memory`, as a view."""
        luma = self.height * self.width
        if not self.yuv:
            return memory[: 3 * luma].reshape(self.height, self.width, 3)
        ends = luma, luma + (self.nbytes - luma) // 2, self.nbytes
        u, v = (memory[start:end].reshape(self.chroma_shape) for start, end in pairwise(ends))
        return Yuv(memory[:luma].reshape(self.height, self.width), u, v, self.matrix, self.full_range)


def layout_of(image: Image) -> Layout:
    """The layout for this picture."""
    if isinstance(image, Yuv):
        return Layout(*image.shape, True, image.matrix, image.full_range)
    return Layout(image.shape[0], image.shape[1], False)


class TripleBuffer:
    """Mapped memory with `SLOTS` slots. Owns its file descriptor."""

    def __init__(self, fd: int, slot_bytes: int) -> None:
        """Map existing memory. Raises ValueError if it is too small."""
        self.fd, self.slot_bytes = fd, slot_bytes
        self._map = mmap.mmap(fd, SLOTS * slot_bytes)
        self._slots: NDArray[Any] | None = np.frombuffer(self._map, np.uint8).reshape(SLOTS, slot_bytes)

    @classmethod
    def create(cls, layout: Layout) -> "TripleBuffer":
        """Allocate new memory, filled with zeros."""
        fd = os.memfd_create("camera pictures", os.MFD_CLOEXEC)
        os.ftruncate(fd, SLOTS * layout.nbytes)
        return cls(fd, layout.nbytes)

    def write(self, slot: int, image: Image, layout: Layout) -> None:
        """Copy a picture into a slot; its planes may have row padding."""
        assert self._slots is not None
        there = layout.view(self._slots[slot])
        if isinstance(there, Yuv) and isinstance(image, Yuv):
            for plane, source in ((there.y, image.y), (there.u, image.u), (there.v, image.v)):
                np.copyto(plane, source)
        else:
            np.copyto(there, image)  # type: ignore[arg-type]

    def read(self, slot: int, layout: Layout) -> Image:
        """Copy the picture out of a slot."""
        assert self._slots is not None
        return layout.view(self._slots[slot]).copy()

    def close(self) -> None:
        """Unmap. Closing twice is safe."""
        if self._slots is not None:
            self._slots = None
            self._map.close()
            os.close(self.fd)
