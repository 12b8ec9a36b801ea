"""A Picamera2 that opens libcamera's virtual camera; the rig puts it in the place of `picamera2.Picamera2`.

picamera2 allocates buffers of one plane, but the virtual camera writes two, so libcamera allocates them here. And the virtual
camera has no raw stream whose modes could be listed.
"""

from picamera2.allocators import LibcameraAllocator
from picamera2.picamera2 import Picamera2 as RealPicamera2


class Picamera2(RealPicamera2):
    """The real class, with libcamera's buffers and one mode."""

    def __init__(self, camera_num=0, **options):
        super().__init__(camera_num, allocator=LibcameraAllocator(None), **options)
        self.allocator.camera = self.camera

    def _get_raw_modes(self):
        return [{"format": "NV12", "size": (1280, 720)}]
