"""The output of `deblurkit run` for pictures, folders and videos, with every runtime."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import device.runtimes
from device.images.frame import Pixels
from device.images.picture import read_picture, write_picture
from device.images.scenes import chart
from device.sources.video import VideoSource

Command = Callable[..., Any]


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def write_video(path: Path, frames: int, width: int = 64, height: int = 48) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for index in range(frames):
        writer.write(chart(height, width, index))
    writer.release()
    return path


def test_a_folder_is_restored_with_the_same_names_and_sizes(command: Command, folder: Path, tmp_path: Path) -> None:
    ended = command("run", "--source", folder, "--sink", tmp_path / "out", "--json")
    assert ended.code == 0
    assert sorted(os.listdir(tmp_path / "out")) == names_in(folder)
    for path in folder.iterdir():
        blurred, restored = read_picture(path), read_picture(tmp_path / "out" / path.name)
        assert restored.shape == blurred.shape
        if min(blurred.shape[:2]) > 32:  # a model can do anything with a few pixels
            assert np.abs(restored.astype(int) - blurred).mean() < 25
    record = json.loads(ended.out.splitlines()[-1])
    assert record["frames"] == 5
    assert record["dropped"] == 0


def test_a_picture_is_restored_to_a_picture(command: Command, folder: Path, tmp_path: Path) -> None:
    ended = command("run", "--source", folder / "b.jpg", "--sink", tmp_path / "out.png", "--sink", tmp_path / "more")
    assert ended.code == 0
    assert read_picture(tmp_path / "out.png").shape == (61, 83, 3)
    assert os.listdir(tmp_path / "more") == ["b.jpg"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_a_video_is_restored_with_the_same_number_of_frames(command: Command, tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.avi", frames=9)
    ended = command("run", "--source", source, "--sink", tmp_path / f"out{suffix}", "--json")
    assert ended.code == 0
    assert json.loads(ended.out.splitlines()[-1])["frames"] == 9
    video, seen = VideoSource(tmp_path / f"out{suffix}"), []
    while (frame := video.read()) is not None:
        seen.append(frame.pixels)
    video.close()
    assert [pixels.shape for pixels in seen] == [(48, 64, 3)] * 9
    original = VideoSource(source)
    assert all(np.abs(p.astype(int) - original.read().pixels).mean() < 25 for p in seen)  # type: ignore[union-attr]
    original.close()
    assert sorted(os.listdir(tmp_path)) == sorted({"in.avi", f"out{suffix}"})


def test_a_video_is_restored_to_numbered_pictures(command: Command, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.avi", frames=3)
    assert command("run", "--source", source, "--sink", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == [f"frame-{i:06d}.png" for i in range(3)]


def test_a_name_with_a_dot_is_a_folder_unless_its_suffix_is_known(command: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "R" / "gauss-1.6"
    assert command("run", "--source", folder, "--sink", out).code == 0
    assert sorted(os.listdir(out)) == names_in(folder)
    assert command("run", "--source", out, "--sink", tmp_path / "again.v2").code == 0
    assert sorted(os.listdir(tmp_path / "again.v2")) == names_in(folder)


def test_replace_overwrites_pictures_and_keeps_other_files(command: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_picture(out / "a.png", np.full((5, 5, 3), 9, np.uint8))
    write_picture(out / "mine.png", np.full((6, 6, 3), 9, np.uint8))
    assert command("run", "--source", folder, "--sink", out, "--replace").code == 0
    assert sorted(os.listdir(out)) == sorted([*names_in(folder), "mine.png"])
    assert read_picture(out / "a.png").shape == (60, 80, 3)
    assert np.array_equal(read_picture(out / "mine.png"), np.full((6, 6, 3), 9, np.uint8))
    (tmp_path / "out.png").write_bytes(b"old")
    assert command("run", "--source", folder / "a.png", "--sink", tmp_path / "out.png", "--replace").code == 0
    assert read_picture(tmp_path / "out.png").shape == (60, 80, 3)


@pytest.mark.parametrize("runtime", list(device.runtimes.RUNTIMES))
def test_every_installed_runtime_runs(command: Command, folder: Path, tmp_path: Path, runtime: str) -> None:
    variant = "fp16" if runtime == "ncnn" else "fp32"
    ended = command("run", "--source", folder, "--sink", tmp_path / "out", "--runtime", runtime, "--variant", variant, "--json")
    if ended.code == 4 and "pip install" in ended.err:
        pytest.skip(ended.err.strip().rsplit(": ", 1)[-1])
    assert ended.code == 0, ended.err
    record = json.loads(ended.out.splitlines()[-1])
    assert record["runtime"] == runtime
    assert record["artifact"].startswith(f"{variant}.")


def test_a_bundle_may_be_given_as_its_folder_or_one_of_its_files(command: Command, folder: Path, small_copy: Path) -> None:
    for bundle, flags in ((small_copy, ["--variant", "fp16"]), (small_copy / "small_fp16.tflite", [])):
        ended = command("run", "--bundle", bundle, "--source", folder, "--sink", "null", "--json", "--runtime", "litert", *flags)
        if ended.code == 4 and "pip install" in ended.err:
            pytest.skip("pip install ai-edge-litert")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out.splitlines()[-1])["artifact"] == "fp16.tflite"


@pytest.mark.parametrize(("source", "sink"), [(".", "."), ("a.png", "."), ("a.png", "a.png")])
def test_restored_pictures_never_replace_their_originals(
    command: Command, tmp_path: Path, picture: Pixels, source: str, sink: str
) -> None:
    write_picture(tmp_path / "a.png", picture)
    before = (tmp_path / "a.png").read_bytes()
    words = ["run", "--quiet", "--source", tmp_path / source, "--sink", tmp_path / sink, "--replace"]
    assert command(*words).code == 2
    assert (tmp_path / "a.png").read_bytes() == before
