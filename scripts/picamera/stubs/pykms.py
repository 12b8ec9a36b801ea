"""Stands in for kms++, which Debian does not have: picamera2 imports it for previews on a display, and none is shown."""


class PixelFormat:
    """Any name is a format."""

    def __getattr__(self, name):
        return name


PixelFormat = PixelFormat()
