"""Rate control while the processor gets slower: other work on its core stands for heat. Run by `make soak`; takes a minute."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from free_port import free_port

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60


@pytest.fixture
def core() -> int:
    return min(os.sched_getaffinity(0))


@pytest.fixture
def state(core: int) -> Iterator[Callable[[], dict[str, Any]]]:
    """`deblurkit run --fps 25` on one core, with a camera of 25 frames a second; `state()` is its /state."""
    port = free_port()
    line = ["run", "--quiet", "--source=demo", "--size=320x240", "--fps=25", "--threads=1", "--sink=web", f"--port={port}"]
    process = subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-m", "deblurkit", *line], cwd=ROOT)

    def look() -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=10) as reply:
                    return json.load(reply)  # type: ignore[no-any-return]
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.2)

    try:
        yield look
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def until(done: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.mark.soak
def test_a_slower_processor_lowers_the_level_of_rate_control_and_it_recovers(
    state: Callable[[], dict[str, Any]], core: int
) -> None:
    until(lambda: state()["frames"] > 50)
    assert state()["deadline"]["level"] == 0
    burners = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        down_s = until(lambda: state()["deadline"]["level"] > 0)
        time.sleep(8)
        before, at = state(), time.monotonic()
        time.sleep(4)
        after, seconds = state(), time.monotonic() - at
        shown = (after["frames"] + after["repeated"] - before["frames"] - before["repeated"]) / seconds
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    up_s = until(lambda: state()["deadline"]["level"] == 0)
    control = state()["deadline"]
    print(f"\na step down after {down_s:.1f} s, {shown:.1f} of 25 frames a second shown, back after {up_s:.1f} s, {control}")
    assert after["repeated"] > before["repeated"]
    assert state()["not_restored"] == 0
