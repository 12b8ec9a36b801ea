"""Shared memory between a camera's process and the loop."""

import os

import numpy as np
import pytest

from device.images.yuv import Yuv, from_nv12
from device.sources.triple_buffer import TripleBuffer, layout_of


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 5), (48, 64)])
@pytest.mark.parametrize("kind", ["rgb", "yuv"])
def test_a_picture_written_to_shared_memory_reads_back_identical(size: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(1)
    height, width = size
    half = (-(-height // 2), -(-width // 2))
    if kind == "rgb":
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
    else:
        planes = [rng.integers(0, 256, shape, np.uint8) for shape in (size, half, half)]
        image = Yuv(*planes, "bt709", False)  # type: ignore[assignment]
    layout = layout_of(image)
    written = TripleBuffer.create(layout)
    read = TripleBuffer(os.dup(written.fd), written.slot_bytes)
    written.write(2, image, layout)
    back = read.read(2, layout)
    written.close()
    read.close()
    if isinstance(image, Yuv):
        assert isinstance(back, Yuv)
        assert (back.matrix, back.full_range) == ("bt709", False)
        for one, other in ((image.y, back.y), (image.u, back.u), (image.v, back.v)):
            np.testing.assert_array_equal(one, other)
    else:
        np.testing.assert_array_equal(image, back)


def test_nv12_with_padded_rows_goes_through_shared_memory() -> None:
    buffer = np.arange(80 * 48 * 3 // 2, dtype=np.uint32).astype(np.uint8)
    image = from_nv12(buffer, 64, 48, 80, "bt601", True)
    layout = layout_of(image)
    buffer = TripleBuffer.create(layout)
    buffer.write(0, image, layout)
    back = buffer.read(0, layout)
    buffer.close()
    assert isinstance(back, Yuv)
    np.testing.assert_array_equal(back.v, image.v)
