"""Stands in for PiDNG, which has no wheel: picamera2 imports it to write raw pictures, and none is written."""


class PICAM2DNG:
    """A name to import."""
