"""Red and blue are easily exchanged, and nobody notices on grey walls: sends a chart through every file source, runtime and sink.

Tests of cameras use the same chart: tests/device/sources/test_network.py, tests/rigs/picamera.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device import runtimes
from device.images.frame import Frame, Pixels
from device.images.picture import read_picture, write_picture
from device.images.yuv import from_rgb
from device.loop.models import Models, ModelSpec
from device.sources.demo import Demo
from device.telemetry import Telemetry

Command = Callable[..., Any]
COLOURS = np.array(
    [(220, 30, 30), (30, 200, 40), (40, 50, 210), (220, 210, 40), (30, 190, 200), (190, 40, 180), (235, 235, 235), (25, 25, 25)]
)
SIDE = 48
NEAR = 24  # levels; exchanged red and blue differ by 170


def chart() -> Pixels:
    """(96, 192, 3): two rows of four colours."""
    return np.kron(COLOURS.reshape(2, 4, 3), np.ones((SIDE, SIDE, 1))).astype(np.uint8)


def seen(pixels: Pixels) -> np.ndarray:
    """(8, 3): the mean colour inside each field, away from its edges."""
    fields = pixels.reshape(2, SIDE, 4, SIDE, 3)[:, 12:-12, :, 12:-12].astype(float)
    return fields.mean(axis=(1, 3)).reshape(8, 3)


def assert_same(pixels: Pixels) -> None:
    assert np.abs(seen(pixels) - COLOURS).max() < NEAR


@pytest.fixture(params=["chart.png", "chart.jpg", "chart.webp", "chart.bmp", "chart.tif", "chart.mp4", "chart.avi", "chart.mkv"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "in" / str(request.param)
    if path.suffix in (".mp4", ".avi", ".mkv"):
        path.parent.mkdir()
        codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 10, (4 * SIDE, 2 * SIDE))
        for _ in range(5):
            writer.write(cv2.cvtColor(chart(), cv2.COLOR_RGB2BGR))
        writer.release()
    else:
        write_picture(path, chart())
    return path


def test_every_kind_of_file_keeps_its_colours(command: Command, source: Path, tmp_path: Path) -> None:
    ended = command("run", "--source", source, "--sink", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out.splitlines()[-1])["frames"] >= 1
    for path in (tmp_path / "out").iterdir():
        assert_same(read_picture(path))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".mp4", ".avi", ".mkv"])
def test_every_kind_of_output_keeps_them(command: Command, tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / "chart.png", chart())
    out = tmp_path / f"out{suffix}"
    assert command("run", "--source", tmp_path / "chart.png", "--sink", out).code == 0
    if suffix in (".png", ".jpg"):
        assert_same(read_picture(out))
    else:
        got, bgr = cv2.VideoCapture(str(out), cv2.CAP_FFMPEG).read()
        assert got
        assert_same(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("runtime", list(runtimes.RUNTIMES))
def test_every_runtime_keeps_the_colours_of_pictures_and_of_a_cameras_planes(runtime: str, full: bool, matrix: str) -> None:
    if not runtimes.installed(runtime):
        pytest.skip(f"the runtime {runtime} is not installed; {runtimes.RUNTIMES[runtime].install}")
    with Models([ModelSpec("nano", None, runtime)], 1, Telemetry()) as models:
        assert_same(models.restore(Frame(0, 0.0, chart())).pixels)
        assert_same(models.restore(Frame(0, 0.0, from_rgb(chart(), matrix, full))).pixels)


def test_the_demo_shows_the_colours_of_its_scene() -> None:
    demo = Demo(320, 240, fps=1000.0)
    scene, frame = demo._scene.rgb().astype(float), demo.read().pixels.astype(float)
    assert np.abs(scene.mean((0, 1)) - frame.mean((0, 1))).max() < 25
