"""The state of a run in which all is well, for tests that change some of it."""

from dataclasses import replace
from typing import Any

from device.state import BlurState, CameraState, DecisionState, State
from device.telemetry import Percentiles

CAMERA = CameraState(
    ok=True,
    reason="",
    reopened=0,
    bad_frames=0,
    exposure_ms=None,
    gain=None,
    in_focus=None,
    lens_dioptres=None,
    lux=None,
)

BLUR = BlurState(
    mode="blind",
    kind="blind",
    size_px=0.0,
    spread_px=0.0,
    angle_deg=0.0,
    linear=True,
    noise=None,
    origin="hand",
    confidence=1.0,
    sureness="",
    description="no known blur",
    restored_px=None,
    fits=None,
    strength=1.0,
    roi_xywh=None,
    error="",
)

ESTIMATED = replace(
    BLUR,
    mode="auto",
    kind="motion",
    size_px=17.0,
    angle_deg=-150.0,
    origin="auto",
    confidence=0.9,
    sureness="sure",
    description="motion of 17 pixels at -150 degrees",
)


def state(**changes: Any) -> State:
    """`nano` restores the frames of a test; the board reports nothing, and there is neither a recorder nor rate control."""
    values: dict[str, Any] = {
        "frames": 0,
        "seconds": 1.0,
        "fps": 0.0,
        "fps_now": 0.0,
        "dropped": 0,
        "skipped": 0,
        "repeated": 0,
        "not_restored": 0,
        "stages_ms": {},
        "stages_now_ms": {},
        "frame_age_ms": Percentiles(None, None),
        "first_frame_s": None,
        "peak_rss_mib": 100.0,
        "temperature_c": None,
        "bundle": "nano",
        "variant": "int8",
        "artifact": "int8.tflite",
        "runtime": "litert",
        "threads": 1,
        "source": "a test",
        "size_wh": None,
        "newest_frame_s": None,
        "health": "",
        "healthy": True,
        "camera": CAMERA,
        "blur": BLUR,
        "choice": DecisionState("none", ""),
        "deadline": None,
        "recording": None,
        "sinks": (),
        "choices": (),
        "throttled": None,
        "message": "",
        "version": "0.1.0",
    }
    return State(**{**values, **changes})
