"""Minutes of full load: the burst rate and the steady rate."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks import combinations, sustained, workload
from benchmarks.records import LoadSample
from device.bundle.open import open_bundle


def curve(*fps: float, throttled: tuple[str, ...] | None = None, at: int = -1) -> list[LoadSample]:
    """A sample every five seconds; at index `at` the board reports throttling."""
    return [LoadSample(5.0 * (i + 1), f, 1000 / f, 1500.0, 60.0 + i, throttled if i == at else ()) for i, f in enumerate(fps)]


def test_burst_and_steady_rates_are_distinguished() -> None:
    found = sustained.summarise("small", curve(*[30.0] * 8, *[20.0] * 16))
    assert found.burst_fps == 30
    assert found.steady_fps == 20
    assert found.kept == pytest.approx(2 / 3)
    assert found.throttled_at_s == 45.0
    assert found.seconds == 120


def test_a_constant_rate_was_never_throttled() -> None:
    found = sustained.summarise("small", curve(*[30.0] * 12, 27.0, *[30.2] * 12))
    assert found.throttled_at_s is None  # one slow stretch that is over is no throttling
    assert found.kept == pytest.approx(1.0, abs=0.01)


def test_throttling_reported_by_the_firmware_counts_before_the_rate_falls() -> None:
    found = sustained.summarise("small", curve(*[30.0] * 10, *[25.0] * 10, throttled=("soft temperature limit",), at=6))
    assert found.throttled_at_s == 35.0


def test_one_sample_is_enough() -> None:
    found = sustained.summarise("small", curve(12.0))
    assert (found.burst_fps, found.steady_fps, found.kept) == (12.0, 12.0, 1.0)


def test_a_real_run_gives_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workload.write_frame(tmp_path, (64, 48))
    folder = str(open_bundle("nano").folder)
    began = time.monotonic()
    found = sustained.run(folder, "nano_int8.tflite", "litert", 1, "nano", 6.0, tmp_path)
    assert time.monotonic() - began > 5
    assert len(found.curve) == 2
    assert all(second.fps > 1 and second.p95_ms > 0 for second in found.curve)


def test_the_preferred_file_of_the_bundle_is_put_under_load() -> None:
    plans = combinations.plan([open_bundle("small")], ["litert"], [combinations.interpreter(sys.executable)], (2,), full=False)
    assert "small_int8.tflite" in [p.row.file for p in plans]
