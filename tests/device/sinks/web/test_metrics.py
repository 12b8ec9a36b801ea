"""The Prometheus text: every line follows the grammar of the format, every name is documented."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import device
from device.sinks.web import Web
from device.sinks.web.metrics import METRICS
from device.state import RateControlState, RecordingState, SinkState

DOCUMENT = Path(device.__file__).resolve().parent.parent / "docs" / "metrics.md"
# https://prometheus.io/docs/instrumenting/exposition_formats/: text format 0.0.4
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)")


def read(text: str) -> dict[str, dict[str, float]]:
    """Name -> labels -> value. Every metric has its HELP and TYPE before its samples, once, and all samples together."""
    assert text.endswith("\n")
    found: dict[str, dict[str, float]] = {}
    name = kind = ""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in found
            assert lines[i + 1].startswith(f"# TYPE {name} ")
            kind = lines[i + 1].split(" ")[3]
            assert kind in ("counter", "gauge")
            assert (kind == "counter") == name.endswith("_total")
            found[name] = {}
        elif not line.startswith("# TYPE "):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == name
            assert (sample[2] or "") not in found[name]
            found[name][sample[2] or ""] = float(sample[3])
    return found


def test_the_metrics_have_the_values_of_the_state(web: Web, loop: Any, get: Callable) -> None:
    loop.telemetry.add("infer", 0.025)
    loop.telemetry.count("dropped")
    loop.recording = RecordingState(on=True, files=2, bytes=5_000_000_000, error="")
    loop.overrides = {
        "healthy": False,
        "temperature_c": 61.5,
        "throttled": {"now": ["under-voltage"], "ever": []},
        "deadline": RateControlState(fps=30.0, max_age_ms=0.0, every=2, bundle="small", level=1, levels=4, changes=3),
    }
    response, body = get(web, "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = read(body.decode())
    assert found["deblurkit_dropped_total"] == {"": 1}
    assert found["deblurkit_stage_seconds"]['stage="infer",quantile="0.5"'] == 0.025
    assert found["deblurkit_recording"] == {"": 1}
    assert found["deblurkit_recording_bytes"] == {"": 5_000_000_000}
    assert found["deblurkit_healthy"] == {"": 0}
    assert found["deblurkit_temperature_celsius"] == {"": 61.5}
    assert found["deblurkit_throttled"] == {"": 1}
    assert found["deblurkit_deadline_level"] == {"": 1}
    assert found["deblurkit_rss_bytes"][""] > 1e6
    assert "frame_age" not in body.decode()  # there was no frame yet: absent, not zero
    assert set(found) <= {f"deblurkit_{name}" for name, *_ in METRICS}


def test_unknown_values_are_left_out(web: Web, loop: Any, get: Callable) -> None:
    loop.overrides = {"temperature_c": None, "throttled": None, "deadline": None, "recording": None}
    found = read(get(web, "/metrics")[1].decode())
    for name in ("temperature_celsius", "throttled", "deadline_level", "recording"):
        assert f"deblurkit_{name}" not in found


@pytest.mark.parametrize("text", ['a "quoted" name', "back\\slash", "two\nlines", "rtsp://camera/ü", "{},="])
def test_any_description_is_a_label(web: Web, loop: Any, get: Callable, text: str) -> None:
    loop.overrides = {"source": text, "sinks": (SinkState(description=text, frames=1, dropped=0, failures=0, error=""),)}
    found = read(get(web, "/metrics")[1].decode())
    assert len(found["deblurkit_sink_frames_total"]) == 1


def test_every_name_is_documented_with_its_type_and_nothing_else_is() -> None:
    rows = dict(re.findall(r"^\| `deblurkit_([a-z_]+)(?:\{[^`]*\})?` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {name: kind for name, kind, *_ in METRICS}
