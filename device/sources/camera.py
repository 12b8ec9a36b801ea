"""Cameras as they are, without anybody who watches them: what the camera's own process opens and reads."""

import importlib.util
import re
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

import cv2

from device.errors import CameraLost, UsageError
from device.images.frame import Frame, Image
from device.images.yuv import Yuv
from device.settings import CameraSettings

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Camera(Protocol):
    """Delivers frames for as long as it can. Lives in a process of its own, so it may hang and crash."""

    description: str
    """What it is, its size and rate as they were got, and where they are not what was asked for. No password."""
    fps: float

    def read(self) -> Frame:
        """Wait for the next frame. Raises BadFrame for one that is not to be shown, CameraLost when there will be no more."""

    def close(self) -> None:
        """Let the device go."""


def open_camera(spec: str, settings: CameraSettings) -> Camera:
    """Open `auto`, `picamera2[:N]`, `v4l2:/dev/videoN`, `rtsp://…` or `http(s)://…`.

    Raises CameraLost when there is none or it does not work, UsageError for a spec that names nothing of the kind.
    """
    kind, _, rest = spec.partition(":")
    if kind == "auto":
        return open_camera(first_camera(), settings)
    if kind == "picamera2":
        from device.sources.picamera import PiCamera

        if rest and not rest.isdecimal():
            raise UsageError(f"{spec}: expected picamera2, or picamera2:N with the number of a camera, for example picamera2:1")
        return PiCamera(int(rest or 0), settings)
    if kind == "v4l2":
        from device.sources.v4l2 import V4l2Camera

        if not rest:
            raise UsageError(f"{spec}: expected the camera's node after it, for example v4l2:/dev/video0")
        return V4l2Camera(rest, settings)
    from device.sources.network import open_stream

    return open_stream(spec)


def first_camera() -> str:
    """The spec of the first camera: one on the ribbon where picamera2 sees it, else a V4L2 one. Raises CameraLost without any."""
    from device.sources.nodes import cameras as v4l2_cameras

    if importlib.util.find_spec("picamera2") is not None:
        from device.sources.picamera import cameras as pi_cameras

        for number, camera in enumerate(pi_cameras()):
            if "/usb" not in str(camera.get("Id", "")):  # libcamera lists USB cameras as well, without their MJPEG
                return f"picamera2:{number}"
    nodes, others = v4l2_cameras()
    if nodes:
        return f"v4l2:{nodes[0]}"
    seen = f"none of the {len(others)} video nodes is one ({'; '.join(others)})" if others else "no /dev/video node"
    raise CameraLost(f"no camera: {seen}; plug one in, join the group `video`, or try --source demo")


def rotated(image: Image, degrees: int) -> Image:
    """The picture turned clockwise by 0, 90, 180 or 270 degrees."""
    if not degrees:
        return image
    turn = _TURNS[degrees]
    if isinstance(image, Yuv):
        y, u, v = (cv2.rotate(plane, turn) for plane in (image.y, image.u, image.v))
        return replace(image, y=y, u=u, v=v)  # type: ignore[arg-type]
    return cv2.rotate(image, turn)  # type: ignore[return-value]


def without_password(spec: str) -> str:
    """The spec as it may be shown: of an address no user, no password, no query."""
    if "://" not in spec:
        return spec
    scheme, _, rest = spec.partition("://")
    place, query, _ = rest.partition("?")
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?…' if query else ''}"


def without_secrets(text: str, spec: str) -> str:
    """A library's text in which addresses have neither user nor password, and the spec's query is gone."""
    if "://" not in spec:
        return text
    text = text.replace(spec, without_password(spec))
    query = urlsplit(spec).query
    return re.sub(r"//[^/\s]*@", "//", text.replace(query, "…") if query else text)
