"""SIGTERM and SIGINT to the real command: how a service manager and the keyboard end it."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from device.images.scenes import dead_leaves

ROOT = Path(__file__).parents[2]
BOUND_S = 4.0  # the limit is two seconds after the signal; the machine may be busy


class Running:
    """`deblurkit run …` as a process of its own, ready for a signal."""

    def __init__(self, *arguments: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEBLURKIT_")}
        command = [sys.executable, "-m", "deblurkit", "run", "--json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.err = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._told(r"^to (.*)$")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.err += line
            self._lines.put(line)

    def _told(self, pattern: str) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if found := re.match(pattern, self._lines.get(timeout=0.5)):
                    return found[1]
            except queue.Empty:
                assert self.process.poll() is None, self.err
        raise AssertionError(f"not started within a minute: {self.err}")

    def until_it_shows_frames(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with urllib.request.urlopen(f"{self.url}/state", timeout=10) as reply:
                if json.load(reply)["frames"] > 1:
                    return
            time.sleep(0.1)
        raise AssertionError(f"no frame within a minute: {self.err}")

    def end_with(self, *signals: int) -> tuple[int, dict[str, Any]]:
        """Send the signals one right after the other; exit code and JSON summary."""
        for number in signals:
            self.process.send_signal(number)
        sent = time.monotonic()
        out, _ = self.process.communicate(timeout=30)
        took_s = time.monotonic() - sent
        self._reader.join(10)
        assert took_s < BOUND_S, self.err
        assert "Traceback" not in self.err
        return self.process.returncode, json.loads(out.splitlines()[-1])


Start = Callable[..., Running]


@pytest.fixture
def run() -> Iterator[Start]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("sink", ["null", "web"])
def test_a_signal_ends_the_run_with_its_code_and_the_summary(run: Start, sink: str, number: int, code: int) -> None:
    running = run("--source", "demo", "--sink", sink, "--port", "0")
    if sink == "web":
        running.until_it_shows_frames()
    else:
        time.sleep(1)
    ended, summary = running.end_with(number)
    assert ended == code
    assert summary["frames"] > 0 or sink == "null"  # a second may be too short for a frame
    assert summary["bundle"] == "small"


def test_two_signals_at_once_end_the_run_like_one(run: Start) -> None:
    running = run("--source", "demo", "--sink", "null")
    time.sleep(1)
    code, summary = running.end_with(signal.SIGTERM, signal.SIGINT, signal.SIGTERM)
    assert code == 130
    assert "frames" in summary


def test_a_signal_right_at_the_start_ends_the_run_before_its_first_frame(run: Start) -> None:
    code, summary = run("--source", "demo", "--sink", "null").end_with(signal.SIGTERM)
    assert code == 0
    assert summary["frames"] <= 2


def test_viewers_do_not_delay_the_end(run: Start) -> None:
    running = run("--source", "demo", "--sink", "web", "--port", "0")
    running.until_it_shows_frames()
    host, port = running.url.removeprefix("http://").split(":")
    viewers = [socket.create_connection((host, int(port)), 10) for _ in range(4)]
    for viewer, path in zip(viewers, ("/stream", "/stream?view=blurred", "/stream", "/state"), strict=True):
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert viewer.recv(1000).startswith(b"HTTP/1.1 200")  # and reads nothing more
    idle = socket.create_connection((host, int(port)), 10)
    time.sleep(1)
    code, summary = running.end_with(signal.SIGTERM)
    assert code == 0
    assert "encode" in summary["stages_ms"]
    for viewer in (*viewers, idle):
        viewer.close()


def test_a_signal_ends_a_played_video_and_the_written_video_is_complete(run: Start, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for i in range(300):
        writer.write(dead_leaves(64, 96, i % 3))
    writer.release()
    running = run("--source", str(tmp_path / "in.avi"), "--sink", "web", "--sink", str(tmp_path / "out.mp4"), "--port", "0")
    running.until_it_shows_frames()
    code, summary = running.end_with(signal.SIGINT)
    assert code == 130
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"), cv2.CAP_FFMPEG)
    assert 0 < summary["frames"] == int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) < 300
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.avi", "out.mp4"]


def test_a_run_limited_by_seconds_ends_with_code_0(run: Start) -> None:
    running = run("--source", "demo", "--sink", "null", "--seconds", "1")
    out, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert json.loads(out.splitlines()[-1])["seconds"] >= 1
