"""`deblurkit run` on the command line: exit codes and messages."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.images.frame import Pixels
from device.images.picture import write_picture

Command = Callable[..., Any]


def last_object(out: str) -> dict[str, Any]:
    """The JSON object on the last line of stdout."""
    record = json.loads(out.rstrip("\n").split("\n")[-1])
    assert isinstance(record, dict)
    return record


def typed(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
    line = [sys.executable, "-m", "deblurkit", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=environment, **options)


def noise(height: int = 300, width: int = 300) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def tiny_disk(disk: Callable[[int], Path]) -> Path:
    return disk(64)


# Wrong usage: 2


def test_an_unknown_command_names_the_nearest(command: Command) -> None:
    ended = command("rnu")
    assert ended.code == 2
    assert "unknown command 'rnu'; did you mean 'run'" in ended.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--variant", "int9"], "unknown variant 'int9'; did you mean 'int8'"),
        (["--runtime", "litret"], "unknown runtime 'litret'; did you mean 'litert'"),
        (["--frames", "-1"], "frames -1: expected 0 or more"),
        (["--seconds", "-0.5"], "seconds -0.5: expected 0 or more"),
        (["--threads", "0"], "threads 0: expected at least 1"),
        (["--port", "70000"], "port 70000: expected 0 to 65535"),
        (["--threads", "many"], "invalid int value"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--varian", "int8"], "unrecognized arguments: --varian"),
    ],
)
def test_a_wrong_flag_is_wrong_usage(command: Command, folder: Path, flags: list[str], words: str) -> None:
    ended = command("run", "--source", folder, "--sink", "null", *flags)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_files_without_a_sink_are_wrong_usage(command: Command, folder: Path) -> None:
    ended = command("run", "--source", folder)
    assert ended.code == 2
    assert "name an output for the restored pictures" in ended.err


def test_an_output_folder_that_is_not_empty_is_wrong_usage(command: Command, folder: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "out" / "mine.png", noise(8, 8))
    ended = command("run", "--source", folder, "--sink", tmp_path / "out")
    assert ended.code == 2
    assert "out: is not empty" in ended.err
    assert os.listdir(tmp_path / "out") == ["mine.png"]


@pytest.mark.parametrize("name", ["out.png", "out.mp4"])
def test_an_output_file_that_exists_is_wrong_usage_and_stays(command: Command, folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    ended = command("run", "--source", folder / "a.png", "--sink", tmp_path / name)
    assert ended.code == 2
    assert f"{name}: exists" in ended.err
    assert (tmp_path / name).read_bytes() == b"mine"


def test_an_output_that_is_some_other_file_is_wrong_usage(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    ended = command("run", "--source", folder, "--sink", tmp_path / "notes", "--replace")
    assert ended.code == 2
    assert (tmp_path / "notes").read_text() == "mine"


# Bad data: 3


def test_an_unknown_source_names_the_nearest(command: Command) -> None:
    ended = command("run", "--source", "dmeo", "--sink", "null")
    assert ended.code == 3
    assert "dmeo: no such file or folder, and no known source; did you mean 'demo'" in ended.err


def test_an_empty_folder_is_bad_data(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = command("run", "--source", tmp_path / "empty", "--sink", tmp_path / "out")
    assert ended.code == 3
    assert "empty: no picture among its 0 entries" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_one_unreadable_picture_is_bad_data_and_names_it(command: Command, folder: Path, tmp_path: Path) -> None:
    (folder / "c2.png").write_text("not a picture")
    ended = command("run", "--source", folder, "--sink", tmp_path / "out")
    assert ended.code == 3
    assert "c2.png: not a picture" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.webp"])
def test_a_truncated_picture_is_bad_data_and_leaves_no_output(command: Command, folder: Path, tmp_path: Path, name: str) -> None:
    os.truncate(folder / name, (folder / name).stat().st_size // 2)
    ended = command("run", "--source", folder / name, "--sink", tmp_path / "out.png")
    assert ended.code == 3
    assert f"{name}: the file ends before the picture does" in ended.err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["broken.mp4", "empty.mkv", "notes.txt"])
def test_a_file_that_is_not_a_video_is_bad_data(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"no video" * 100)
    ended = command("run", "--source", tmp_path / name, "--sink", "null")
    assert ended.code == 3
    assert name in ended.err


# Bad model: 4


def test_an_unknown_bundle_names_the_nearest(command: Command) -> None:
    ended = command("run", "--bundle", "smal", "--source", "demo", "--sink", "null")
    assert ended.code == 4
    assert "did you mean 'small'" in ended.err


def test_an_altered_model_file_is_refused(command: Command, folder: Path, small_copy: Path) -> None:
    for path in [*small_copy.glob("*.tflite"), *small_copy.glob("*.onnx")]:
        os.truncate(path, 1000)
    ended = command("run", "--bundle", small_copy, "--source", folder, "--sink", "null", "--variant", "fp32")
    assert ended.code == 4
    assert "bytes, but the manifest says" in ended.err


def test_a_variant_that_the_bundle_lacks_for_the_runtime_is_a_bundle_error(command: Command, folder: Path) -> None:
    ended = command("run", "--source", folder, "--sink", "null", "--variant", "dynamic", "--runtime", "opencv_dnn")
    assert ended.code == 4
    assert "has no dynamic for onnx" in ended.err


def test_a_runtime_that_is_not_installed_is_reported_with_the_command_that_installs_it(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.runtimes.installed", lambda name: name != "litert")
    ended = command("run", "--source", folder, "--sink", "null", "--runtime", "litert")
    assert ended.code == 4
    assert "pip install ai-edge-litert" in ended.err


# No camera: 7


def test_a_missing_camera_ends_with_seven(command: Command) -> None:
    ended = command("run", "--source", "v4l2:/dev/video-none", "--sink", "null")
    assert ended.code == 7
    assert "/dev/video-none: no such device" in ended.err


@pytest.mark.skipif(any(Path("/dev").glob("video*")), reason="this machine has a camera")
def test_no_camera_at_all_ends_with_seven_and_says_what_to_do(command: Command) -> None:
    ended = command("run")
    assert ended.code == 7
    assert "no /dev/video node" in ended.err
    assert "--source demo" in ended.err


# A failure while running: 1


def test_a_port_in_use_is_reported(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = command("run", "--source", "demo", "--sink", "web", "--port", port, "--frames", "2")
    assert ended.code == 1
    assert f"127.0.0.1:{port}: Address already in use" in ended.err
    assert "--port" in ended.err


@pytest.mark.parametrize("sink", ["out.png", "out.avi", "out.mp4", "out.mkv", "out.webm", "out"])
def test_a_full_disk_is_reported_and_leaves_no_partial_file(command: Command, tmp_path: Path, tiny_disk: Path, sink: str) -> None:
    for index in range(2):
        write_picture(tmp_path / "noise" / f"{index}.png", noise())  # each larger than the disk, as a picture
    ended = command("run", "--source", tmp_path / "noise", "--sink", tiny_disk / sink)
    assert ended.code == 1
    assert str(tiny_disk / sink) in ended.err
    assert "Traceback" not in ended.err
    assert [p for p in tiny_disk.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_disk_that_fills_up_during_the_last_frame_of_a_video_is_reported(
    command: Command, tmp_path: Path, tiny_disk: Path, suffix: str
) -> None:
    write_picture(tmp_path / "noise.png", noise())
    line = ("run", "--source", tmp_path / "noise.png", "--sink")
    assert command(*line, tmp_path / f"whole{suffix}").code == 0
    pages = (tmp_path / f"whole{suffix}").stat().st_size // 4096  # less than a page is missing
    (tiny_disk / "ballast").write_bytes(bytes(max(0, 16 - pages) * 4096))
    ended = command(*line, tiny_disk / f"out{suffix}")
    assert ended.code == 1
    assert "the video is incomplete after 1 frames; is the disk full?" in ended.err
    assert os.listdir(tiny_disk) == ["ballast"]


@pytest.mark.parametrize("sink", ["out.png", "out"])
def test_a_write_that_the_system_refuses_is_reported_and_leaves_no_partial_file(tmp_path: Path, sink: str) -> None:
    write_picture(tmp_path / "noise.png", noise())
    (tmp_path / "to").mkdir()
    ended = typed(
        *("run", "--source", tmp_path / "noise.png", "--sink", tmp_path / "to" / sink),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)),
    )
    assert ended.returncode == 1
    assert "cannot be written: File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [p for p in (tmp_path / "to").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("sink", ["file/out.png", "file/out.avi", "file/out"])
def test_a_folder_that_cannot_be_written_is_reported(command: Command, folder: Path, tmp_path: Path, sink: str) -> None:
    (tmp_path / "file").touch()
    ended = command("run", "--source", folder / "a.png", "--sink", tmp_path / sink)
    assert ended.code == 1
    assert "Traceback" not in ended.err


def test_pictures_of_several_sizes_do_not_fit_one_video(command: Command, folder: Path, tmp_path: Path) -> None:
    ended = command("run", "--source", folder, "--sink", tmp_path / "out.avi")
    assert ended.code == 1
    assert "write a folder of pictures" in ended.err


# Fine: 0


def test_frames_ends_a_run_after_that_many(command: Command, folder: Path, tmp_path: Path) -> None:
    ended = command("run", "--source", folder, "--sink", tmp_path / "out", "--frames", 2, "--json")
    assert ended.code == 0
    assert last_object(ended.out)["frames"] == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "b.jpg"]
    ended = command("run", "--source", "demo", "--sink", "null", "--frames", 3, "--json")
    assert (ended.code, last_object(ended.out)["frames"]) == (0, 3)


def test_seconds_ends_a_live_run(command: Command) -> None:
    ended = command("run", "--source", "demo", "--sink", "null", "--seconds", 0.5, "--json")
    assert ended.code == 0  # it ends
    assert "dropped" in last_object(ended.out)


def test_json_is_one_object_on_the_only_line_of_stdout_and_logs_go_to_stderr(folder: Path) -> None:
    ended = typed("run", "--source", folder, "--sink", "null", "--json", "--threads", "1", "--variant", "int8")
    assert ended.returncode == 0
    assert ended.stdout.count("\n") == 1
    record = last_object(ended.stdout)
    wanted = {"frames", "seconds", "fps", "dropped", "artifact", "runtime", "threads", "stages_ms", "frame_age_ms"}
    assert {*wanted, "peak_rss_mib"} <= set(record)
    assert record["threads"] == 1
    assert record["artifact"].startswith("int8.")
    assert {"capture", "infer", "output"} <= set(record["stages_ms"])
    for stage in (*record["stages_ms"].values(), record["frame_age_ms"]):
        assert set(stage) == {"p50", "p95"}
    assert record["peak_rss_mib"] > 1
    assert str(folder) in ended.stderr


def test_without_json_stdout_is_empty_and_quiet_silences_stderr(folder: Path) -> None:
    ended = typed("run", "--source", folder, "--sink", "null")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "5 frames" in ended.stderr
    ended = typed("run", "--source", folder, "--sink", "null", "--quiet")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "frames" not in ended.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_by_signal_is_clean(number: signal.Signals, code: int) -> None:
    line = [sys.executable, "-m", "deblurkit", "run", "--source", "demo", "--sink", "null", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for text in process.stderr:
            if "nowhere (null)" in text:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert last_object(out)["runtime"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["doctor", "--help"]])
def test_help_explains_the_command_and_gives_an_example(command: Command, arguments: list[str]) -> None:
    ended = command(*arguments)
    assert ended.code == 0
    assert "deblurkit" in ended.out
    assert "example" in ended.out


def test_the_version_is_printed(command: Command) -> None:
    ended = command("--version")
    assert ended.code == 0
    assert ended.out.startswith("deblurkit ")
