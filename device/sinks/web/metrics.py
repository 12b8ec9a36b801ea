"""The loop's state as Prometheus text (format 0.0.4). The names are documented in docs/metrics.md."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KIND = "text/plain; version=0.0.4; charset=utf-8"
State = dict[str, Any]
Sample = tuple[dict[str, str], float | None]  # labels, value; None where there is none


def _one(value: Callable[[State], float | None]) -> Callable[[State], list[Sample]]:
    return lambda state: [({}, value(state))]


def _figure(name: str, factor: float = 1.0) -> Callable[[State], list[Sample]]:
    return lambda state: [({}, None if state.get(name) is None else state[name] * factor)]


def _quantiles(percentiles_ms: dict[str, float | None], **labels: str) -> list[Sample]:
    return [
        ({**labels, "quantile": quantile}, None if percentiles_ms[name] is None else percentiles_ms[name] / 1000)  # type: ignore[operator]
        for name, quantile in (("p50", "0.5"), ("p95", "0.95"))
    ]


def _stages(state: State) -> list[Sample]:
    return [sample for stage, ms in state["stages_ms"].items() for sample in _quantiles(ms, stage=stage)]


def _sinks(name: str) -> Callable[[State], list[Sample]]:
    return lambda state: [({"sink": str(i), "to": s["description"]}, s[name]) for i, s in enumerate(state["sinks"])]


def _part_of(part: str, name: str) -> Callable[[State], list[Sample]]:
    """A value of a part of the state that may be null."""
    return lambda state: [({}, None if state[part] is None else float(state[part][name]))]


def _info(state: State) -> list[Sample]:
    return [({name: str(state[name]) for name in ("version", "bundle", "artifact", "runtime", "threads", "source")}, 1.0)]


METRICS: tuple[tuple[str, str, str, Callable[[State], list[Sample]]], ...] = (
    ("info", "gauge", "What runs; always 1.", _info),
    ("healthy", "gauge", "1 while live pictures come, as /healthz says.", _one(lambda state: float(state["healthy"]))),
    ("uptime_seconds", "gauge", "Time since the loop began.", _figure("seconds")),
    ("frames_total", "counter", "Frames that reached the first sink.", _figure("frames")),
    ("dropped_total", "counter", "Frames left out because a newer one had come.", _figure("dropped")),
    ("skipped_total", "counter", "Frames left out on purpose, to keep the deadline.", _figure("skipped")),
    ("repeated_total", "counter", "Times the last restored frame was shown again, to keep the rate.", _figure("repeated")),
    ("not_restored_total", "counter", "Frames passed through because the model failed.", _figure("not_restored")),
    ("fps", "gauge", "Restored frames a second, now.", _figure("fps_now")),
    (
        "frame_age_seconds",
        "gauge",
        "Capture to first sink, over the last 2,000 frames.",
        lambda state: _quantiles(state["frame_age_ms"]),
    ),
    ("newest_frame_seconds", "gauge", "Age of the newest picture at this moment.", _figure("newest_frame_s")),
    ("stage_seconds", "gauge", "Time of one stage, over its last 2,000 runs.", _stages),
    ("camera_up", "gauge", "1 while the source delivers pictures.", _part_of("camera", "ok")),
    ("camera_reopened_total", "counter", "Times the source was opened again.", _part_of("camera", "reopened")),
    ("camera_bad_frames_total", "counter", "Frames of the source thrown away.", _part_of("camera", "bad_frames")),
    ("deadline_level", "gauge", "What is done to keep the deadline; 0 is nothing.", _part_of("deadline", "level")),
    ("deadline_changes_total", "counter", "Changes of that level.", _part_of("deadline", "changes")),
    ("viewers", "gauge", "Streams of the page that are open.", _part_of("viewers", "now")),
    ("recording", "gauge", "1 while the recorder records.", _part_of("recording", "on")),
    ("recording_bytes", "gauge", "Size of what it has kept.", _part_of("recording", "bytes")),
    ("sink_frames_total", "counter", "Frames that one sink has taken.", _sinks("frames")),
    ("sink_dropped_total", "counter", "Frames that one sink was too slow for.", _sinks("dropped")),
    ("sink_failures_total", "counter", "Times that one sink failed.", _sinks("failures")),
    ("temperature_celsius", "gauge", "The processor's temperature.", _figure("temperature_c")),
    (
        "throttled",
        "gauge",
        "1 while the board is throttled or its supply too weak.",
        _one(lambda state: None if state["throttled"] is None else float(bool(state["throttled"]["now"]))),
    ),
    ("rss_bytes", "gauge", "Resident memory of the process, now.", _one(lambda state: _rss_bytes())),
    ("peak_rss_bytes", "gauge", "Its largest so far.", _figure("peak_rss_mib", 2.0**20)),
    ("open_descriptors", "gauge", "Open files and sockets of the process.", _one(lambda state: _descriptors())),
    ("threads", "gauge", "Threads of Python in the process.", _one(lambda state: float(threading.active_count()))),
)
"""Name without `deblurkit_`, type, meaning, and where the samples come from."""


def metrics(state: State) -> str:
    """All metrics that have a value. `state` is that of the page, with `viewers`."""
    return "".join(line for metric in METRICS for line in _lines(*metric, state))


def _lines(name: str, kind: str, meaning: str, samples: Callable[[State], list[Sample]], state: State) -> Iterator[str]:
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
