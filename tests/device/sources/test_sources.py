"""Sources: the demo, pictures, videos created here, and cameras if there are any."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.blur.estimate import estimate_picture
from device.errors import CameraLost, DataError, UsageError
from device.images.frame import NO_VIDEO
from device.images.picture import write_picture
from device.images.scenes import dead_leaves
from device.settings import CameraSettings
from device.sources import open_source
from device.sources.demo import BLURS, EACH_S, Demo
from device.sources.nodes import cameras
from device.sources.source import Source
from device.sources.supervised_camera import SupervisedCamera

CAMERAS, _ = cameras()


def make_video(path: Path, frames: int, codec: str = "mp4v", fps: float = 12.0) -> Path:
    """A video of 64x48; frame i is grey 6 i, with a red left half in frame 0."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (64, 48))
    for i in range(frames):
        bgr = np.full((48, 64, 3), 6 * i, np.uint8)
        if i == 0:
            bgr[:, :32] = (0, 0, 255)
        writer.write(bgr)
    writer.release()
    return path


def make_pictures(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        write_picture(folder / name, np.full((20, 30 + i, 3), 10 * i, np.uint8))
    return folder


def one_picture(folder: Path) -> Source:
    write_picture(folder / "one.png", dead_leaves(40, 50, 1))
    return open_source(str(folder / "one.png"))


def fake_camera(folder: Path) -> Source:
    return SupervisedCamera("fake:", CameraSettings(size="64x48"), opener="fake_cameras:Fake")


SOURCES: dict[str, Callable[[Path], Source]] = {
    "demo": lambda folder: open_source("demo"),
    "picture": one_picture,
    "folder": lambda folder: open_source(str(make_pictures(folder / "in", "a.png", "b.jpg", "c.webp"))),
    "video": lambda folder: open_source(str(make_video(folder / "v.mp4", 4))),
    "camera": lambda folder: open_source("auto"),
    "fake": fake_camera,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_keeps_the_contract(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "support"))
    if kind == "camera" and not CAMERAS:
        pytest.skip("no camera here")
    source = SOURCES[kind](tmp_path)
    assert source.description
    assert source.fps >= 0
    assert source.total == {"picture": 1, "folder": 3, "video": 4}.get(kind, 0)
    assert source.live is (kind in ("demo", "camera", "fake"))
    last = -1
    for _ in range(source.total or 3):
        before = time.monotonic()
        frame = source.read()
        assert frame is not None
        assert frame.index == last + 1 if not source.live else frame.index > last
        assert before - 1.0 * source.live <= frame.captured_s <= time.monotonic()  # a camera captured its frame before the read
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.ndim == 3
        assert frame.pixels.shape[2] == 3
        assert frame.pixels.flags.c_contiguous
        last = frame.index
    if not source.live:
        assert source.read() is None
        assert source.read() is None
    assert source.status.ok
    source.close()
    source.close()


# Demo


def test_the_demo_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (Demo(width=80, height=60, fps=2.0, seed=seed).read() for seed in (5, 5, 6))
    assert first.index == again.index == 0
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert np.abs(first.pixels.astype(int) - other.pixels).mean() > 10


def test_the_demo_moves_by_more_than_its_noise() -> None:
    demo = Demo(width=160, height=120, fps=30.0)
    first = demo.read()
    while (later := demo.read()).index < 30:
        pass
    still = Demo(width=160, height=120, fps=30.0).read()  # the same moment again: only the noise differs
    moved, noise = (np.abs(first.pixels.astype(int) - p.pixels).mean() for p in (later, still))
    assert moved > 5 + noise


@pytest.mark.parametrize("size_wh", [(640, 480), (98, 61), (61, 98)])
def test_the_demo_has_the_requested_size(size_wh: tuple[int, int]) -> None:
    demo = Demo(*size_wh)
    assert demo.read().pixels.shape == (size_wh[1], size_wh[0], 3)
    assert f"{size_wh[0]}x{size_wh[1]}" in demo.description


def test_the_demo_says_how_it_is_blurred_and_looks_like_that() -> None:
    demo = Demo(640, 480)
    for psf, seconds in zip(BLURS, itertools.count(0, EACH_S), strict=False):
        demo._index = round(seconds * demo.fps)
        assert ("not blurred" if psf.is_blind else f"blurred on purpose: {psf.describe()}") in demo.description
        seen = estimate_picture(demo._draw(seconds).y)
        assert seen.kind == psf.kind
        assert seen.size_px == pytest.approx(psf.size_px, rel=0.1)


def test_the_demo_is_never_faster_than_its_rate() -> None:
    demo = Demo(width=64, height=48, fps=40.0)
    frames = [demo.read() for _ in range(9)]
    for earlier, later in itertools.pairwise(frames):
        assert later.index > earlier.index
    # A frame may be late but never early, so the last one arrives at least this long after the first was due.
    assert frames[-1].captured_s - demo._started_s >= frames[-1].index / 40 - 1e-3


def test_a_late_reader_of_the_demo_gets_the_frame_that_is_due_now() -> None:
    demo = Demo(width=64, height=48, fps=50.0)
    first = demo.read()
    time.sleep(0.4)
    assert demo.read().index - first.index >= 19


# Pictures


def test_pictures_are_delivered_in_the_order_of_their_names_and_keep_them(tmp_path: Path) -> None:
    make_pictures(tmp_path, "b.png", "a.jpg", "c.webp")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"half")
    source = open_source(str(tmp_path))
    frames = [source.read() for _ in range(3)]
    assert [f.name for f in frames if f] == ["a.jpg", "b.png", "c.webp"]
    assert [f.pixels.shape[1] for f in frames if f] == [31, 30, 32]
    assert source.read() is None


def test_an_unreadable_picture_is_named_after_the_ones_before_it_were_delivered(tmp_path: Path) -> None:
    make_pictures(tmp_path, "a.png", "b.png", "c.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    source = open_source(str(tmp_path))
    assert source.read() is not None
    with pytest.raises(DataError, match=r"b\.png"):
        source.read()


def test_a_picture_that_vanishes_before_it_is_read_is_named(tmp_path: Path) -> None:
    source = open_source(str(make_pictures(tmp_path, "a.png", "b.png")))
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        source.read()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture"):
        open_source(str(tmp_path))


# Videos


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mp4v"), (".mkv", "mp4v"), (".avi", "MJPG"), (".mov", "mp4v")])
def test_every_frame_of_a_video_comes_in_order_and_in_rgb(tmp_path: Path, suffix: str, codec: str) -> None:
    source = open_source(str(make_video(tmp_path / f"v{suffix}", 25, codec)))
    assert source.fps == pytest.approx(12.0)
    assert source.total == 25
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert [f.index for f in frames] == list(range(25))
    red = frames[0].pixels[24, 8]
    assert red[0] > 180
    assert red[2] < 80
    for i, frame in enumerate(frames):
        assert abs(int(frame.pixels[24, 56].mean()) - 6 * i) <= 6
    source.close()


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\0\0\0\x18ftypisom" + b"\0" * 500])
def test_a_file_that_is_not_a_video_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"v\.mp4"):
        open_source(str(tmp_path / "v.mp4"))


def test_an_mp4_cut_in_half_is_refused_and_named(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.mp4", 20).read_bytes()
    (tmp_path / "v.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"v\.mp4"):
        open_source(str(tmp_path / "v.mp4"))


def test_a_video_whose_frames_cannot_be_decoded_is_refused_and_named(tmp_path: Path) -> None:
    data = bytearray(make_video(tmp_path / "v.avi", 10, "MJPG").read_bytes())
    start = data.index(b"movi")
    index = data.index(b"idx1")
    for at in range(start + 12, index):
        data[at] = 0
    (tmp_path / "v.avi").write_bytes(data)
    with pytest.raises(DataError, match=r"v\.avi"):
        open_source(str(tmp_path / "v.avi")).read()


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "MJPG"), (".mkv", "mp4v")])
def test_a_video_that_ends_early_delivers_its_frames_and_a_warning(
    tmp_path: Path, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 12.0, (64, 48))
    for i in range(40):
        writer.write(dead_leaves(48, 64, i))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = open_source(str(path))
    frames = 0
    while source.read() is not None:
        frames += 1
    assert 0 < frames < 30
    assert f"v{suffix}: ends after {frames} of 40 frames" in caplog.text


def test_a_complete_video_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(str(make_video(tmp_path / "v.mp4", 5)))
    while source.read() is not None:
        pass
    assert not caplog.text


# Invalid sources


def test_an_unknown_source_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(DataError, match="auto"):
        open_source("atuo")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="by its suffix"):
        open_source(str(tmp_path / "notes.txt"))


# Cameras


def test_a_missing_camera_is_named_with_what_to_do() -> None:
    with pytest.raises(CameraLost, match=r"/dev/video987.*--source auto"):
        open_source("v4l2:/dev/video987")


def test_a_device_that_is_not_a_camera_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    for device in ("/dev/null", str(tmp_path / "video0")):
        with pytest.raises(CameraLost, match="not a V4L2 device"):
            open_source(f"v4l2:{device}")


@pytest.mark.parametrize("spec", ["v4l2:", "picamera2:one", "http:///stream"])
def test_an_invalid_camera_spec_is_wrong_usage(spec: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        open_source(spec)


def test_a_missing_camera_can_be_waited_for() -> None:
    source = open_source("v4l2:/dev/video987", CameraSettings(size="320x240"), wait=True)
    card = source.read()
    source.close()
    assert card is not None
    assert card.mark == NO_VIDEO
    assert card.size_wh == (320, 240)
    assert not source.status.ok
    assert "/dev/video987" in source.status.reason


@pytest.mark.skipif(bool(CAMERAS), reason="there are cameras here")
def test_auto_without_a_camera_says_so_and_names_the_demo() -> None:
    with pytest.raises(CameraLost, match="--source demo"):
        open_source("auto")


@pytest.mark.skipif(not CAMERAS, reason="no camera here")
def test_the_first_camera_delivers_frames_of_one_size() -> None:
    camera = open_source("auto")
    frames = [camera.read() for _ in range(5)]
    assert len({f.pixels.shape for f in frames if f}) == 1
    camera.close()
