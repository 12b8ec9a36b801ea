"""A run from settings to its end, with the real demo, models and page."""

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from loop_parts import until

from device.errors import UsageError
from device.session import Session
from device.settings import CameraSettings, Settings, WebSettings
from device.state import ModelOption

pytestmark = pytest.mark.timeout(120)
SMALL = CameraSettings(size="64x48", fps=60.0)


class Running:
    """A session in a thread; leaving `with` ends it."""

    def __init__(self, **wanted: Any) -> None:
        self.stop = threading.Event()
        settings = Settings(**{"source": "demo", "sink": ("null",), "bundle": ("nano",), "threads": 1, "camera": SMALL, **wanted})
        self.session = Session(settings, self.stop)
        self._thread = threading.Thread(target=self.session.run, daemon=True)

    def __enter__(self) -> Session:
        self._thread.start()
        until(lambda: self.session.telemetry.frames > 3)
        return self.session

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(20)
        self.session.close()
        assert not self._thread.is_alive()


def test_the_state_can_be_written_as_json_and_is_healthy_while_frames_arrive() -> None:
    with Running() as session:
        state = session.state()
        assert json.loads(json.dumps(state.to_dict()))["bundle"] == "nano"
        assert state.healthy
        assert state.health == ""
        assert (state.bundle, state.artifact, state.size_wh) == ("nano", "int8.tflite", (64, 48))
        assert state.deadline is state.recording is None
        assert ModelOption("nano", "fp32", "litert") in state.choices


def test_the_state_is_unhealthy_if_the_first_frame_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(Settings(source="demo", sink=("null",), bundle=("nano",), camera=SMALL), threading.Event())
    assert session.state().healthy
    monkeypatch.setattr("device.session.HEALTHY_S", -1.0)
    assert session.state().health == "no frame yet"
    session.close()


def test_models_are_switched_and_reloaded_without_losing_a_frame() -> None:
    with Running(sink=("null", "web"), web=WebSettings(port=0)) as session:
        session.controls().switch(next(c for c in session.models.options if (c.bundle, c.variant) == ("nano", "fp32")))
        until(lambda: session.state().artifact == "fp32.tflite")
        before = session.models.restorer()
        session.reload()
        until(lambda: session.models.restorer() is not before)
        assert session.state().not_restored == 0
        assert session.state().message.startswith("restoring with nano, fp32.tflite")


def test_the_page_serves_the_state_of_the_session() -> None:
    with Running(sink=("web",), web=WebSettings(port=0)) as session:
        url = session.state().sinks[0].description
        assert session.invitation == url
        with urllib.request.urlopen(f"{url}/state", timeout=10) as reply:
            seen = json.load(reply)
        assert seen["source"] == session.source.description
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as reply:
            assert reply.status == 200


def test_the_state_shows_rate_control() -> None:
    with Running(bundle=(), fps=60.0) as session:
        control = session.state().deadline
        assert control is not None
        assert (control.fps, control.levels) == (60.0, 4)
        assert control.bundle in ("small", "nano")


def test_recording_is_switched_through_the_controls(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="pip install av")
    with Running(sink=("null", f"record:{tmp_path / 'videos'}")) as session:
        until(lambda: session.state().recording.files)
        session.controls().record(False)
        until(lambda: not session.state().recording.on)
    assert list((tmp_path / "videos").glob("*.mp4"))


def test_without_a_recorder_recording_is_wrong_usage() -> None:
    with Running() as session, pytest.raises(UsageError, match="--sink record:DIR"):
        session.controls().record(True)
