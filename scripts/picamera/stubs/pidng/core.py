"""A stub for PiDNG, which has no wheel. picamera2 imports it to write raw pictures; the rig writes none."""


class PICAM2DNG:
    """A name to import."""
