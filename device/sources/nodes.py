"""The /dev/video nodes: which are cameras, which modes each has, and which mode to request."""

import os
from dataclasses import dataclass
from pathlib import Path

from device.errors import CameraLost
from device.sources import videodev2 as v4l2

RAW = ("YUYV", "NV12", "YU12")  # formats that we can read, best first
JPEGS = ("MJPG", "JPEG")
# Drivers of nodes that deliver pictures but are not cameras: codecs and image processors of Raspberry Pis, and raw sensors,
# which need libcamera (driver names from the kernel's drivers/media/platform).
_NOT_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc-dec", "pispbe", "unicam", "rp1-cfe")


@dataclass(frozen=True)
class Mode:
    """One format, size and rate that a camera offers."""

    format: str
    """FourCC, for example YUYV."""
    width: int
    height: int
    fps: float
    """Highest rate; 0.0 if the driver does not report it."""


def cameras() -> tuple[list[str], list[str]]:
    """(nodes that are cameras, in the order of their numbers; for each other node, why it is not one or cannot be opened)."""
    nodes, others = [], []
    for path in sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name)):
        try:
            fd = v4l2.open_node(str(path))
        except OSError as error:
            others.append(f"{path}: {explain_open_error(error)}")
            continue
        try:
            require_camera(fd)
            nodes.append(str(path))
        except CameraLost as error:
            others.append(f"{path}: {error}")
        finally:
            os.close(fd)
    return nodes, others


def choose_mode(modes: list[Mode], size_wh: tuple[int, int], fps: float, format: str) -> Mode:
    """The best mode to request: nearest size first, then rate, then uncompressed before MJPEG.

    Uncompressed pictures need no decoding and have no block artefacts, which a restorer would sharpen. Raises CameraLost if
    no mode has the requested `format` (`yuyv`, `mjpeg`), or one that we can read.
    """
    wanted = {"auto": (*RAW, *JPEGS), "yuyv": ("YUYV",), "mjpeg": JPEGS}[format]
    readable = [mode for mode in modes if mode.format in wanted]
    if not readable:
        offered = ", ".join(sorted({mode.format for mode in modes})) or "none"
        raise CameraLost(f"delivers {offered}, expected {' or '.join(wanted)}; try another `format` under [camera]")
    width, height = size_wh

    def preference(mode: Mode) -> tuple[float, float, bool, int]:
        other_size = abs(mode.width - width) * height + abs(mode.height - height) * width
        reached = min(mode.fps, fps) if mode.fps < 0.95 * fps else fps  # 29.97 counts as 30
        return -other_size, reached, mode.format in RAW, -wanted.index(mode.format)

    return max(readable, key=preference)


def require_camera(fd: int) -> str:
    """The camera's name. Raises CameraLost if the node is not a camera."""
    capability = v4l2.Capability()
    try:
        v4l2.call(fd, v4l2.QUERYCAP, capability)
    except OSError as error:
        raise CameraLost("not a V4L2 device; `ls /dev/video*` lists them, --source auto uses the first camera") from error
    whole_device = capability.capabilities
    able = capability.device_caps if whole_device & v4l2.CAP_DEVICE_CAPS else whole_device
    driver, card = (text.decode(errors="replace") for text in (capability.driver, capability.card))
    if driver in _NOT_CAMERAS:
        raise CameraLost(f"{card} ({driver}) is not a camera by itself; for a ribbon-cable camera use --source picamera2")
    if able & (v4l2.CAP_VIDEO_M2M | v4l2.CAP_VIDEO_M2M_MPLANE):
        raise CameraLost(f"{card} ({driver}) converts pictures but captures none")
    if not able & v4l2.CAP_VIDEO_CAPTURE:
        reason = (
            "delivers pictures in several planes, expected one"
            if able & v4l2.CAP_VIDEO_CAPTURE_MPLANE
            else "captures no pictures"
        )
        raise CameraLost(f"{card} ({driver}) {reason}")
    if not able & v4l2.CAP_STREAMING:
        raise CameraLost(f"{card} ({driver}) does not support streaming")
    if not _formats(fd):
        raise CameraLost(f"{card} ({driver}) offers no format")
    return card


def _formats(fd: int) -> list[str]:
    formats: list[str] = []
    while len(formats) < 64:
        described = v4l2.FmtDesc(index=len(formats), type=v4l2.CAPTURE)
        try:
            v4l2.call(fd, v4l2.ENUM_FMT, described)
        except OSError:
            break
        formats.append(v4l2.letters(described.pixelformat))
    return formats


def modes_of(fd: int, size_wh: tuple[int, int]) -> list[Mode]:
    """All sizes of all formats with their highest rates; for a range of sizes, the size nearest to `size_wh`."""
    modes: list[Mode] = []
    for format in _formats(fd):
        index = 0
        while index < 256:
            size = v4l2.FrmSizeEnum(index=index, pixel_format=v4l2.fourcc(format))
            try:
                v4l2.call(fd, v4l2.ENUM_FRAMESIZES, size)
            except OSError:
                if index == 0:  # the driver does not report sizes: request this one
                    modes.append(Mode(format, *size_wh, 0.0))
                break
            if size.type == v4l2.FRMSIZE_TYPE_DISCRETE:
                width, height = size.size.discrete
            else:
                step = size.size.stepwise
                width = _nearest(size_wh[0], step.min_width, step.max_width, step.step_width)
                height = _nearest(size_wh[1], step.min_height, step.max_height, step.step_height)
            modes.append(Mode(format, width, height, _highest_fps(fd, format, width, height)))
            if size.type != v4l2.FRMSIZE_TYPE_DISCRETE:
                break
            index += 1
    return modes


def _nearest(wanted: int, least: int, most: int, step: int) -> int:
    return least + round((min(max(wanted, least), most) - least) / max(1, step)) * max(1, step)


def _highest_fps(fd: int, format: str, width: int, height: int) -> float:
    highest = 0.0
    for index in range(64):
        interval = v4l2.FrmIvalEnum(index=index, pixel_format=v4l2.fourcc(format), width=width, height=height)
        try:
            v4l2.call(fd, v4l2.ENUM_FRAMEINTERVALS, interval)
        except OSError:
            break
        discrete = interval.type == v4l2.FRMIVAL_TYPE_DISCRETE
        shortest = interval.interval.discrete if discrete else interval.interval.stepwise.min
        if shortest.numerator:
            highest = max(highest, shortest.denominator / shortest.numerator)
        if not discrete:
            break
    return highest


def explain_open_error(error: OSError) -> str:
    """Why a node cannot be opened, and what to do."""
    if isinstance(error, PermissionError):
        return "this user may not open it; `sudo usermod -aG video $USER`, then log in again"
    if isinstance(error, FileNotFoundError):
        return "no such device; `ls /dev/video*` lists the cameras, --source auto uses the first"
    return f"cannot be opened ({error.strerror}); does another program use it?"
