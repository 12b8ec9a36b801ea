"""What a person can do for a better picture: warnings from the state of a run, each with what mends it.

A threshold stands beside its reason. Nothing here remembers: the same state gives the same warnings.
"""

from collections.abc import Iterator
from typing import Any

Warning = dict[str, str]

# A walker 2 m away crosses 280 pixels of a 640 pixels wide picture in a second (60° lens): 7 pixels in 1/40 s.
LONG_EXPOSURE_MS = 25.0
HIGH_GAIN = 8.0  # a sensor's noise at eight times its light sensitivity is what restoring begins to take for texture
HOT_C = 75.0  # Raspberry Pis slow down from 80 °C on, and stop at 85 (their documentation, "Frequency management")
BAD_SHARE = 0.01  # of frames: a sound cable loses fewer than one in a million
_FRAMES = 300  # that have to be seen before a share of them says anything
_SLOWER = 1.5  # times a frame's interval: below that every second frame is still restored

_THROTTLED = {
    "under-voltage": ("the power supply is too weak at this moment", "use the board's own supply and a short cable"),
    "frequency capped": ("the processor's clock is held down", "use the board's own supply, and cool the processor"),
    "throttled": ("the board is throttled: it computes more slowly", "cool the processor, and use the board's own supply"),
    "soft temperature limit": ("the board is hot: its clock is lowered", "a heat sink or a fan, and air around the case"),
}


def warnings(state: dict[str, Any]) -> list[Warning]:
    """`text` and `mend` of everything that is worth a person's attention, the weightiest first.

    `state` is that of `Session.state`; a key that is missing or null warns of nothing.
    """
    checks = (_camera, _power, _light, _model, _choice, _recorder)
    return [{"text": text, "mend": mend} for check in checks for text, mend in check(state)]


def _camera(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    camera = state.get("camera") or {}
    if reason := camera.get("reason"):
        text, _, mend = str(reason).partition("; ")
        yield text, mend or "look at its cable; it is opened again by itself"
    frames, bad = state.get("frames") or 0, camera.get("bad_frames") or 0
    if bad > _FRAMES * BAD_SHARE and bad > (frames + bad) * BAD_SHARE:
        yield (
            f"{100 * bad / (frames + bad):.0f} % of the camera's frames arrive damaged",
            "another cable or USB port, no hub; or ask for a smaller size or rate",
        )
    if camera.get("in_focus") is False:
        yield "out of focus", "turn the lens, or go farther away; with autofocus set `focus` under [camera] to a distance"


def _power(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    throttled = state.get("throttled") or {"now": [], "ever": []}
    for word in throttled["now"]:
        yield _THROTTLED[word]
    if "under-voltage" in throttled["ever"] and "under-voltage" not in throttled["now"]:
        yield "the power supply was too weak at least once since the board was started", _THROTTLED["under-voltage"][1]
    degrees = state.get("temperature_c")
    if degrees is not None and degrees >= HOT_C:
        yield f"{degrees:.0f} °C: the board slows down from 80 °C on", _THROTTLED["soft temperature limit"][1]


def _light(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    camera = state.get("camera") or {}
    exposure_ms, gain = camera.get("exposure_ms"), camera.get("gain")
    if exposure_ms is not None and exposure_ms >= LONG_EXPOSURE_MS:
        shown = f"1/{round(1000 / exposure_ms)} s" if exposure_ms <= 500 else f"{exposure_ms / 1000:.1f} s"
        yield f"exposure {shown}: motion blur", "more light, or set `exposure_ms` under [camera] to 10"
    if gain is not None and gain >= HIGH_GAIN:
        yield f"gain {gain:.0f}: noise", "more light, or a lens that lets more in"


def _model(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    frames, passed = state.get("frames") or 0, state.get("not_restored") or 0
    if frames >= _FRAMES and passed > frames * BAD_SHARE:
        yield f"the model failed on {passed} frames, which are shown as they came", "the log says why; try another runtime"
    stages, deadline = state.get("stages_ms") or {}, state.get("deadline")
    interval = (stages.get("capture") or {}).get("p50")
    restoring = sum((stages.get(name) or {}).get("p50") or 0.0 for name in ("to_tensor", "infer", "to_pixels"))
    smaller = "a smaller bundle (nano), a smaller size of the camera's picture, or a part of it (roi)"
    if deadline is None:
        if interval and frames >= _FRAMES and restoring > _SLOWER * interval:
            left_out = 100 * (1 - interval / restoring)
            text = f"a frame comes each {interval:.0f} ms and takes {restoring:.0f} ms: {left_out:.0f} % of them are left out"
            yield text, f"{smaller}; or let it choose, with `fps`"
        return
    if deadline["level"] < deadline["levels"] - 1 or frames < _FRAMES:
        return
    age, now_fps = (state.get("frame_age_ms") or {}).get("p95"), state.get("fps_now") or 0.0
    if deadline["max_age_ms"] and age is not None and age > deadline["max_age_ms"]:
        yield f"frames are {age:.0f} ms old, {deadline['max_age_ms']:.0f} ms were asked for", smaller
    if deadline["fps"] and now_fps * deadline["every"] < 0.9 * deadline["fps"]:
        yield f"{now_fps * deadline['every']:.0f} frames a second, {deadline['fps']:.0f} were asked for", smaller


def _choice(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    choice = state.get("choice") or {}
    if choice.get("kind") == "stale":
        text, _, mend = str(choice["reason"]).rpartition("; ")
        yield text, mend


def _recorder(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    error = (state.get("recording") or {}).get("error")
    if error:
        yield f"nothing is recorded: {error}", "it is tried again by itself; look at the disk"
