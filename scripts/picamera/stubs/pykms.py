"""A stub for kms++, which Debian does not have. picamera2 imports it for previews on a display; the rig shows none."""


class PixelFormat:
    """Any name is a format."""

    def __getattr__(self, name):
        return name


PixelFormat = PixelFormat()
