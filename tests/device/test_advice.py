"""Advice that a person can act on."""

from dataclasses import replace
from typing import Any

import pytest
from state_parts import CAMERA, state

from device.advice import advise
from device.state import Advice, CameraState, DecisionState, RateControlState, RecordingState
from device.system import hardware
from device.telemetry import Percentiles

STAGES = {
    "capture": Percentiles(33.3, 34.0),
    "infer": Percentiles(20.0, 22.0),
    "to_tensor": Percentiles(None, None),
}
WELL = {
    "frames": 3000,
    "fps_now": 30.0,
    "stages_ms": STAGES,
    "frame_age_ms": Percentiles(40.0, 60.0),
    "temperature_c": 55.0,
    "camera": replace(CAMERA, exposure_ms=10.0, gain=2.0, in_focus=True),
    "throttled": {"now": [], "ever": []},
}


def texts(**changes: Any) -> list[str]:
    """Texts of the advice for a run in which all is well, with these changes."""
    given = advise(state(**{**WELL, **changes}))
    assert all(advice.text and advice.mend for advice in given)
    return [advice.text for advice in given]


def camera(**changes: Any) -> CameraState:
    return replace(WELL["camera"], **changes)


def test_there_is_no_advice_if_all_is_well_or_the_board_reports_nothing() -> None:
    assert texts() == []
    assert advise(state()) == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"camera": camera(exposure_ms=66.7)}, "exposure 1/15 s: motion blur"),
        ({"camera": camera(exposure_ms=1500)}, "exposure 1.5 s: motion blur"),
        ({"camera": camera(gain=12.2)}, "gain 12: noise"),
        ({"camera": camera(in_focus=False)}, "out of focus"),
        ({"camera": camera(bad_frames=300)}, "9 % of the camera's frames arrive damaged"),
        ({"temperature_c": 78.4}, "78 °C: the board slows down from 80 °C on"),
        ({"throttled": {"now": ["throttled"], "ever": ["throttled"]}}, "the board is throttled: it computes more slowly"),
        ({"recording": RecordingState(on=True, files=1, bytes=1, error="disk full")}, "nothing is recorded: disk full"),
        ({"not_restored": 40}, "the model failed on 40 frames, which are shown unrestored"),
    ],
)
def test_each_problem_has_its_advice(changes: dict[str, Any], text: str) -> None:
    assert texts(**changes) == [text]


def test_the_reason_of_a_camera_is_split_into_the_problem_and_the_fix() -> None:
    reason = "picture frozen: the same again and again; unplug it and plug it in again"
    advice = advise(state(camera=camera(ok=False, reason=reason)))
    assert advice == (Advice("picture frozen: the same again and again", "unplug it and plug it in again"),)


def test_every_word_of_the_firmware_has_its_advice_and_a_weak_supply_is_reported_once() -> None:
    everything = hardware.flags(0xF000F)
    assert len(texts(throttled=everything)) == 4
    assert texts(throttled=hardware.flags(0x10000)) == ["the power supply was too weak at least once since the board started"]


def test_a_model_slower_than_the_camera_is_reported_with_the_share_of_dropped_frames() -> None:
    slow = {**STAGES, "infer": Percentiles(111.0, 120.0)}
    assert texts(stages_ms=slow) == ["a frame arrives every 33 ms and takes 111 ms: 70 % of frames are dropped"]
    assert texts(stages_ms=slow, frames=10) == []


def test_a_missed_target_is_reported_only_at_the_last_level_of_rate_control() -> None:
    control = RateControlState(fps=30.0, max_age_ms=100.0, every=2, bundle="nano", level=3, levels=4, changes=3)
    assert texts(deadline=control, fps_now=15.0) == []
    late = Percentiles(150.0, 200.0)
    assert texts(deadline=control, fps_now=8.0, frame_age_ms=late) == [
        "frames are 200 ms old; the target is 100 ms",
        "16 frames a second; the target is 30",
    ]
    assert texts(deadline=replace(control, level=1), fps_now=8.0, frame_age_ms=late) == []


def test_a_stale_measurement_is_split_into_the_reason_and_the_fix_and_no_other_decision_gives_advice() -> None:
    reason = "the measurement of this board is stale (x: y; z), so the default model is used; run `deblurkit bench --pick`"
    (advice,) = advise(state(choice=DecisionState("stale", reason)))
    assert advice.text == "the measurement of this board is stale (x: y; z), so the default model is used"
    assert advice.mend == "run `deblurkit bench --pick`"
    assert not any(advise(state(choice=DecisionState(kind, reason))) for kind in ("given", "measured", "none"))
