"""The keys of `/state` and of `run --json`, which other programs read: exactly those that were recorded in state_keys.json."""

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from loop_parts import until

from device.session import Session
from device.settings import CameraSettings, Settings, WebSettings
from device.system import hardware

RECORDED = json.loads(Path(__file__).with_name("state_keys.json").read_text())


def keys(value: Any) -> Any:
    """The tree of keys below a value of JSON: of a list that of its first item; of everything else None."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(item) for item in value[:1]] if isinstance(value, list) else None


def test_the_keys_of_the_state_stay_as_they_were_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="pip install av")
    monkeypatch.setattr(hardware, "throttled", lambda: {"now": ["under-voltage"], "ever": ["under-voltage"]})
    camera = CameraSettings(size="64x48", fps=60.0)
    settings = Settings(
        source="demo",
        sink=("web", f"record:{tmp_path / 'videos'}"),
        threads=1,
        fps=60.0,
        camera=camera,
        web=WebSettings(port=0),
        roi="0,0,64,48",
        blur="blind",  # an estimate is a stage of its own, now and then
    )
    stop = threading.Event()
    with Session(settings, stop) as session:
        running = threading.Thread(target=session.run, daemon=True)
        running.start()
        until(lambda: session.telemetry.frames > 3)
        url = session.state().sinks[0].description
        with urllib.request.urlopen(f"{url}/state", timeout=10) as reply:
            page = json.load(reply)
        stop.set()
        running.join(20)
        run = json.loads(json.dumps(session.state().to_dict()))
    assert keys(page) == RECORDED
    assert keys({**run, "viewers": page["viewers"]}) == RECORDED
