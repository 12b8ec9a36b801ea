"""Open a camera as it is, unsupervised: what a camera's own process calls."""

import importlib.util

from device.errors import CameraLost, UsageError
from device.settings import CameraSettings
from device.sources.camera import Camera


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
