"""V4L2 cameras: USB cameras, HDMI grabbers, everything with a /dev/video node that captures pictures.

We use the kernel's interface directly because OpenCV's capture hides facts that we need about a frame: how many bytes arrived,
whether the driver marked it as damaged, its stride, its colour space, and the clock of its time stamp
(opencv/modules/videoio/src/cap_v4l.cpp copies `bytesused` bytes and keeps the rest of the previous frame).
"""

import ctypes
import logging
import mmap
import os
import select
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from device.errors import CameraLost
from device.images.frame import Frame, Image, Shot
from device.images.yuv import Yuv, from_i420, from_nv12, from_yuyv
from device.settings import CameraSettings
from device.sources import videodev2 as v4l2
from device.sources.checks import BadFrame
from device.sources.mjpeg import decode_jpeg
from device.sources.nodes import JPEGS, choose_mode, explain_open_error, modes_of, require_camera

log = logging.getLogger(__name__)

_BUFFERS = 3  # one being filled, one waiting, one with us; with fewer, a camera at full rate loses every second frame
_READ_S = 2.0
_NEWEST_AGE_S = 5.0  # an older time stamp comes from another clock
_AHEAD_S = 0.1  # drivers that predict the end of a frame are ahead of it: vivid by 27 ms
_PLANES: dict[str, tuple[float, Callable[..., Yuv]]] = {  # bytes per pixel, and the function that makes planes of them
    "YUYV": (2.0, from_yuyv),
    "NV12": (1.5, from_nv12),
    "YU12": (1.5, from_i420),
}


def colours(pix: v4l2.PixFormat) -> tuple[str, bool]:
    """(matrix, full range) of the driver's pictures.

    Defaults are resolved like V4L2_MAP_YCBCR_ENC_DEFAULT and V4L2_MAP_QUANTIZATION_DEFAULT in videodev2.h. Most USB cameras
    report sRGB, which means BT.601 with 16 to 235.
    """
    is_709 = pix.ycbcr_enc in (v4l2.YCBCR_ENC_709, v4l2.YCBCR_ENC_XV709)
    if pix.ycbcr_enc == v4l2.YCBCR_ENC_DEFAULT:
        is_709 = pix.colorspace in (v4l2.COLORSPACE_REC709, v4l2.COLORSPACE_DCI_P3)
    full = pix.quantization == v4l2.QUANTIZATION_FULL_RANGE
    if pix.quantization == v4l2.QUANTIZATION_DEFAULT:
        full = pix.colorspace == v4l2.COLORSPACE_JPEG
    return "bt709" if is_709 else "bt601", full


class V4l2Camera:
    """Frames of one node: 4:2:0 if it delivers uncompressed pictures, R G B if it delivers JPEG."""

    def __init__(self, path: str, settings: CameraSettings) -> None:
        """Open, configure and start. Raises CameraLost."""
        self._path, self._index = path, 0
        self._buffers: list[mmap.mmap] = []
        self._warn_about_clock = True
        try:
            self._fd = v4l2.open_node(path)
        except OSError as error:
            raise CameraLost(f"{path}: {explain_open_error(error)}") from error
        try:
            card = require_camera(self._fd)
            self._configure(settings, card)
            self._start()
        except CameraLost as error:
            self.close()
            raise CameraLost(f"{path}: {error}") from error
        except OSError as error:
            self.close()
            raise CameraLost(f"{path}: cannot be started ({error.strerror}); does another program use it?") from error

    def _configure(self, settings: CameraSettings, card: str) -> None:
        mode = choose_mode(modes_of(self._fd, settings.size_wh), settings.size_wh, settings.fps, settings.format)
        requested = v4l2.Format(type=v4l2.CAPTURE)
        requested.fmt.pix = v4l2.PixFormat(
            width=mode.width, height=mode.height, pixelformat=v4l2.fourcc(mode.format), field=v4l2.FIELD_NONE
        )
        v4l2.call(self._fd, v4l2.S_FMT, requested)
        self._pix: v4l2.PixFormat = requested.fmt.pix  # the actual format: a driver changes what it cannot do
        self._format = v4l2.letters(self._pix.pixelformat)
        if self._format not in _PLANES and self._format not in JPEGS:
            raise CameraLost(f"delivers {self._format}, expected {mode.format}; try another `format` under [camera]")
        self._matrix, self._full_range = colours(self._pix)
        self.fps = self._set_rate(settings.fps) or mode.fps or settings.fps
        size = f"{self._pix.width}x{self._pix.height}"
        self.description = f"{self._path}, {card}, {size} {self._format} at {self.fps:.4g} fps"
        if size != settings.size or self.fps < 0.95 * settings.fps:
            self.description += f" (requested: {settings.size} at {settings.fps:.4g})"
        self._shot = _set_controls(self._fd, self._path, settings)

    def _set_rate(self, fps: float) -> float:
        """Request a rate; returns the actual one, 0.0 if the driver cannot set it."""
        parm = v4l2.StreamParm(type=v4l2.CAPTURE)
        try:
            parm.parm.capture.timeperframe = v4l2.Fract(1000, round(1000 * fps))
            v4l2.call(self._fd, v4l2.S_PARM, parm)
            v4l2.call(self._fd, v4l2.G_PARM, parm)
        except OSError:
            return 0.0
        interval = parm.parm.capture.timeperframe
        return interval.denominator / interval.numerator if interval.numerator else 0.0

    def _start(self) -> None:
        request = v4l2.RequestBuffers(count=_BUFFERS, type=v4l2.CAPTURE, memory=v4l2.MMAP)
        v4l2.call(self._fd, v4l2.REQBUFS, request)
        for index in range(request.count):
            buffer = v4l2.Buffer(index=index, type=v4l2.CAPTURE, memory=v4l2.MMAP)
            v4l2.call(self._fd, v4l2.QUERYBUF, buffer)
            self._buffers.append(mmap.mmap(self._fd, buffer.length, prot=mmap.PROT_READ, offset=buffer.m.offset))
            v4l2.call(self._fd, v4l2.QBUF, buffer)
        v4l2.call(self._fd, v4l2.STREAMON, ctypes.c_int(v4l2.CAPTURE))

    def read(self) -> Frame:
        """Wait for the newest frame. Raises BadFrame; CameraLost if the camera is gone or silent for two seconds."""
        try:
            buffer = self._newest()
            try:
                now = time.monotonic()
                captured_s = self._captured_s(buffer, now)
                image = self._image(buffer)
            finally:
                v4l2.call(self._fd, v4l2.QBUF, buffer)
        except CameraLost:
            raise
        except BadFrame as error:
            raise BadFrame(f"{self._path}: {error}") from error
        except OSError as error:  # ENODEV: unplugged
            raise CameraLost(f"{self._path}: is gone ({error.strerror}); check its plug, cable and power") from error
        self._index += 1
        return Frame(self._index - 1, captured_s, image, shot=self._shot)

    def _newest(self) -> v4l2.Buffer:
        """The buffer filled last; older ones are returned to the driver."""
        until = time.monotonic() + _READ_S
        newest: v4l2.Buffer | None = None
        while True:
            buffer = v4l2.Buffer(type=v4l2.CAPTURE, memory=v4l2.MMAP)
            try:
                v4l2.call(self._fd, v4l2.DQBUF, buffer)
            except BlockingIOError:
                if newest is not None:
                    return newest
                if not select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise CameraLost(f"{self._path}: no frame for {_READ_S:.0f} s; check its plug, cable and power") from None
                continue
            if newest is not None:
                v4l2.call(self._fd, v4l2.QBUF, newest)
            newest = buffer

    def _captured_s(self, buffer: v4l2.Buffer, now: float) -> float:
        """The driver's time stamp if it is CLOCK_MONOTONIC, like time.monotonic(); else the time when the frame was fetched."""
        stamp = buffer.tv_sec + buffer.tv_usec / 1e6
        monotonic = buffer.flags & v4l2.BUF_FLAG_TIMESTAMP_MASK == v4l2.BUF_FLAG_TIMESTAMP_MONOTONIC
        if monotonic and -_AHEAD_S < now - stamp < _NEWEST_AGE_S:
            return min(float(stamp), now)
        if self._warn_about_clock:
            log.warning(
                "%s: the driver's time stamps use another clock; frame age counts from when a frame is fetched", self._path
            )
            self._warn_about_clock = False
        return now

    def _image(self, buffer: v4l2.Buffer) -> Image:
        if buffer.flags & v4l2.BUF_FLAG_ERROR:
            raise BadFrame("damaged according to the driver")
        data: NDArray[np.uint8] = np.frombuffer(self._buffers[buffer.index], np.uint8)[: buffer.bytesused]
        if self._format in JPEGS:
            return decode_jpeg(data.tobytes())
        return unpack(data, self._pix, self._format, self._matrix, self._full_range)

    def close(self) -> None:
        """Stop and release the device. Closing twice is safe."""
        if self._fd >= 0:
            os.close(self._fd)  # stops the stream and frees its buffers, even if the device was unplugged
            self._fd = -1
            self._buffers.clear()


def unpack(data: NDArray[np.uint8], pix: v4l2.PixFormat, format: str, matrix: str, full_range: bool) -> Yuv:
    """Copy one uncompressed picture out of a buffer. Raises BadFrame if bytes are missing."""
    per_pixel, planes = _PLANES[format]
    # bytesperline belongs to the first plane; some drivers leave it 0.
    stride = pix.bytesperline or pix.width * (2 if format == "YUYV" else 1)
    expected = stride * pix.height if format == "YUYV" else round(stride * pix.height * per_pixel)
    if data.size < expected:
        raise BadFrame(f"truncated: {data.size} bytes, expected {expected}")
    return planes(data, pix.width, pix.height, stride, matrix, full_range).copy()


def _set_controls(fd: int, path: str, settings: CameraSettings) -> Shot | None:
    """Set exposure, gain, focus and sharpness if the camera has them; returns what is then known about every frame."""

    def put(control: int, name: str, value: Callable[[v4l2.QueryCtrl], float]) -> bool:
        known = v4l2.QueryCtrl(id=control)
        try:
            v4l2.call(fd, v4l2.QUERYCTRL, known)
            if known.flags & v4l2.CTRL_FLAG_DISABLED:
                return False
            number = min(max(round(value(known)), known.minimum), known.maximum)
            v4l2.call(fd, v4l2.S_CTRL, v4l2.Control(control, number))
        except OSError:
            if name:
                log.warning("%s: cannot set its %s", path, name)
            return False
        return True

    exposure_s = None
    if settings.exposure_ms:
        put(v4l2.CID_EXPOSURE_AUTO, "", lambda _: v4l2.EXPOSURE_MANUAL)
        if put(v4l2.CID_EXPOSURE_ABSOLUTE, "exposure time", lambda _: 10 * settings.exposure_ms):  # unit: 100 µs
            exposure_s = settings.exposure_ms / 1000
    else:
        put(v4l2.CID_EXPOSURE_AUTO, "", lambda _: v4l2.EXPOSURE_APERTURE_PRIORITY)
    if settings.gain:
        put(v4l2.CID_GAIN, "gain", lambda _: settings.gain)
    if settings.focus == "auto":
        put(v4l2.CID_FOCUS_AUTO, "", lambda _: 1)
    else:
        put(v4l2.CID_FOCUS_AUTO, "", lambda _: 0)
        log.warning("%s: focus has no unit in V4L2; set it with `v4l2-ctl -d %s -c focus_absolute=…`", path, path)
    if settings.sharpness is not None:
        sharpness = settings.sharpness
        put(v4l2.CID_SHARPNESS, "sharpness", lambda c: c.minimum + sharpness * (c.default_value - c.minimum))
    return Shot(exposure_s=exposure_s) if exposure_s else None
