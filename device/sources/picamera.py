"""A camera on the ribbon of a Raspberry Pi, through picamera2 and libcamera.

It runs in the process that `supervised_camera.py` starts and may kill; libcamera can hang where no timeout reaches.
Rotation is left to that process, which turns the pictures of all cameras alike.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.errors import CameraLost
from device.images.frame import Frame, Image, Shot
from device.images.yuv import from_i420, from_nv12, from_yuyv
from device.settings import CameraSettings

log = logging.getLogger(__name__)

INSTALL = (
    "sudo apt install -y python3-picamera2; an environment sees it only where it was made by /usr/bin/python3 with "
    "--system-site-packages, as `make run` makes it on Raspberry Pi OS: rm -r .venv && make run"
)
_FORMAT = "YUV420"  # what Raspberry Pi's image processors write themselves; the plane of brightness comes first
_BUFFERS = 4  # one with us, one being filled, two waiting: more of them only take contiguous memory from the GPU
_SILENCE_S = 2.0  # beyond exposure and frame interval; a sensor on a bad ribbon falls silent without an error
_NEWEST_AGE_S = 10.0  # a stamp older than that is no stamp: libcamera 0.4's virtual camera gave such

_TO_RGB = {"RGB888": cv2.COLOR_BGR2RGB, "XBGR8888": cv2.COLOR_RGBA2RGB, "XRGB8888": cv2.COLOR_BGRA2RGB}
_YUV = {"YUV420": from_i420, "NV12": from_nv12, "YUYV": from_yuyv}
_MATRIX = {"Rec601": "bt601", "Rec709": "bt709"}
_NOISE_REDUCTION = {"off": "Off", "fast": "Fast", "high": "HighQuality"}
_IN_FOCUS = {2: True, 3: False}  # libcamera's AfState: 0 idle, 1 scanning, 2 focused, 3 failed


def cameras() -> list[dict[str, Any]]:
    """Model, Id, Num, Location of each camera that libcamera knows, USB cameras last (their Id holds `/usb`).

    Takes about a second on a Raspberry Pi and leaves libcamera's threads behind: ask in a process that may have them.
    Raises CameraLost where picamera2 cannot be imported.
    """
    Picamera2, _ = _import()
    return list(Picamera2.global_camera_info())


class PiCamera:
    """Frames of camera `number`, 4:2:0 as the image processor writes them, in full range where it can."""

    def __init__(self, number: int, settings: CameraSettings) -> None:
        """Open, configure and start. Raises CameraLost when there is no such camera, or it is busy or cannot do this."""
        Picamera2, libcamera = _import()
        found = cameras()
        if number >= len(found):
            seen = f"libcamera sees {len(found)}" if found else "libcamera sees none"
            raise CameraLost(
                f"picamera2:{number}: no such camera, {seen}; look at the ribbon and its direction, "
                "then at `rpicam-hello --list-cameras`"
            )
        self._name = f"picamera2:{number}"
        self._index = 0
        self._camera: Any = None
        try:
            self._camera = Picamera2(number)
            self._start(libcamera, settings, str(found[number].get("Model", "unknown")))
        except (RuntimeError, OSError) as error:
            self.close()
            if isinstance(error, CameraLost):
                raise
            reason = error.__cause__ or error  # picamera2 wraps libcamera's reason
            raise CameraLost(
                f"{self._name}: cannot be started ({reason}); does another program use it? `fuser -v /dev/media*` tells"
            ) from error

    def _start(self, libcamera: Any, settings: CameraSettings, model: str) -> None:
        camera = self._camera
        # Full range: unless it is asked for, video comes with brightness 16-235 (rpicam-apps issue 780).
        # No queue: what picamera2 keeps for a late reader is an old frame. A reader that waits gets every frame all the
        # same, since `read` only copies, in far less than a frame's time.
        controls = controls_of(settings, camera.camera_controls, libcamera)
        camera.configure(
            camera.create_video_configuration(
                main={"size": settings.size_wh, "format": _FORMAT},
                colour_space=libcamera.ColorSpace.Sycc(),
                buffer_count=_BUFFERS,
                queue=False,
                controls=controls,
            )
        )
        got = camera.camera_configuration()["main"]  # libcamera changes what it cannot do and says nothing
        self._format, self._size_wh, self._stride = got["format"], tuple(got["size"]), got["stride"]
        if self._format not in _YUV and self._format not in _TO_RGB and self._format != "BGR888":
            known = ", ".join([*_YUV, *_TO_RGB, "BGR888"])
            raise CameraLost(f"{self._name}: gives pixels as {self._format}, and {known} can be read; use --source v4l2:DEVICE")
        # Not camera_configuration()["colour_space"]: picamera2 looks that up by primaries and hides the range.
        self._matrix, self._full_range = matrix_and_range(camera.libcamera_config.at(0).color_space)
        if self._size_wh != settings.size_wh:
            log.warning("%s: %dx%d was asked for, %dx%d is what it gives", self._name, *settings.size_wh, *self._size_wh)
        self.fps = settings.fps
        if interval := controls.get("FrameDurationLimits"):
            shortest_us = camera.camera_controls["FrameDurationLimits"][0]  # of the sensor's mode that was chosen
            self.fps = 1e6 / max(interval[0], shortest_us)
            if self.fps < 0.98 * settings.fps:
                log.warning("%s: %.4g fps were asked for, %.4g are possible", self._name, settings.fps, self.fps)
        self._silence_s = _SILENCE_S + settings.exposure_ms / 1000 + (1 / self.fps if self.fps else 0)
        self.description = f"{self._name}, {model}, {self._size_wh[0]}x{self._size_wh[1]} {self._format} at {self.fps:.4g} fps"
        camera.start()

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLost when none comes in time."""
        if self._camera is None:
            raise CameraLost(f"{self._name}: is closed; open it again")
        try:
            # capture_array() and capture_request() on their own wait for ever.
            request = self._camera.wait(self._camera.capture_request(wait=False), timeout=self._silence_s)
            try:
                metadata = request.get_metadata()
                buffer = request.make_buffer("main")  # the only copy; the planes are views into it
            finally:
                request.release()  # else the camera runs out of buffers and falls silent
        except TimeoutError as error:
            raise CameraLost(
                f"{self._name}: no frame within {self._silence_s:.1f} s, after {self._index}; check ribbon and power"
            ) from error
        except (RuntimeError, OSError) as error:
            raise CameraLost(f"{self._name}: stopped after {self._index} frames ({error}); check ribbon and power") from error
        image = image_of(buffer, self._format, self._size_wh, self._stride, self._matrix, self._full_range)
        index, self._index = self._index, self._index + 1
        suspended_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        captured_s = captured_at(metadata.get("SensorTimestamp"), time.monotonic(), suspended_s)
        return Frame(index, captured_s, image, shot=shot_of(metadata))

    def close(self) -> None:
        """Stop and release the camera. Closing twice is safe."""
        camera, self._camera = self._camera, None
        if camera is None:
            return
        try:
            camera.close()  # not stop() first: that waits for ever behind a capture that timed out
        except (RuntimeError, OSError) as error:
            log.warning("%s: not released cleanly (%s)", self._name, error)


def image_of(
    buffer: NDArray[np.uint8], pixel_format: str, size_wh: tuple[int, int], stride: int, matrix: str, full_range: bool
) -> Image:
    """A camera's buffer, named as libcamera names it, rows of `stride` bytes -> 4:2:0 planes (views) or R G B (a copy).

    The names tell the order in a little-endian word, so in memory it is reversed: `RGB888` is B, G, R.
    """
    width, height = size_wh
    if pixel_format in _YUV:
        return _YUV[pixel_format](buffer, width, height, stride, matrix, full_range)
    channels = 4 if pixel_format.endswith("8888") else 3
    rows = buffer.reshape(-1)[: stride * height].reshape(height, stride)[:, : width * channels]
    pixels = rows.reshape(height, width, channels)
    if pixel_format == "BGR888":
        return np.ascontiguousarray(pixels)
    return cv2.cvtColor(pixels, _TO_RGB[pixel_format])  # type: ignore[return-value]


def matrix_and_range(colour_space: Any) -> tuple[str, bool]:
    """libcamera's ColorSpace, as got -> (`bt601` or `bt709`, full range?). None: what USB cameras mean by saying nothing."""
    if colour_space is None:
        return "bt601", False
    return _MATRIX.get(colour_space.ycbcrEncoding.name, "bt601"), colour_space.range.name == "Full"


def captured_at(sensor_ns: int | None, now_s: float, suspended_s: float) -> float:
    """The sensor's time stamp on the clock of `time.monotonic()`, which reads `now_s`, in seconds.

    libcamera documents CLOCK_BOOTTIME, which also counts the `suspended_s` that the board slept; its drivers hand on
    CLOCK_MONOTONIC. A stamp from the future can only be the first. Without a stamp that can be true: now.
    """
    if sensor_ns is None:
        return now_s
    stamp_s = sensor_ns / 1e9
    if stamp_s > now_s:
        stamp_s -= suspended_s
    return stamp_s if now_s - _NEWEST_AGE_S < stamp_s <= now_s else now_s


def shot_of(metadata: Mapping[str, Any]) -> Shot:
    """libcamera's metadata of one frame, as far as the camera gives it (exposure in microseconds)."""
    exposure_us = metadata.get("ExposureTime")
    return Shot(
        exposure_s=None if exposure_us is None else exposure_us / 1e6,
        gain=metadata.get("AnalogueGain"),
        in_focus=_IN_FOCUS.get(metadata.get("AfState", 0)),
        lens_dioptres=metadata.get("LensPosition"),
        lux=metadata.get("Lux"),
    )


def controls_of(settings: CameraSettings, offered: Mapping[str, Any], libcamera: Any) -> dict[str, Any]:
    """What is asked of sensor, lens and image processor, less what this camera does not offer; that is logged."""
    known = libcamera.controls
    asked: dict[str, Any] = {}
    if settings.fps:  # an exposure longer than the interval goes before: whoever set it wants it
        interval_us = max(round(1e6 / settings.fps), round(settings.exposure_ms * 1000))
        asked["FrameDurationLimits"] = (interval_us, interval_us)
    if settings.exposure_ms:  # the other of exposure and gain stays automatic
        asked["ExposureTime"] = round(settings.exposure_ms * 1000)
    if settings.gain:
        asked["AnalogueGain"] = settings.gain
    if settings.focus != "auto":
        asked |= {"AfMode": known.AfModeEnum.Manual, "LensPosition": float(settings.focus)}
    elif "AfMode" in offered:
        asked["AfMode"] = known.AfModeEnum.Continuous
    if settings.sharpness is not None:
        asked["Sharpness"] = settings.sharpness
    if settings.noise_reduction != "auto":
        levels = known.draft.NoiseReductionModeEnum
        asked["NoiseReductionMode"] = getattr(levels, _NOISE_REDUCTION[settings.noise_reduction])
    if lacking := sorted(asked.keys() - offered.keys()):
        log.warning("this camera has no %s: what was set for it does nothing", ", ".join(lacking))
    return {name: value for name, value in asked.items() if name in offered}


def _import() -> tuple[Any, Any]:
    """(Picamera2, libcamera). Raises CameraLost with the line that mends it."""
    try:
        import libcamera
        from picamera2 import Picamera2
    except ModuleNotFoundError as error:
        raise CameraLost(f"picamera2 cannot be imported (no module {error.name}); {INSTALL}") from error
    except (ImportError, ValueError, AttributeError) as error:
        # Compiled against numpy 1 and met by numpy 2 (picamera2 issues 1088, 1211), or the other way round.
        raise CameraLost(
            f"picamera2 does not fit numpy {np.__version__} ({error}); on Bookworm: "
            "pip install -c constraints/bookworm.txt numpy opencv-python-headless"
        ) from error
    return Picamera2, libcamera
