"""Network cameras: real servers on the loopback interface, and the parser of MJPEG streams."""

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from free_port import free_port

from device.errors import CameraLost, UsageError
from device.settings import CameraSettings
from device.sources.checks import BadFrame
from device.sources.mjpeg import decode_jpeg, parts_of
from device.sources.network import open_stream
from device.sources.supervised_camera import SupervisedCamera
from device.system.address import without_password, without_secrets

JPEG = b"\xff\xd8\n--not it\r\n\xff\xd9"


@pytest.fixture
def opened() -> Any:
    """`opened(address)`: a supervised network camera; closed after the test."""
    sources: list[SupervisedCamera] = []

    def open_(address: str) -> SupervisedCamera:
        sources.append(SupervisedCamera(address, CameraSettings()))
        return sources[-1]

    yield open_
    for source in sources:
        source.close()


# MJPEG


@pytest.mark.parametrize("kind", ["well", "no-length", "bare-boundary"])
def test_an_mjpeg_camera_delivers_with_every_variant_of_the_format(
    mjpeg: Any, opened: Callable[[str], SupervisedCamera], kind: str
) -> None:
    mjpeg.start("320x240", kind)
    source = opened(f"http://127.0.0.1:{mjpeg.port}/stream.mjpg")
    counts = set()
    for _ in range(15):
        frame = source.read()
        assert frame is not None
        assert not frame.mark
        assert frame.size_wh == (320, 240)
        counts.add(int(frame.pixels[5, 5, 0]))
        red, blue = frame.pixels[200, 20], frame.pixels[200, -20]
        assert (red[0] > 180, red[2] < 30, blue[0] < 30, blue[2] > 180) == (True, True, True, True)
    assert len(counts) > 5
    assert source.status.bad_frames == 0
    assert source.description == f"http://127.0.0.1:{mjpeg.port}/stream.mjpg, MJPEG"


@pytest.mark.parametrize("kind", ["well", "digest"])
def test_a_camera_with_a_password_opens_with_it_and_without_it_says_what_to_do(
    mjpeg: Any, opened: Callable[[str], SupervisedCamera], kind: str
) -> None:
    mjpeg.start("64x48", kind, "admin:p@ss/w:rd")
    place = f"127.0.0.1:{mjpeg.port}/s"
    source = opened(f"http://admin:p%40ss%2Fw%3Ard@{place}")
    frame = source.read()
    assert frame is not None
    assert not frame.mark
    assert "admin" not in source.description
    assert "ss" not in source.description
    with pytest.raises(CameraLost, match="401, user and password required; put USER:PASSWORD@"):
        opened(f"http://{place}")
    with pytest.raises(CameraLost, match="401, wrong user or password") as told:
        opened(f"http://admin:wrong-one@{place}")
    assert "wrong-one" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "404, the camera has no such stream"),
        ("busy", "answers with 503"),
        ("page", r"is a web page \(text/html\), not a video"),
        ("picture", r"is one picture \(image/jpeg\), not a video"),
    ],
)
def test_an_address_that_is_not_a_stream_is_reported_with_the_reason(
    mjpeg: Any, opened: Callable[[str], SupervisedCamera], kind: str, message: str
) -> None:
    mjpeg.start("64x48", kind)
    with pytest.raises(CameraLost, match=message):
        opened(f"http://127.0.0.1:{mjpeg.port}/")


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_an_unreachable_address_is_reported_with_the_reason(opened: Callable[[str], SupervisedCamera], scheme: str) -> None:
    with pytest.raises(CameraLost, match="connection refused"):
        opened(f"{scheme}://127.0.0.1:{free_port()}/cam")
    with pytest.raises(CameraLost, match="no such host"):
        opened(f"{scheme}://camera.invalid/cam")


@pytest.mark.parametrize("address", ["http:///cam", "rtsp://", "http://127.0.0.1:99999/", "rtsp://[::1/cam", "http:cam"])
def test_an_invalid_address_is_wrong_usage(address: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        open_stream(address)


# RTSP


def test_an_rtsp_camera_delivers_in_the_right_colours(rtsp: Any, opened: Callable[[str], SupervisedCamera]) -> None:
    rtsp.start("320x240")
    source = opened(f"rtsp://127.0.0.1:{rtsp.port}/cam")
    frames = [source.read() for _ in range(40)]
    last = frames[-1]
    assert last is not None
    assert last.size_wh == (320, 240)
    assert source.fps == pytest.approx(30.0)
    assert "320x240 at 30 fps" in source.description
    # SMPTE bars, each a seventh of the width: white, yellow, cyan, green, magenta, red, blue.
    red, blue = last.pixels[80, int(5.5 * 320 / 7)], last.pixels[80, int(6.5 * 320 / 7)]
    assert (red[0] > 180, red[1] < 60, red[2] < 60) == (True, True, True)
    assert (blue[2] > 180, blue[0] < 60, blue[1] < 60) == (True, True, True)


def test_frames_of_an_rtsp_camera_do_not_pile_up(rtsp: Any, opened: Callable[[str], SupervisedCamera]) -> None:
    rtsp.start("320x240")
    source = opened(f"rtsp://127.0.0.1:{rtsp.port}/cam")
    until, skipped, newer_s = time.monotonic() + 30, 0, 0.0
    while skipped <= 15 and time.monotonic() < until:  # a queue would always deliver the next frame
        first = source.read()
        time.sleep(1.0)
        late = source.read()
        assert first is not None
        assert late is not None
        skipped, newer_s = late.index - first.index, late.captured_s - first.captured_s
    assert skipped > 15
    assert newer_s > 0.5


def test_an_rtsp_camera_with_a_password_opens_with_it_and_without_it_says_what_to_do(
    rtsp: Any, opened: Callable[[str], SupervisedCamera]
) -> None:
    rtsp.start("320x240", "admin:p@ss/word")
    place = f"127.0.0.1:{rtsp.port}/cam"
    source = opened(f"rtsp://admin:p%40ss%2Fword@{place}")
    frame = source.read()
    assert frame is not None
    assert not frame.mark
    assert source.description.startswith(f"rtsp://{place}, ")
    with pytest.raises(CameraLost, match="401, user and password required"):
        opened(f"rtsp://{place}")
    with pytest.raises(CameraLost, match="401, wrong user or password"):
        opened(f"rtsp://admin:wrong@{place}")


@pytest.mark.parametrize(("path", "message"), [("none", "404"), ("sound", "no video that can be decoded")])
def test_an_rtsp_camera_without_that_stream_or_without_video_says_so(
    rtsp: Any, opened: Callable[[str], SupervisedCamera], path: str, message: str
) -> None:
    rtsp.start("64x48")
    with pytest.raises(CameraLost, match=message):
        opened(f"rtsp://127.0.0.1:{rtsp.port}/{path}")


# How addresses are shown


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("rtsp://user:pass@host:554/a/b", "rtsp://host:554/a/b"),
        ("rtsp://user:p@ss@host/a", "rtsp://host/a"),
        ("http://host/cgi?user=a&pwd=b", "http://host/cgi?…"),
        ("http://user@host", "http://host"),
        ("http://host/a@b", "http://host/a@b"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
    ],
)
def test_an_address_is_shown_without_user_password_and_query(spec: str, shown: str) -> None:
    assert without_password(spec) == shown


@pytest.mark.parametrize(
    "text",
    ["open rtsp://me:s3cr3t%21@cam/x?key=abcd failed", "GET /x?key=abcd", "[tcp] //me:s3cr3t%21@cam:554", "//me:s3cr3t!@cam"],
)
def test_the_secrets_of_an_address_are_removed_from_library_output(text: str) -> None:
    told = without_secrets(text, "rtsp://me:s3cr3t%21@cam/x?key=abcd")
    assert "s3cr3t" not in told
    assert "abcd" not in told


# The parser


def stream(*parts: bytes, boundary: bytes = b"--b", length: bool = True) -> io.BytesIO:
    head = b"\r\nContent-Type: image/jpeg\r\n"
    text = b"".join(
        boundary + head + (b"Content-Length: %d\r\n" % len(p) if length else b"") + b"\r\n" + p + b"\r\n" for p in parts
    )
    return io.BytesIO(text + boundary + b"--\r\n")


@pytest.mark.parametrize("told", ["b", "--b", '"b"'])
@pytest.mark.parametrize("written", [b"--b", b"b"])
@pytest.mark.parametrize("length", [True, False])
def test_parts_come_whole_however_the_boundary_is_written(told: str, written: bytes, length: bool) -> None:
    assert list(parts_of(stream(JPEG, b"", JPEG + JPEG, boundary=written, length=length), told)) == [JPEG, b"", JPEG + JPEG]


def test_a_stream_that_ends_inside_a_part_gives_the_bytes_so_far() -> None:
    whole = stream(JPEG, JPEG).getvalue()
    cut = whole[: whole.rindex(JPEG) + 3]
    assert list(parts_of(io.BytesIO(cut), "b")) == [JPEG, JPEG[:3]]


def test_an_implausible_content_length_is_ignored() -> None:
    text = b"--b\r\nContent-Length: 99999999999999\r\n\r\n" + JPEG + b"\r\n--b\r\nContent-Length: x\r\n\r\n" + JPEG + b"\r\n--b--"
    assert list(parts_of(io.BytesIO(text), "b")) == [JPEG, JPEG]


class Endless:
    """A stream that never contains the boundary."""

    def __init__(self, line: bytes) -> None:
        self.line = line

    def readline(self, limit: int = -1, /) -> bytes:
        return self.line

    def read(self, size: int = -1, /) -> bytes:
        return self.line


@pytest.mark.parametrize("line", [8000 * b"x" + b"\n", b"--b: x\r\n"])
def test_a_stream_without_parts_is_abandoned(line: bytes) -> None:
    with pytest.raises(CameraLost):
        next(parts_of(Endless(line), "b"))


def test_random_bytes_never_break_the_parser() -> None:
    import random

    rng = random.Random(0)
    for _ in range(300):
        text = bytes(rng.choice(b"--b\r\n\xff\xd8\xd9:Content-Length: 5") for _ in range(400))
        for body in parts_of(io.BytesIO(text), "b"):
            assert isinstance(body, bytes)


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "not a JPEG: 0 bytes"), (b"GIF89a", "not a JPEG"), (b"\xff\xd8\xff\xe0", "ends before")]
)
def test_an_incomplete_jpeg_is_a_bad_frame(data: bytes, message: str) -> None:
    with pytest.raises(BadFrame, match=message):
        decode_jpeg(data)
