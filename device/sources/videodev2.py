"""The part of the kernel's V4L2 interface that a camera needs: structures and ioctl numbers of linux/videodev2.h.

The names are the kernel's, without V4L2_ and VIDIOC_. Sizes are for 64-bit systems; a test compares them with the header.
"""

import ctypes
import fcntl
import os
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64

CAPTURE = 1  # BUF_TYPE_VIDEO_CAPTURE
MMAP = 1  # MEMORY_MMAP
FIELD_NONE = 1
CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE = 0x1, 0x1000
CAP_VIDEO_M2M, CAP_VIDEO_M2M_MPLANE = 0x8000, 0x4000
CAP_STREAMING, CAP_DEVICE_CAPS = 0x04000000, 0x80000000
BUF_FLAG_ERROR = 0x40
BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000
FRMSIZE_TYPE_DISCRETE = FRMIVAL_TYPE_DISCRETE = 1
COLORSPACE_REC709, COLORSPACE_JPEG, COLORSPACE_DCI_P3 = 3, 7, 12
YCBCR_ENC_DEFAULT, YCBCR_ENC_709, YCBCR_ENC_XV709 = 0, 2, 4
QUANTIZATION_DEFAULT, QUANTIZATION_FULL_RANGE = 0, 1
CTRL_FLAG_DISABLED = 0x1
CID_GAIN, CID_SHARPNESS = 0x00980913, 0x0098091B
CID_EXPOSURE_AUTO, CID_EXPOSURE_ABSOLUTE, CID_FOCUS_AUTO = 0x009A0901, 0x009A0902, 0x009A090C
EXPOSURE_MANUAL, EXPOSURE_APERTURE_PRIORITY = 1, 3


def fourcc(code: str) -> int:
    """The kernel's number for the four letters of a pixel format."""
    return int.from_bytes(code.encode(), "little")


def letters(number: int) -> str:
    """The four letters of a pixel format's number."""
    return number.to_bytes(4, "little").decode("ascii", "replace")


class Capability(Structure):
    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FmtDesc(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(Structure):
    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class _FormatUnion(Union):
    # c_uint64 sets the alignment: other members of the kernel's union contain pointers.
    _fields_ = (("pix", PixFormat), ("raw", c_uint8 * 200), ("align", c_uint64))


class Format(Structure):
    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class Fract(Structure):
    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class _Stepwise(Structure):
    _fields_ = tuple(
        (name, c_uint32) for name in ("min_width", "max_width", "step_width", "min_height", "max_height", "step_height")
    )


class _SizeUnion(Union):
    _fields_ = (("discrete", c_uint32 * 2), ("stepwise", _Stepwise))


class FrmSizeEnum(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", _SizeUnion),
        ("reserved", c_uint32 * 2),
    )


class _IntervalStepwise(Structure):
    _fields_ = (("min", Fract), ("max", Fract), ("step", Fract))


class _IntervalUnion(Union):
    _fields_ = (("discrete", Fract), ("stepwise", _IntervalStepwise))


class FrmIvalEnum(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("interval", _IntervalUnion),
        ("reserved", c_uint32 * 2),
    )


class CaptureParm(Structure):
    _fields_ = (
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fract),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    )


class _ParmUnion(Union):
    _fields_ = (("capture", CaptureParm), ("raw", c_uint8 * 200))


class StreamParm(Structure):
    _fields_ = (("type", c_uint32), ("parm", _ParmUnion))


class RequestBuffers(Structure):
    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class _BufferUnion(Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_uint64))


class Buffer(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("tv_sec", c_int64),
        ("tv_usec", c_int64),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _BufferUnion),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


class QueryCtrl(Structure):
    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_uint8 * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    )


class Control(Structure):
    _fields_ = (("id", c_uint32), ("value", c_int32))


def _ioctl_number(direction: int, command: int, size: int) -> int:
    """The number that _IOR (2), _IOW (1) or _IOWR (3) of asm-generic/ioctl.h gives."""
    return direction << 30 | size << 16 | ord("V") << 8 | command


_INT = ctypes.sizeof(ctypes.c_int)
QUERYCAP = _ioctl_number(2, 0, ctypes.sizeof(Capability))
ENUM_FMT = _ioctl_number(3, 2, ctypes.sizeof(FmtDesc))
S_FMT = _ioctl_number(3, 5, ctypes.sizeof(Format))
REQBUFS = _ioctl_number(3, 8, ctypes.sizeof(RequestBuffers))
QUERYBUF = _ioctl_number(3, 9, ctypes.sizeof(Buffer))
QBUF = _ioctl_number(3, 15, ctypes.sizeof(Buffer))
DQBUF = _ioctl_number(3, 17, ctypes.sizeof(Buffer))
STREAMON = _ioctl_number(1, 18, _INT)
G_PARM = _ioctl_number(3, 21, ctypes.sizeof(StreamParm))
S_PARM = _ioctl_number(3, 22, ctypes.sizeof(StreamParm))
S_CTRL = _ioctl_number(3, 28, ctypes.sizeof(Control))
QUERYCTRL = _ioctl_number(3, 36, ctypes.sizeof(QueryCtrl))
ENUM_FRAMESIZES = _ioctl_number(3, 74, ctypes.sizeof(FrmSizeEnum))
ENUM_FRAMEINTERVALS = _ioctl_number(3, 75, ctypes.sizeof(FrmIvalEnum))


def call(fd: int, number: int, argument: Structure | ctypes.c_int) -> None:
    """Call an ioctl; the kernel fills `argument`. Raises OSError."""
    fcntl.ioctl(fd, number, argument)  # type: ignore[call-overload]


def open_node(path: str) -> int:
    """Open the node non-blocking and close-on-exec; returns its file descriptor. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
