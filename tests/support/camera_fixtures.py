"""Fixtures of the tests of cameras: fake ones in the camera's own process, and real servers on the loopback interface."""

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
SYSTEM_PYTHON = "/usr/bin/python3"  # GStreamer's bindings are a package of the system


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SupervisedCamera]]:
    """`watch("Rgb", spec, size=…)`: a fake camera of fake_cameras.py, watched; closed after the test."""
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
    """A camera server of this folder in a process of its own, on a port that stays the same when it is begun again."""

    def __init__(self, interpreter: str, script: str) -> None:
        self._line = [interpreter, str(RIGS / script)]
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()

    def start(self, *arguments: str) -> "Server":
        """Begin to serve; the same port as before."""
        self._process = subprocess.Popen([*self._line, str(self.port), *arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def freeze(self) -> None:
        """Stop it as it is: connections stay, nothing is answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut does."""
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
    """A server of this folder that needs GStreamer's; skips where that is not installed."""
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
