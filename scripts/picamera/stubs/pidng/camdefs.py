"""Stands in for PiDNG, see core.py."""


class Picamera2Camera:
    """A name to import."""
