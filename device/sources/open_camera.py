"""Open a camera without supervision; the camera's own process calls this."""

import importlib.util

from device.errors import CameraLost, UsageError
from device.settings import CameraSettings
from device.sources.camera import Camera


def open_camera(spec: str, settings: CameraSettings) -> Camera:
    """Open `auto`, `picamera2[:N]`, `v4l2:/dev/videoN`, `rtsp://…` or `http(s)://…`.

    Raises CameraLost if there is no camera or it does not work, UsageError for an invalid spec.
    """
    kind, _, rest = spec.partition(":")
    if kind == "auto":
        return open_camera(first_camera(), settings)
    if kind == "picamera2":
        from device.sources.picamera import PiCamera

        if rest and not rest.isdecimal():
            raise UsageError(f"{spec}: expected picamera2, or picamera2:N with the number of the camera, for example picamera2:1")
        return PiCamera(int(rest or 0), settings)
    if kind == "v4l2":
        from device.sources.v4l2 import V4l2Camera

        if not rest:
            raise UsageError(f"{spec}: expected the camera's device node after it, for example v4l2:/dev/video0")
        return V4l2Camera(rest, settings)
    from device.sources.network import open_stream

    return open_stream(spec)


def first_camera() -> str:
    """The spec of the first camera: a ribbon-cable camera if picamera2 finds one, else a V4L2 camera. Raises CameraLost."""
    from device.sources.nodes import cameras as v4l2_cameras

    if importlib.util.find_spec("picamera2") is not None:
        from device.sources.picamera import cameras as pi_cameras

        for number, camera in enumerate(pi_cameras()):
            if "/usb" not in str(camera.get("Id", "")):  # libcamera lists USB cameras too, but without their MJPEG modes
                return f"picamera2:{number}"
    nodes, others = v4l2_cameras()
    if nodes:
        return f"v4l2:{nodes[0]}"
    seen = f"none of the {len(others)} video nodes is a camera ({'; '.join(others)})" if others else "no /dev/video node"
    raise CameraLost(f"no camera: {seen}; connect one, join the group `video`, or try --source demo")
