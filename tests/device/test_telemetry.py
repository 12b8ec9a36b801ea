"""Telemetry of the loop, with a clock that the test sets where numbers matter."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from device.images.frame import Frame
from device.telemetry import Percentiles, Telemetry, percentiles_ms

ROOT = Path(__file__).parents[2]


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("device.telemetry.time", SimpleNamespace(monotonic=clock, perf_counter=clock))
    return clock


def show(telemetry: Telemetry, clock: Clock, count: int, every_s: float, age_s: float = 0.0) -> None:
    for _ in range(count):
        clock.now_s += every_s
        telemetry.shown(Frame(0, clock.now_s - age_s, np.zeros((2, 2, 3), np.uint8)))


def test_frames_per_second_is_counted_from_the_first_frame_not_from_loading_the_model(clock: Clock) -> None:
    telemetry = Telemetry()
    clock.now_s += 60
    show(telemetry, clock, 101, 0.1)
    snapshot = telemetry.snapshot()
    assert snapshot.frames == 101
    assert snapshot.fps == snapshot.fps_now == 10.0
    assert snapshot.seconds == pytest.approx(70.1)


def test_the_present_rate_follows_a_change_that_the_whole_runs_rate_hides(clock: Clock) -> None:
    telemetry = Telemetry()
    show(telemetry, clock, 100, 0.1)
    show(telemetry, clock, 100, 0.05)
    snapshot = telemetry.snapshot()
    assert snapshot.fps_now == 20.0
    assert 10 < snapshot.fps < 20


def test_a_rate_below_one_frame_a_second_is_not_shown_as_zero(clock: Clock) -> None:
    telemetry = Telemetry()
    show(telemetry, clock, 3, 4.0)
    assert telemetry.snapshot().fps_now == 0.25
    clock.now_s += 3
    assert telemetry.snapshot().fps_now == 0.25


def test_the_present_rate_falls_while_no_frame_arrives(clock: Clock) -> None:
    telemetry = Telemetry()
    show(telemetry, clock, 50, 0.05)
    clock.now_s += 10
    assert telemetry.snapshot().fps_now == 0.1
    clock.now_s += 990
    assert telemetry.snapshot().fps_now == 0.0


@pytest.mark.parametrize("frames", [0, 1])
def test_with_fewer_than_two_frames_there_is_no_rate(clock: Clock, frames: int) -> None:
    telemetry = Telemetry()
    show(telemetry, clock, frames, 0.1)
    snapshot = telemetry.snapshot()
    assert (snapshot.frames, snapshot.fps, snapshot.fps_now) == (frames, 0.0, 0.0)


def test_frame_age_is_from_capture_to_shown_in_milliseconds(clock: Clock) -> None:
    telemetry = Telemetry()
    show(telemetry, clock, 90, 0.1, age_s=0.040)
    show(telemetry, clock, 10, 0.1, age_s=0.400)
    assert telemetry.snapshot().frame_age_ms == Percentiles(40.0, 400.0)


def test_a_stage_measures_the_time_of_its_body(clock: Clock) -> None:
    telemetry = Telemetry()
    for seconds in (0.010, 0.020, 0.030):
        with telemetry.stage("infer"):
            clock.now_s += seconds
    telemetry.add("output", 0.5)
    stages = telemetry.snapshot().stages_ms
    assert stages["infer"] == Percentiles(20.0, 29.0)
    assert stages["output"] == Percentiles(500.0, 500.0)


def test_without_samples_the_percentiles_are_null() -> None:
    assert percentiles_ms([]) == Percentiles(None, None)
    snapshot = Telemetry().snapshot()
    assert snapshot.stages_ms == {}
    assert snapshot.frame_age_ms == Percentiles(None, None)


def test_the_number_of_samples_is_bounded_and_the_latest_are_used() -> None:
    telemetry = Telemetry()
    for _ in range(3000):
        telemetry.add("infer", 9.0)
    for _ in range(2000):
        telemetry.add("infer", 1.0)
    assert telemetry.snapshot().stages_ms["infer"] == Percentiles(1000.0, 1000.0)


def test_counts_are_correct_when_several_threads_count_while_others_read() -> None:
    telemetry, over = Telemetry(), threading.Event()

    def count() -> None:
        for _ in range(2000):
            telemetry.count("dropped")
            telemetry.shown(Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8)))
            telemetry.add(f"stage of {threading.get_ident()}", 0.001)

    def look() -> None:
        while not over.is_set():
            telemetry.snapshot()

    looking = threading.Thread(target=look, daemon=True)
    counting = [threading.Thread(target=count, daemon=True) for _ in range(4)]
    for thread in (looking, *counting):
        thread.start()
    for thread in counting:
        thread.join()
    over.set()
    looking.join()
    assert (telemetry.frames, telemetry.dropped) == (8000, 8000)


def test_a_snapshot_can_be_written_as_json() -> None:
    telemetry = Telemetry()
    telemetry.add("infer", float(np.float64(0.01)))
    telemetry.shown(Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8)))
    snapshot = telemetry.snapshot()
    assert json.loads(json.dumps(asdict(snapshot))) == asdict(snapshot)


def test_peak_memory_grows_with_this_process_and_does_not_start_at_its_parents() -> None:
    code = (
        "import numpy as np; from device.telemetry import peak_rss_mib as peak; before = peak(); "
        "block = np.ones(200 << 20, np.uint8); full = peak(); del block; print(before, full, peak())"
    )
    taken = np.ones(400 << 20, np.uint8)  # the parent is larger than the child will be
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    del taken
    before, full, after = (float(mib) for mib in child.stdout.split())
    assert before < 300
    assert full > before + 100
    assert after > full - 1  # the kernel counts in batches of pages
