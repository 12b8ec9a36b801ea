"""The state of a run as Prometheus text (format 0.0.4). docs/metrics.md documents the names."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from device.state import CameraState, PageState, RateControlState, RecordingState, SinkState
from device.telemetry import Percentiles

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[dict[str, str], float | None]  # labels and value; None: no sample
Samples = Callable[[PageState], list[Sample]]


def _one(value: Callable[[PageState], float | None]) -> Samples:
    """One sample without labels."""
    return lambda state: [({}, value(state))]


def _camera(value: Callable[[CameraState], float]) -> Samples:
    return _one(lambda state: float(value(state.camera)))


def _rate_control(value: Callable[[RateControlState], float]) -> Samples:
    return _one(lambda state: None if state.deadline is None else float(value(state.deadline)))


def _recording(value: Callable[[RecordingState], float]) -> Samples:
    return _one(lambda state: None if state.recording is None else float(value(state.recording)))


def _sinks(value: Callable[[SinkState], float]) -> Samples:
    """One sample for each sink."""
    return lambda state: [({"sink": str(i), "to": sink.description}, value(sink)) for i, sink in enumerate(state.sinks)]


def _quantiles(ms: Percentiles, **labels: str) -> list[Sample]:
    return [
        ({**labels, "quantile": quantile}, None if value is None else value / 1000)
        for value, quantile in ((ms.p50, "0.5"), (ms.p95, "0.95"))
    ]


def _stages(state: PageState) -> list[Sample]:
    return [sample for stage, ms in state.stages_ms.items() for sample in _quantiles(ms, stage=stage)]


def _info(state: PageState) -> list[Sample]:
    names = ("version", "bundle", "artifact", "runtime", "threads", "source")
    return [({name: str(getattr(state, name)) for name in names}, 1.0)]


METRICS: tuple[tuple[str, str, str, Samples], ...] = (
    ("info", "gauge", "What runs; always 1.", _info),
    ("healthy", "gauge", "1 while the picture is live, as in /healthz.", _one(lambda state: float(state.healthy))),
    ("uptime_seconds", "gauge", "Time since the loop started.", _one(lambda state: state.seconds)),
    ("frames_total", "counter", "Frames that reached the first sink.", _one(lambda state: state.frames)),
    ("dropped_total", "counter", "Frames dropped because a newer one had arrived.", _one(lambda state: state.dropped)),
    ("skipped_total", "counter", "Frames that rate control left out.", _one(lambda state: state.skipped)),
    (
        "repeated_total",
        "counter",
        "Times the last restored frame was shown again, to keep the frame rate.",
        _one(lambda state: state.repeated),
    ),
    (
        "not_restored_total",
        "counter",
        "Frames passed through because the model failed.",
        _one(lambda state: state.not_restored),
    ),
    ("fps", "gauge", "Restored frames a second, now.", _one(lambda state: state.fps_now)),
    (
        "frame_age_seconds",
        "gauge",
        "Capture to first sink, over the last 2,000 frames.",
        lambda state: _quantiles(state.frame_age_ms),
    ),
    ("newest_frame_seconds", "gauge", "Age of the newest frame at this moment.", _one(lambda state: state.newest_frame_s)),
    ("stage_seconds", "gauge", "Time of one stage, over its last 2,000 runs.", _stages),
    ("camera_up", "gauge", "1 while the source delivers pictures.", _camera(lambda camera: camera.ok)),
    ("camera_reopened_total", "counter", "Times the source was opened again.", _camera(lambda camera: camera.reopened)),
    ("camera_bad_frames_total", "counter", "Damaged frames of the source, dropped.", _camera(lambda camera: camera.bad_frames)),
    ("deadline_level", "gauge", "Level of rate control; 0 is the best.", _rate_control(lambda control: control.level)),
    ("deadline_changes_total", "counter", "Changes of that level.", _rate_control(lambda control: control.changes)),
    ("viewers", "gauge", "Open streams of the page.", _one(lambda state: state.viewers.now)),
    ("recording", "gauge", "1 while the recorder records.", _recording(lambda recording: recording.on)),
    ("recording_bytes", "gauge", "Total size of the recordings.", _recording(lambda recording: recording.bytes)),
    ("sink_frames_total", "counter", "Frames that one sink wrote.", _sinks(lambda sink: sink.frames)),
    ("sink_dropped_total", "counter", "Frames that one sink was too slow for.", _sinks(lambda sink: sink.dropped)),
    ("sink_failures_total", "counter", "Times that one sink failed.", _sinks(lambda sink: sink.failures)),
    ("temperature_celsius", "gauge", "Temperature of the processor.", _one(lambda state: state.temperature_c)),
    (
        "throttled",
        "gauge",
        "1 while the board is throttled or its power supply too weak.",
        _one(lambda state: None if state.throttled is None else float(bool(state.throttled["now"]))),
    ),
    ("rss_bytes", "gauge", "Resident memory of the process, now.", _one(lambda state: _rss_bytes())),
    ("peak_rss_bytes", "gauge", "Largest resident memory so far.", _one(lambda state: state.peak_rss_mib * 2.0**20)),
    ("open_descriptors", "gauge", "Open files and sockets of the process.", _one(lambda state: _descriptors())),
    ("threads", "gauge", "Python threads of the process.", _one(lambda state: float(threading.active_count()))),
)
"""Name without `deblurkit_`, type, meaning, and the function that reads the samples."""


def metrics(state: PageState) -> str:
    """All metrics that have a value."""
    return "".join(line for metric in METRICS for line in _lines(*metric, state))


def _lines(name: str, kind: str, meaning: str, samples: Samples, state: PageState) -> Iterator[str]:
    known = [(labels, value) for labels, value in samples(state) if value is not None]
    if known:
        yield f"# HELP deblurkit_{name} {meaning}\n# TYPE deblurkit_{name} {kind}\n"
    for labels, value in known:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"deblurkit_{name}{{{inside}}} {value:.15g}\n" if inside else f"deblurkit_{name} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _rss_bytes() -> float | None:
    try:
        return float(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, IndexError, ValueError):
        return None


def _descriptors() -> float | None:
    try:
        return float(len(os.listdir("/proc/self/fd")))
    except OSError:
        return None
