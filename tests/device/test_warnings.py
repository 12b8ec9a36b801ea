"""Warnings that a person can act on."""

from typing import Any

import pytest

from device import warnings
from device.system import hardware

WELL: dict[str, Any] = {
    "frames": 3000,
    "not_restored": 0,
    "fps_now": 30.0,
    "stages_ms": {"capture": {"p50": 33.3, "p95": 34.0}, "infer": {"p50": 20.0, "p95": 22.0}, "to_tensor": {"p50": None}},
    "frame_age_ms": {"p50": 40.0, "p95": 60.0},
    "temperature_c": 55.0,
    "camera": {"ok": True, "reason": "", "bad_frames": 0, "exposure_ms": 10.0, "gain": 2.0, "in_focus": True},
    "deadline": None,
    "recording": None,
    "throttled": {"now": [], "ever": []},
}


def with_(**changes: Any) -> list[str]:
    """Texts of the warnings for the well state with these changes; keys of the camera begin with `camera_`."""
    camera = {key.removeprefix("camera_"): value for key, value in changes.items() if key.startswith("camera_")}
    others = {key: value for key, value in changes.items() if not key.startswith("camera_")}
    found = warnings.warnings({**WELL, "camera": {**WELL["camera"], **camera}, **others})
    assert all(w["text"] and w["mend"] for w in found)
    return [w["text"] for w in found]


def test_a_picture_that_is_well_and_a_board_that_tells_nothing_warn_of_nothing() -> None:
    assert with_() == []
    assert warnings.warnings({}) == []
    untold = dict.fromkeys(WELL["camera"])
    assert warnings.warnings({**dict.fromkeys(WELL), "camera": untold}) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"camera_exposure_ms": 66.7}, "exposure 1/15 s: motion blur"),
        ({"camera_exposure_ms": 1500}, "exposure 1.5 s: motion blur"),
        ({"camera_gain": 12.2}, "gain 12: noise"),
        ({"camera_in_focus": False}, "out of focus"),
        ({"camera_bad_frames": 300}, "9 % of the camera's frames arrive damaged"),
        ({"temperature_c": 78.4}, "78 °C: the board slows down from 80 °C on"),
        ({"throttled": {"now": ["throttled"], "ever": ["throttled"]}}, "the board is throttled: it computes more slowly"),
        ({"recording": {"on": True, "error": "disk full"}}, "nothing is recorded: disk full"),
        ({"not_restored": 40}, "the model failed on 40 frames, which are shown as they came"),
    ],
)
def test_each_trouble_has_its_words(changes: dict[str, Any], text: str) -> None:
    assert with_(**changes) == [text]


def test_a_camera_s_reason_is_parted_into_what_is_seen_and_what_mends_it() -> None:
    found = warnings.warnings(
        {"camera": {"reason": "picture frozen: the same again and again; plug it out and in, or restart it"}}
    )
    assert found == [{"text": "picture frozen: the same again and again", "mend": "plug it out and in, or restart it"}]


def test_every_word_of_the_firmware_has_its_advice_and_a_weak_supply_is_told_once() -> None:
    everything = hardware.flags(0xF000F)
    assert len(with_(throttled=everything)) == 4
    assert with_(throttled=hardware.flags(0x10000)) == ["the power supply was too weak at least once since the board was started"]


def test_a_model_that_is_slower_than_the_camera_is_told_with_its_share() -> None:
    slow = {**WELL["stages_ms"], "infer": {"p50": 111.0, "p95": 120.0}}
    assert with_(stages_ms=slow) == ["a frame comes each 33 ms and takes 111 ms: 70 % of them are left out"]
    assert with_(stages_ms=slow, frames=10) == []


def test_a_deadline_is_warned_of_only_where_nothing_is_left_to_reduce() -> None:
    deadline = {"fps": 30.0, "max_age_ms": 100.0, "every": 2, "level": 3, "levels": 4, "changes": 3}
    assert with_(deadline=deadline, fps_now=15.0) == []
    late = {"p50": 150.0, "p95": 200.0}
    assert with_(deadline=deadline, fps_now=8.0, frame_age_ms=late) == [
        "frames are 200 ms old, 100 ms were asked for",
        "16 frames a second, 30 were asked for",
    ]
    assert with_(deadline={**deadline, "level": 1}, fps_now=8.0, frame_age_ms=late) == []


def test_a_stale_measurement_is_parted_into_why_and_what_mends_it_and_no_other_choice_warns() -> None:
    reason = "the measurement of this board is stale (x: y; z): usual choice; deblurkit bench --pick measures again"
    (warning,) = warnings.warnings({"choice": {"kind": "stale", "reason": reason}})
    assert warning["text"] == "the measurement of this board is stale (x: y; z): usual choice"
    assert warning["mend"] == "deblurkit bench --pick measures again"
    assert not any(warnings.warnings({"choice": {"kind": kind, "reason": reason}}) for kind in ("given", "measured", "none"))
