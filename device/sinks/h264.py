"""H.264 encoding for the recorder and the publisher.

It needs PyAV (extra `live`), which includes FFmpeg and x264 and is imported when the first stream is opened.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.errors import RunError
from device.images.frame import Image
from device.images.yuv import Plane, Yuv, from_rgb

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)
MISSING = "recording and publishing need PyAV, which is not installed: pip install 'deblurkit[live]'"
TIME_BASE = Fraction(1, 90_000)  # the clock rate of RTP and MPEG
KEY_FRAME_EVERY_S = 1.0
_USUAL_FPS = 30.0
# ISO/IEC 23091-2 codes. Matrix and range are those of the picture; primaries and transfer are sRGB's, as in JPEG.
_MATRIX = {"bt601": 5, "bt709": 1}
_PRIMARIES, _TRANSFER = 1, 13
_LIMITED, _FULL = 1, 2  # FFmpeg's AVColorRange
_NAMES = Path("/sys/class/video4linux")
_HARDWARE_NAME = "bcm2835-codec-encode"  # in Raspberry Pis up to the 4; the 5 has no encoder
_X264 = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}


@dataclass(frozen=True)
class StreamFormat:
    """What all pictures of a stream have in common."""

    width: int
    height: int
    matrix: str = "bt601"
    full_range: bool = True

    @property
    def coded_wh(self) -> tuple[int, int]:
        """(width, height) in the stream: 4:2:0 needs even sides, so an odd side repeats its last column or row."""
        return self.width + self.width % 2, self.height + self.height % 2


def stream_format(image: Image) -> StreamFormat:
    """The format of a stream of pictures like this one; R G B becomes 4:2:0 as in JPEG."""
    height, width = image.shape[:2]
    return StreamFormat(width, height, image.matrix, image.full_range) if isinstance(image, Yuv) else StreamFormat(width, height)


def as_yuv(image: Image) -> Yuv:
    """The picture as 4:2:0. OpenCV converts R G B in two thirds of the time of FFmpeg's scaler."""
    return image if isinstance(image, Yuv) else from_rgb(image)


class Encoder:
    """One H.264 stream in a container. Owned and used by one thread; end it with `finish` or `abandon`.

    It encodes on one thread, so that inference keeps the other cores. There is a key frame every second. Time stamps are
    capture times, so the frame rate may vary.
    """

    def __init__(
        self, target: Any, container: str, options: dict[str, str], format: StreamFormat, fps: float, mbit: float
    ) -> None:
        """`target`: an address, or a file object for FFmpeg; `container` and `options` are FFmpeg's.

        `fps` is the expected frame rate (0: unknown), `mbit` the bit rate in Mbit/s. Raises RunError.
        """
        av = pyav()
        self._av, self._format = av, format
        codec = "h264_v4l2m2m" if _hardware_works(format.coded_wh) else "libx264"
        rate = Fraction(fps or _USUAL_FPS).limit_denominator(1001)
        bits = round(mbit * 1e6)
        limits = {**_X264, "maxrate": str(bits), "bufsize": str(bits)} if codec == "libx264" else {}
        try:
            self._container: Any = av.open(target, "w", format=container, options=options)
            self._stream = self._container.add_stream(codec, rate=rate, options=limits)
        except av.FFmpegError as error:
            raise RunError(f"cannot create an H.264 stream in {container}: {error}; check address and network") from error
        context = self._stream.codec_context
        context.width, context.height = format.coded_wh
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        context.bit_rate = bits
        context.gop_size = round(60 * float(rate))  # longer than needed: `write` requests key frames by time
        context.thread_count = 1
        context.colorspace = _MATRIX[format.matrix]
        context.color_range = _FULL if format.full_range else _LIMITED
        context.color_primaries, context.color_trc = _PRIMARIES, _TRANSFER
        self._began_s: float | None = None
        self._last_pts = -1
        self._next_key_pts = 0

    def write(self, picture: Yuv, captured_s: float) -> None:
        """Encode one picture of this format and write it to the container.

        Raises RunError if FFmpeg fails, and whatever the file object raises.
        """
        if self._began_s is None:
            self._began_s = captured_s
        frame = self._video_frame(picture)
        frame.pts = max(round((captured_s - self._began_s) / TIME_BASE), self._last_pts + 1)
        frame.time_base = TIME_BASE
        if frame.pts >= self._next_key_pts:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._next_key_pts = frame.pts + round(KEY_FRAME_EVERY_S / TIME_BASE)
        self._last_pts = frame.pts
        self._encode(frame)

    def finish(self) -> None:
        """Write what is buffered in encoder and container. Raises like `write`."""
        if self._began_s is not None:
            self._encode(None)
        container, self._container = self._container, None
        try:
            container.close()
        except self._av.FFmpegError as error:
            raise RunError(f"FFmpeg: {error.strerror}") from error

    def abandon(self) -> None:
        """Free everything; errors while the container is closed are ignored."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(Exception):
                container.close()

    def _encode(self, frame: "VideoFrame | None") -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._av.FFmpegError as error:
            raise RunError(f"FFmpeg: {error.strerror}") from error

    def _video_frame(self, picture: Yuv) -> "VideoFrame":
        frame = self._av.VideoFrame(*self._format.coded_wh, "yuv420p")
        for plane, source in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            _fill(rows[: plane.height, : plane.width], source)
        return frame


def pyav() -> Any:
    """The module `av`. Raises RunError with the command that installs it if it is missing."""
    try:
        import av
    except ImportError as error:
        raise RunError(MISSING) from error
    return av


def _fill(target: Plane, source: Plane) -> None:
    """Copy a plane; if the target has one more row or column, repeat the last one."""
    height, width = source.shape
    target[:height, :width] = source
    target[:height, width:] = target[:height, width - 1 : width]
    target[height:] = target[height - 1 : height]


@cache
def _hardware_works(coded_wh: tuple[int, int]) -> bool:
    """Whether the board's hardware encoder accepts pictures of this size; tested once per size."""
    names = (path.read_text(errors="replace").strip() for path in sorted(_NAMES.glob("video*/name")))
    if _HARDWARE_NAME not in names:
        return False
    av = pyav()
    try:
        context = av.CodecContext.create("h264_v4l2m2m", "w")
        context.width, context.height = coded_wh
        context.pix_fmt, context.time_base, context.framerate = "yuv420p", TIME_BASE, Fraction(30)
        frame = av.VideoFrame(*coded_wh, "yuv420p")
        frame.pts, frame.time_base = 0, TIME_BASE
        if context.encode(frame) + context.encode(None):
            return True
        reason = "it returned no data"
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = str(error)
    log.warning("the board's H.264 encoder does not accept %dx%d pictures (%s); using x264 instead", *coded_wh, reason)
    return False
