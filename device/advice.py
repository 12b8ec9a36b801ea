"""Advice for a better picture: what is not right in the state of a run, and how to fix it.

Each threshold stands beside its reason. Nothing is remembered: the same state gives the same advice.
"""

from collections.abc import Iterator

from device.state import Advice, State

# A person who walks past 2 m away crosses 280 pixels of a picture 640 pixels wide in a second (60° lens): 7 pixels in 1/40 s.
LONG_EXPOSURE_MS = 25.0
HIGH_GAIN = 8.0  # eight times its base sensitivity: from here on the restored picture takes sensor noise for texture
HOT_C = 75.0  # Raspberry Pis slow down from 80 °C on, and stop at 85 (their documentation, "Frequency management")
BAD_SHARE = 0.01  # of frames: a sound cable loses fewer than one in a million
_FRAMES = 300  # fewer frames than this say nothing about a share
_SLOWER = 1.5  # times the interval between frames; below that, at least every second frame is restored

_THROTTLED = {
    "under-voltage": ("the power supply is too weak at this moment", "use the board's own supply and a short cable"),
    "frequency capped": ("the processor's clock is limited", "use the board's own supply, and cool the processor"),
    "throttled": ("the board is throttled: it computes more slowly", "cool the processor, and use the board's own supply"),
    "soft temperature limit": (
        "the board is hot: its clock is lowered",
        "add a heat sink or a fan, and leave air around the case",
    ),
}
Finding = tuple[str, str]  # what is not right, and how to fix it


def advise(state: State) -> tuple[Advice, ...]:
    """Everything that deserves a person's attention, the most important first. A value of None leads to no advice."""
    checks = (_camera, _power, _light, _blur, _model, _decision, _recorder)
    return tuple(Advice(text, fix) for check in checks for text, fix in check(state))


def _camera(state: State) -> Iterator[Finding]:
    camera = state.camera
    if camera.reason:
        text, _, fix = camera.reason.partition("; ")
        yield text, fix or "check its cable; it is opened again automatically"
    frames, bad = state.frames, camera.bad_frames
    if bad > _FRAMES * BAD_SHARE and bad > (frames + bad) * BAD_SHARE:
        yield (
            f"{100 * bad / (frames + bad):.0f} % of the camera's frames arrive damaged",
            "try another cable or USB port, without a hub; or ask for a smaller size or rate",
        )
    if camera.in_focus is False:
        yield "out of focus", "turn the lens, or move farther away; with autofocus, set `focus` under [camera] to a distance"


def _power(state: State) -> Iterator[Finding]:
    throttled = state.throttled or {"now": [], "ever": []}
    for word in throttled["now"]:
        yield _THROTTLED[word]
    if "under-voltage" in throttled["ever"] and "under-voltage" not in throttled["now"]:
        yield "the power supply was too weak at least once since the board started", _THROTTLED["under-voltage"][1]
    degrees = state.temperature_c
    if degrees is not None and degrees >= HOT_C:
        yield f"{degrees:.0f} °C: the board slows down from 80 °C on", _THROTTLED["soft temperature limit"][1]


def _light(state: State) -> Iterator[Finding]:
    exposure_ms, gain = state.camera.exposure_ms, state.camera.gain
    if exposure_ms is not None and exposure_ms >= LONG_EXPOSURE_MS:
        shown = f"1/{round(1000 / exposure_ms)} s" if exposure_ms <= 500 else f"{exposure_ms / 1000:.1f} s"
        yield f"exposure {shown}: motion blur", "add light, or set `exposure_ms` under [camera] to 10"
    if gain is not None and gain >= HIGH_GAIN:
        yield f"gain {gain:.0f}: noise", "add light, or use a lens with a wider aperture"


def _blur(state: State) -> Iterator[Finding]:
    if state.blur.fits is False:
        yield "the picture is sharper than the blur that is set", "set the blur to auto, or measure it again with these settings"


def _model(state: State) -> Iterator[Finding]:
    frames, failed = state.frames, state.not_restored
    if frames >= _FRAMES and failed > frames * BAD_SHARE:
        yield (
            f"the model failed on {failed} frames, which are shown unrestored",
            "read the log for the reason; try another runtime",
        )
    stages, target = state.stages_ms, state.deadline
    interval = stages["capture"].p50 if "capture" in stages else None
    restoring = sum(stages[name].p50 or 0.0 for name in ("to_tensor", "infer", "to_pixels") if name in stages)
    smaller = "use a smaller bundle (nano), a smaller picture from the camera, or restore a part of it (roi)"
    if target is None:
        if interval and frames >= _FRAMES and restoring > _SLOWER * interval:
            dropped = 100 * (1 - interval / restoring)
            yield (
                f"a frame arrives every {interval:.0f} ms and takes {restoring:.0f} ms: {dropped:.0f} % of frames are dropped",
                f"{smaller}; or let rate control choose: set `fps`",
            )
        return
    if target.level < target.levels - 1 or frames < _FRAMES:
        return
    age, fps = state.frame_age_ms.p95, state.fps_now * target.every
    if target.max_age_ms and age is not None and age > target.max_age_ms:
        yield f"frames are {age:.0f} ms old; the target is {target.max_age_ms:.0f} ms", smaller
    if target.fps and fps < 0.9 * target.fps:
        yield f"{fps:.0f} frames a second; the target is {target.fps:.0f}", smaller


def _decision(state: State) -> Iterator[Finding]:
    if state.choice.kind == "stale":
        text, _, fix = state.choice.reason.rpartition("; ")
        yield text, fix


def _recorder(state: State) -> Iterator[Finding]:
    if state.recording is not None and state.recording.error:
        yield f"nothing is recorded: {state.recording.error}", "check the disk; recording is tried again automatically"
