"""V4L2 without a device: our structures against the kernel header; choosing modes, converting and refusing.

`tests/rigs/vivid/check_camera.py` runs the same code on the kernel's own test camera.
"""

import ctypes
import logging
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from device.errors import CameraLost
from device.images.frame import Pixels
from device.images.yuv import Yuv, from_rgb
from device.settings import CameraSettings
from device.sources import nodes, open_camera
from device.sources import videodev2 as kernel
from device.sources.checks import BadFrame
from device.sources.nodes import Mode, cameras, choose_mode
from device.sources.v4l2 import V4l2Camera, colours, unpack

STRUCTURES = {
    "v4l2_capability": kernel.Capability,
    "v4l2_fmtdesc": kernel.FmtDesc,
    "v4l2_pix_format": kernel.PixFormat,
    "v4l2_format": kernel.Format,
    "v4l2_frmsizeenum": kernel.FrmSizeEnum,
    "v4l2_frmivalenum": kernel.FrmIvalEnum,
    "v4l2_streamparm": kernel.StreamParm,
    "v4l2_requestbuffers": kernel.RequestBuffers,
    "v4l2_buffer": kernel.Buffer,
    "v4l2_queryctrl": kernel.QueryCtrl,
    "v4l2_control": kernel.Control,
}
OFFSETS = {
    "v4l2_capability": ("driver", "card", "bus_info", "version", "capabilities", "device_caps"),
    "v4l2_fmtdesc": ("index", "type", "flags", "description", "pixelformat"),
    "v4l2_pix_format": ("width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "ycbcr_enc"),
    "v4l2_format": ("type", "fmt"),
    "v4l2_frmsizeenum": ("index", "pixel_format", "type"),
    "v4l2_frmivalenum": ("index", "pixel_format", "width", "height", "type"),
    "v4l2_streamparm": ("type", "parm"),
    "v4l2_requestbuffers": ("count", "type", "memory"),
    "v4l2_buffer": ("index", "type", "bytesused", "flags", "field", "sequence", "memory", "m", "length"),
    "v4l2_queryctrl": ("id", "type", "name", "minimum", "maximum", "step", "default_value", "flags"),
    "v4l2_control": ("id", "value"),
}
IOCTLS = (
    *("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON"),
    *("G_PARM", "S_PARM", "S_CTRL", "QUERYCTRL", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"),
)
CONSTANTS = {
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": kernel.CAPTURE,
    "V4L2_MEMORY_MMAP": kernel.MMAP,
    "V4L2_FIELD_NONE": kernel.FIELD_NONE,
    **{
        f"V4L2_{name}": getattr(kernel, name)
        for name in vars(kernel)
        if re.match(r"(CAP|BUF_FLAG|FRM|COL|YC|QUA|CTRL|CID)[A-Z]*_", name)
    },
    "V4L2_EXPOSURE_MANUAL": kernel.EXPOSURE_MANUAL,
    "V4L2_EXPOSURE_APERTURE_PRIORITY": kernel.EXPOSURE_APERTURE_PRIORITY,
}


def test_structures_and_numbers_equal_those_in_the_kernel_header(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("no gcc with the kernel's headers here; sudo apt install gcc linux-libc-dev")
    expected = {name: ctypes.sizeof(structure) for name, structure in STRUCTURES.items()}
    expected |= {f"{name}.{f}": getattr(STRUCTURES[name], f).offset for name, fields in OFFSETS.items() for f in fields}
    expected |= {"v4l2_buffer.timestamp": kernel.Buffer.tv_sec.offset}
    expected |= {f"VIDIOC_{name}": getattr(kernel, name) for name in IOCTLS} | CONSTANTS
    assert len(CONSTANTS) > 25

    def as_c(name: str) -> str:
        if name.startswith("v4l2_"):
            structure, _, member = name.partition(".")
            return f"offsetof(struct {structure}, {member})" if member else f"sizeof(struct {structure})"
        return name

    lines = "".join(f'printf("%lu\\n", (unsigned long){as_c(name)});\n' for name in expected)
    source = tmp_path / "header.c"
    source.write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\nint main(void) {{\n{lines}return 0; }}\n"
    )
    subprocess.run(["gcc", str(source), "-o", str(tmp_path / "header")], check=True, timeout=60)
    printed = subprocess.run([str(tmp_path / "header")], capture_output=True, text=True, check=True, timeout=10).stdout
    assert dict(zip(expected, map(int, printed.split()), strict=True)) == expected


WEBCAM = [  # some of the modes of a Logitech C920
    Mode("YUYV", 640, 480, 30.0),
    Mode("YUYV", 1280, 720, 10.0),
    Mode("YUYV", 1920, 1080, 5.0),
    Mode("H264", 1280, 720, 30.0),
    Mode("MJPG", 640, 480, 30.0),
    Mode("MJPG", 1280, 720, 30.0),
    Mode("MJPG", 1920, 1080, 29.97),
]


@pytest.mark.parametrize(
    ("size_wh", "fps", "format", "chosen"),
    [
        ((640, 480), 30.0, "auto", ("YUYV", 640, 480)),
        ((640, 480), 60.0, "auto", ("YUYV", 640, 480)),
        ((1280, 720), 30.0, "auto", ("MJPG", 1280, 720)),
        ((1280, 720), 10.0, "auto", ("YUYV", 1280, 720)),
        ((1920, 1080), 30.0, "auto", ("MJPG", 1920, 1080)),
        ((640, 480), 30.0, "mjpeg", ("MJPG", 640, 480)),
        ((1280, 720), 30.0, "yuyv", ("YUYV", 1280, 720)),
        ((800, 600), 30.0, "auto", ("YUYV", 640, 480)),
        ((3840, 2160), 30.0, "auto", ("MJPG", 1920, 1080)),
    ],
)
def test_a_mode_is_chosen_by_size_then_rate_then_uncompressed_pictures(
    size_wh: tuple[int, int], fps: float, format: str, chosen: tuple[str, int, int]
) -> None:
    mode = choose_mode(WEBCAM, size_wh, fps, format)
    assert (mode.format, mode.width, mode.height) == chosen


def test_a_missing_format_is_named_with_the_available_ones() -> None:
    with pytest.raises(CameraLost, match=r"delivers H264, expected YUYV"):
        choose_mode([Mode("H264", 640, 480, 30.0)], (640, 480), 30.0, "yuyv")
    with pytest.raises(CameraLost, match=r"delivers none"):
        choose_mode([], (640, 480), 30.0, "auto")


def test_a_driver_that_reports_no_rates_is_used_too() -> None:
    assert choose_mode([Mode("NV12", 640, 480, 0.0)], (640, 480), 30.0, "auto").format == "NV12"


@pytest.mark.parametrize(
    ("colorspace", "encoding", "quantization", "expected"),
    [
        (8, 0, 0, ("bt601", False)),  # sRGB and defaults, as uvcvideo reports for most cameras
        (3, 0, 0, ("bt709", False)),  # Rec. 709
        (7, 0, 0, ("bt601", True)),  # JPEG
        (8, 2, 1, ("bt709", True)),
        (3, 1, 2, ("bt601", False)),
        (0, 0, 0, ("bt601", False)),
    ],
)
def test_colours_are_resolved_like_in_the_kernel(
    colorspace: int, encoding: int, quantization: int, expected: tuple[str, bool]
) -> None:
    assert colours(kernel.PixFormat(colorspace=colorspace, ycbcr_enc=encoding, quantization=quantization)) == expected


def packed(image: Yuv, format: str, stride: int) -> np.ndarray:
    """The bytes of this picture in a driver's buffer, with rows padded with 77."""
    height, width = image.shape
    if format == "YUYV":
        rows = np.full((height, stride), 77, np.uint8)
        rows[:, 0 : 2 * width : 2] = image.y
        rows[:, 1 : 2 * width : 4] = np.repeat(image.u, 2, 0)[:height]
        rows[:, 3 : 2 * width : 4] = np.repeat(image.v, 2, 0)[:height]
        return rows.ravel()
    y = np.full((height, stride), 77, np.uint8)
    y[:, :width] = image.y
    if format == "NV12":
        pairs = np.full((height // 2, stride), 77, np.uint8)
        pairs[:, 0:width:2], pairs[:, 1:width:2] = image.u, image.v
        return np.concatenate([y.ravel(), pairs.ravel()])
    chroma = np.full((2, height // 2, stride // 2), 77, np.uint8)
    chroma[0, :, : width // 2], chroma[1, :, : width // 2] = image.u, image.v
    return np.concatenate([y.ravel(), chroma.ravel()])


@pytest.mark.parametrize("format", ["YUYV", "NV12", "YU12"])
@pytest.mark.parametrize("padding", [0, 64])
def test_a_buffer_becomes_the_picture_and_a_short_one_a_bad_frame(format: str, padding: int, picture: Pixels) -> None:
    image = from_rgb(np.ascontiguousarray(picture[:96, :128]), "bt601", False)
    stride = (256 if format == "YUYV" else 128) + padding
    data = packed(image, format, stride)
    pix = kernel.PixFormat(width=128, height=96, bytesperline=stride)
    back = unpack(data, pix, format, "bt601", False)
    for one, other in ((back.y, image.y), (back.u, image.u), (back.v, image.v)):
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, data)
    with pytest.raises(BadFrame, match=rf"truncated: {data.size - 1} bytes, expected {data.size}"):
        unpack(data[:-1], pix, format, "bt601", False)
    if not padding:
        pix.bytesperline = 0
        np.testing.assert_array_equal(unpack(data, pix, format, "bt601", False).y, image.y)


@pytest.mark.parametrize("make", ["null", "file", "folder"])
def test_a_path_that_is_not_a_camera_is_refused_and_named(make: str, tmp_path: Path) -> None:
    path = {"null": Path("/dev/null"), "file": tmp_path / "video0", "folder": tmp_path}[make]
    if make == "file":
        path.write_bytes(b"")
    with pytest.raises(CameraLost, match=re.escape(str(path))):
        V4l2Camera(str(path), CameraSettings())


def test_a_missing_node_is_reported_with_what_to_do() -> None:
    with pytest.raises(CameraLost, match=r"/dev/video987: no such device.*--source auto"):
        V4l2Camera("/dev/video987", CameraSettings())


def driver(monkeypatch: pytest.MonkeyPatch, name: str, capabilities: int, formats: int = 1) -> None:
    """A fake driver that answers only two ioctls."""

    def call(_: int, number: int, argument: object) -> None:
        if number == kernel.QUERYCAP and isinstance(argument, kernel.Capability):
            argument.driver, argument.card = name.encode(), b"a card"
            argument.capabilities, argument.device_caps = kernel.CAP_DEVICE_CAPS | 0xFFFF, capabilities
        elif number == kernel.ENUM_FMT and isinstance(argument, kernel.FmtDesc) and argument.index < formats:
            argument.pixelformat = kernel.fourcc("YUYV")
        else:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(nodes.v4l2, "call", call)


CAPTURE = kernel.CAP_VIDEO_CAPTURE | kernel.CAP_STREAMING


@pytest.mark.parametrize(
    ("name", "capabilities", "formats", "message"),
    [
        ("bcm2835-codec", CAPTURE, 1, "for a ribbon-cable camera use --source picamera2"),
        ("unicam", CAPTURE, 1, "for a ribbon-cable camera"),
        ("hantro-vpu", CAPTURE | kernel.CAP_VIDEO_M2M, 1, "converts pictures"),
        ("uvcvideo", 0x00800000, 1, "captures no pictures$"),  # its metadata node
        ("rkisp1", kernel.CAP_VIDEO_CAPTURE_MPLANE | kernel.CAP_STREAMING, 1, "in several planes"),
        ("pwc", kernel.CAP_VIDEO_CAPTURE, 1, "does not support streaming"),
        ("uvcvideo", CAPTURE, 0, "offers no format"),
    ],
)
def test_nodes_that_are_not_cameras_are_recognised(
    name: str, capabilities: int, formats: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, name, capabilities, formats)
    with pytest.raises(CameraLost, match=message):
        nodes.require_camera(3)


def test_a_camera_node_returns_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, "uvcvideo", CAPTURE)
    assert nodes.require_camera(3) == "a card"


def test_the_driver_time_stamp_is_used_only_if_it_is_on_our_clock(caplog: pytest.LogCaptureFixture) -> None:
    camera_ = V4l2Camera.__new__(V4l2Camera)
    camera_._path, camera_._warn_about_clock = "/dev/video0", True
    now = time.monotonic()
    stamp = now - 0.05
    buffer = kernel.Buffer(flags=kernel.BUF_FLAG_TIMESTAMP_MONOTONIC, tv_sec=int(stamp), tv_usec=int(stamp % 1 * 1e6))
    assert camera_._captured_s(buffer, now) == pytest.approx(stamp, abs=1e-5)
    assert camera_._captured_s(buffer, stamp - 0.03) == stamp - 0.03  # a predicted end of frame
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        buffer.flags = 0
        assert camera_._captured_s(buffer, now) == now
        buffer.flags, buffer.tv_sec = kernel.BUF_FLAG_TIMESTAMP_MONOTONIC, int(time.time())
        assert camera_._captured_s(buffer, now) == now
    assert caplog.text.count("another clock") == 1


def test_the_first_camera_is_returned_as_a_spec_or_its_absence_reported() -> None:
    found, _ = cameras()
    if not found:
        with pytest.raises(CameraLost, match="--source demo"):
            open_camera.first_camera()
    else:
        assert open_camera.first_camera().startswith(("v4l2:/dev/video", "picamera2:"))
