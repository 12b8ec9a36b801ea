"""A ribbon-cable camera of a Raspberry Pi, through picamera2 and libcamera.

It runs in the process that `supervised_camera.py` starts and may kill; libcamera can hang where no timeout reaches.
That process also rotates the pictures, in the same way for all cameras.
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
    "sudo apt install -y python3-picamera2; a virtual environment sees it only if /usr/bin/python3 created it with "
    "--system-site-packages, as `make run` does on Raspberry Pi OS: rm -r .venv && make run"
)
_FORMAT = "YUV420"  # the native output of Raspberry Pi's image processors; the luma plane comes first
_BUFFERS = 4  # one with us, one being filled, two waiting; more would only take contiguous memory from the GPU
_SILENCE_S = 2.0  # plus exposure and frame interval; a sensor on a bad ribbon cable falls silent without an error
_NEWEST_AGE_S = 10.0  # an older time stamp is invalid: libcamera 0.4's virtual camera sends such ones

_TO_RGB = {"RGB888": cv2.COLOR_BGR2RGB, "XBGR8888": cv2.COLOR_RGBA2RGB, "XRGB8888": cv2.COLOR_BGRA2RGB}
_YUV = {"YUV420": from_i420, "NV12": from_nv12, "YUYV": from_yuyv}
_MATRIX = {"Rec601": "bt601", "Rec709": "bt709"}
_NOISE_REDUCTION = {"off": "Off", "fast": "Fast", "high": "HighQuality"}
_IN_FOCUS = {2: True, 3: False}  # libcamera's AfState: 0 idle, 1 scanning, 2 focused, 3 failed


def cameras() -> list[dict[str, Any]]:
    """Model, Id, Num, Location of each camera that libcamera finds, USB cameras last (their Id contains `/usb`).

    Takes about a second on a Raspberry Pi and leaves libcamera's threads behind: call it in a process that may have them.
    Raises CameraLost if picamera2 cannot be imported.
    """
    Picamera2, _ = _import()
    return list(Picamera2.global_camera_info())


class PiCamera:
    """Frames of camera `number` in 4:2:0 as the image processor writes them, in full range if possible."""

    def __init__(self, number: int, settings: CameraSettings) -> None:
        """Open, configure and start. Raises CameraLost if there is no such camera, it is busy, or cannot be configured."""
        Picamera2, libcamera = _import()
        known = cameras()
        if number >= len(known):
            seen = f"libcamera finds {len(known)}" if known else "libcamera finds none"
            raise CameraLost(
                f"picamera2:{number}: no such camera, {seen}; check the ribbon cable and which way round it is, "
                "then run `rpicam-hello --list-cameras`"
            )
        self._name = f"picamera2:{number}"
        self._index = 0
        self._camera: Any = None
        try:
            self._camera = Picamera2(number)
            self._start(libcamera, settings, str(known[number].get("Model", "unknown")))
        except (RuntimeError, OSError) as error:
            self.close()
            if isinstance(error, CameraLost):
                raise
            reason = error.__cause__ or error  # picamera2 wraps libcamera's error
            raise CameraLost(
                f"{self._name}: cannot be started ({reason}); does another program use it? See `fuser -v /dev/media*`"
            ) from error

    def _start(self, libcamera: Any, settings: CameraSettings, model: str) -> None:
        camera = self._camera
        # Full range: unless it is requested, video has luma 16-235 (rpicam-apps issue 780).
        # No queue: picamera2 would keep an old frame for a late reader. A waiting reader still gets every frame, since `read`
        # only copies, in far less than a frame's time.
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
        actual = camera.camera_configuration()["main"]  # libcamera silently changes what it cannot do
        self._format, self._size_wh, self._stride = actual["format"], tuple(actual["size"]), actual["stride"]
        if self._format not in _YUV and self._format not in _TO_RGB and self._format != "BGR888":
            readable = ", ".join([*_YUV, *_TO_RGB, "BGR888"])
            raise CameraLost(f"{self._name}: delivers {self._format}, expected one of {readable}; use --source v4l2:DEVICE")
        # Not camera_configuration()["colour_space"]: picamera2 looks it up by primaries, which hides the range.
        self._matrix, self._full_range = matrix_and_range(camera.libcamera_config.at(0).color_space)
        if self._size_wh != settings.size_wh:
            log.warning("%s: requested %dx%d, but it delivers %dx%d", self._name, *settings.size_wh, *self._size_wh)
        self.fps = settings.fps
        if interval := controls.get("FrameDurationLimits"):
            shortest_us = camera.camera_controls["FrameDurationLimits"][0]  # of the selected sensor mode
            self.fps = 1e6 / max(interval[0], shortest_us)
            if self.fps < 0.98 * settings.fps:
                log.warning("%s: requested %.4g fps, but %.4g are possible", self._name, settings.fps, self.fps)
        self._silence_s = _SILENCE_S + settings.exposure_ms / 1000 + (1 / self.fps if self.fps else 0)
        self.description = f"{self._name}, {model}, {self._size_wh[0]}x{self._size_wh[1]} {self._format} at {self.fps:.4g} fps"
        camera.start()

    def read(self) -> Frame:
        """Wait for the next frame. Raises CameraLost if none arrives in time."""
        if self._camera is None:
            raise CameraLost(f"{self._name}: is closed; open it again")
        try:
            # capture_array() and capture_request() alone would wait forever.
            request = self._camera.wait(self._camera.capture_request(wait=False), timeout=self._silence_s)
            try:
                metadata = request.get_metadata()
                buffer = request.make_buffer("main")  # the only copy; the planes are views of it
            finally:
                request.release()  # otherwise the camera runs out of buffers and falls silent
        except TimeoutError as error:
            raise CameraLost(
                f"{self._name}: no frame within {self._silence_s:.1f} s, after {self._index} frames; check ribbon cable and power"
            ) from error
        except (RuntimeError, OSError) as error:
            raise CameraLost(
                f"{self._name}: stopped after {self._index} frames ({error}); check ribbon cable and power"
            ) from error
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
            camera.close()  # without stop(), which would wait forever after a capture that timed out
        except (RuntimeError, OSError) as error:
            log.warning("%s: was not released cleanly (%s)", self._name, error)


def image_of(
    buffer: NDArray[np.uint8], pixel_format: str, size_wh: tuple[int, int], stride: int, matrix: str, full_range: bool
) -> Image:
    """A camera buffer with rows of `stride` bytes -> 4:2:0 planes (views) or R G B (a copy).

    `pixel_format` is libcamera's name. It gives the order in a little-endian word, so memory order is reversed: `RGB888` is
    B, G, R.
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
    """libcamera's actual ColorSpace -> (`bt601` or `bt709`, full range?). None gives the usual one of USB cameras."""
    if colour_space is None:
        return "bt601", False
    return _MATRIX.get(colour_space.ycbcrEncoding.name, "bt601"), colour_space.range.name == "Full"


def captured_at(sensor_ns: int | None, now_s: float, suspended_s: float) -> float:
    """The sensor's time stamp in seconds on the clock of `time.monotonic()`, which now reads `now_s`.

    libcamera documents CLOCK_BOOTTIME, which includes the `suspended_s` that the board slept; its drivers pass on
    CLOCK_MONOTONIC. A time stamp from the future can only be CLOCK_BOOTTIME. Without a plausible time stamp: now.
    """
    if sensor_ns is None:
        return now_s
    stamp_s = sensor_ns / 1e9
    if stamp_s > now_s:
        stamp_s -= suspended_s
    return stamp_s if now_s - _NEWEST_AGE_S < stamp_s <= now_s else now_s


def shot_of(metadata: Mapping[str, Any]) -> Shot:
    """The settings in libcamera's metadata of one frame; None for missing ones. ExposureTime is in microseconds."""
    exposure_us = metadata.get("ExposureTime")
    return Shot(
        exposure_s=None if exposure_us is None else exposure_us / 1e6,
        gain=metadata.get("AnalogueGain"),
        in_focus=_IN_FOCUS.get(metadata.get("AfState", 0)),
        lens_dioptres=metadata.get("LensPosition"),
        lux=metadata.get("Lux"),
    )


def controls_of(settings: CameraSettings, offered: Mapping[str, Any], libcamera: Any) -> dict[str, Any]:
    """The controls to request of sensor, lens and image processor; those that the camera lacks are logged and left out."""
    known = libcamera.controls
    requested: dict[str, Any] = {}
    if settings.fps:  # a longer exposure than the interval has priority: the user set it
        interval_us = max(round(1e6 / settings.fps), round(settings.exposure_ms * 1000))
        requested["FrameDurationLimits"] = (interval_us, interval_us)
    if settings.exposure_ms:  # if only exposure or gain is set, the other stays automatic
        requested["ExposureTime"] = round(settings.exposure_ms * 1000)
    if settings.gain:
        requested["AnalogueGain"] = settings.gain
    if settings.focus != "auto":
        requested |= {"AfMode": known.AfModeEnum.Manual, "LensPosition": float(settings.focus)}
    elif "AfMode" in offered:
        requested["AfMode"] = known.AfModeEnum.Continuous
    if settings.sharpness is not None:
        requested["Sharpness"] = settings.sharpness
    if settings.noise_reduction != "auto":
        levels = known.draft.NoiseReductionModeEnum
        requested["NoiseReductionMode"] = getattr(levels, _NOISE_REDUCTION[settings.noise_reduction])
    if missing := sorted(requested.keys() - offered.keys()):
        log.warning("this camera has no %s: the setting has no effect", ", ".join(missing))
    return {name: value for name, value in requested.items() if name in offered}


def _import() -> tuple[Any, Any]:
    """(Picamera2, libcamera). Raises CameraLost with the command that fixes it."""
    try:
        import libcamera
        from picamera2 import Picamera2
    except ModuleNotFoundError as error:
        raise CameraLost(f"picamera2 cannot be imported (no module {error.name}); {INSTALL}") from error
    except (ImportError, ValueError, AttributeError) as error:
        # Compiled for numpy 1 but run with numpy 2 (picamera2 issues 1088, 1211), or the other way round.
        raise CameraLost(
            f"picamera2 does not work with numpy {np.__version__} ({error}); on Bookworm: "
            "pip install -c constraints/bookworm.txt numpy opencv-python-headless"
        ) from error
    return Picamera2, libcamera
