"""Fixtures for camera tests: fake cameras in their own process, and real servers on the loopback interface."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from free_port import free_port

from device.settings import CameraSettings
from device.sources.supervised_camera import SupervisedCamera

RIGS = Path(__file__).resolve().parent
SYSTEM_PYTHON = "/usr/bin/python3"  # GStreamer's bindings are a system package


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SupervisedCamera]]:
    """`watch("Rgb", spec, size=…)`: a supervised fake camera of fake_cameras.py; closed after the test."""
    monkeypatch.setenv("PYTHONPATH", str(RIGS), prepend=os.pathsep)
    opened: list[SupervisedCamera] = []

    def watch(fake: str, spec: str = "fake:", *, wait: bool = False, **settings: object) -> SupervisedCamera:
        camera = CameraSettings(**{"size": "64x48", **settings})  # type: ignore[arg-type]
        opened.append(SupervisedCamera(spec, camera, wait, f"fake_cameras:{fake}"))
        return opened[-1]

    yield watch
    for source in opened:
        source.close()


class Server:
    """A camera server of this folder in its own process; it keeps its port when it is restarted."""

    def __init__(self, interpreter: str, script: str) -> None:
        self._line = [interpreter, str(RIGS / script)]
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()

    def start(self, *arguments: str) -> "Server":
        """Start to serve, on the same port as before."""
        self._process = subprocess.Popen([*self._line, str(self.port), *arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def freeze(self) -> None:
        """Freeze it: connections stay open, but nothing is answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, like a power cut."""
        if self._process is not None:
            self._send(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture
def mjpeg() -> Iterator[Server]:
    """`mjpeg.start("320x240", "well")`: see mjpeg_server.py."""
    server = Server(sys.executable, "mjpeg_server.py")
    yield server
    server.kill()


def gstreamer(script: str) -> Iterator[Server]:
    """A server of this folder that needs GStreamer; the test is skipped if that is not installed."""
    there = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstApp', '1.0')"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", there], capture_output=True, check=False).returncode
    ):
        pytest.skip("no GStreamer RTSP server here; scripts/install-servers.sh")
    server = Server(SYSTEM_PYTHON, script)
    yield server
    server.kill()


@pytest.fixture
def rtsp() -> Iterator[Server]:
    """`rtsp.start("320x240")`: see rtsp_server.py."""
    yield from gstreamer("rtsp_server.py")


@pytest.fixture
def rtsp_record() -> Iterator[Server]:
    """`rtsp_record.start()`: see rtsp_record_server.py."""
    yield from gstreamer("rtsp_record_server.py")
