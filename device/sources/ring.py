"""Pictures in memory that two processes share: the camera's writes them, the loop's copies them out.

The memory has no name (memfd), so nothing is left behind when both are killed. Who may touch which slot when is agreed in
messages (`device/sources/child.py`).
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

SLOTS = 3  # one is being written, one is the newest, one is being read


@dataclass(frozen=True)
class Layout:
    """What lies in a slot: R G B, or three planes after each other; rows without padding."""

    height: int
    width: int
    yuv: bool
    matrix: str = ""
    full_range: bool = False

    @property
    def chroma_shape(self) -> tuple[int, int]:
        """(rows, columns) of each plane of colour."""
        return -(-self.height // 2), -(-self.width // 2)

    @property
    def nbytes(self) -> int:
        """Bytes of one picture."""
        luma = self.height * self.width
        return luma + 2 * self.chroma_shape[0] * self.chroma_shape[1] if self.yuv else 3 * luma

    def view(self, memory: NDArray[np.uint8]) -> Image:
        """The picture in that memory, not copied."""
        luma = self.height * self.width
        if not self.yuv:
            return memory[: 3 * luma].reshape(self.height, self.width, 3)
        ends = luma, luma + (self.nbytes - luma) // 2, self.nbytes
        u, v = (memory[start:end].reshape(self.chroma_shape) for start, end in pairwise(ends))
        return Yuv(memory[:luma].reshape(self.height, self.width), u, v, self.matrix, self.full_range)


def layout_of(image: Image) -> Layout:
    """The layout that the picture has in a slot."""
    if isinstance(image, Yuv):
        return Layout(*image.shape, True, image.matrix, image.full_range)
    return Layout(image.shape[0], image.shape[1], False)


class Ring:
    """Mapped memory of `SLOTS` slots. Owns its descriptor."""

    def __init__(self, fd: int, slot_bytes: int) -> None:
        """Map memory that exists. Raises ValueError where it is smaller than that."""
        self.fd, self.slot_bytes = fd, slot_bytes
        self._map = mmap.mmap(fd, SLOTS * slot_bytes)
        self._slots: NDArray[Any] | None = np.frombuffer(self._map, np.uint8).reshape(SLOTS, slot_bytes)

    @classmethod
    def made_for(cls, layout: Layout) -> "Ring":
        """New memory, zeroed."""
        fd = os.memfd_create("camera pictures", os.MFD_CLOEXEC)
        os.ftruncate(fd, SLOTS * layout.nbytes)
        return cls(fd, layout.nbytes)

    def write(self, slot: int, image: Image, layout: Layout) -> None:
        """Copy a picture in; its planes may have strides."""
        assert self._slots is not None
        there = layout.view(self._slots[slot])
        if isinstance(there, Yuv) and isinstance(image, Yuv):
            for plane, source in ((there.y, image.y), (there.u, image.u), (there.v, image.v)):
                np.copyto(plane, source)
        else:
            np.copyto(there, image)  # type: ignore[arg-type]

    def read(self, slot: int, layout: Layout) -> Image:
        """Copy a picture out."""
        assert self._slots is not None
        return layout.view(self._slots[slot]).copy()

    def close(self) -> None:
        """Unmap. Closing twice is safe."""
        if self._slots is not None:
            self._slots = None
            self._map.close()
            os.close(self.fd)
