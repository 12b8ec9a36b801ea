"""Parts of a loop for its tests: a source, a sink and models that fail, hang or wait as the test says."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from device.bundle.open import Bundle
from device.errors import CameraLost, RunError
from device.images.frame import NOT_RESTORED, Frame, Restored
from device.loop.pipeline import run_pipeline
from device.loop.sink_worker import SinkWorker
from device.restore.restorer import Restorer
from device.sinks.sink import Sink
from device.sources.source import Source, SourceStatus
from device.telemetry import Telemetry

FOREVER_S = 30.0


class FakeSource:
    """A source of small frames, as fast as they are read; frame i is grey. May fail at frame `fails_at` or hang at `hangs_at`."""

    description, fps, origin, status = "counter", 0.0, None, SourceStatus()

    def __init__(self, total: int, live: bool, fails_at: int = -1, hangs_at: int = -1, pause_s: float = 0.0) -> None:
        self.total, self.live, self.reads, self._pause_s = total, live, 0, pause_s
        self._fails_at, self._hangs_at = fails_at, hangs_at
        self.ended, self.hanging, self.released = threading.Event(), threading.Event(), threading.Event()

    def read(self) -> Frame | None:
        index = self.reads
        if index == self._hangs_at:
            self.hanging.set()
            self.released.wait(FOREVER_S)
        if index == self._fails_at:
            raise CameraLost(f"unplugged at {index}")
        if index == self.total:
            self.ended.set()
            return None
        self.reads += 1
        time.sleep(self._pause_s)
        return Frame(index, time.monotonic(), np.full((16, 24, 3), index % 256, np.uint8))

    def close(self) -> None:
        self.released.set()


class MemorySink:
    """Remembers what it is given; from frame `holds_at` on it waits for `go`. May fail at its write number `fails_at`."""

    description = "kept"

    def __init__(self, holds_at: int = 10**9, fails_at: int = -1, pause_s: float = 0.0) -> None:
        self.indices: list[int] = []
        self.marks: list[tuple[int, str]] = []
        self._holds_at, self._fails_at, self._pause_s = holds_at, fails_at, pause_s
        self.holding, self.go = threading.Event(), threading.Event()

    def write(self, restored: Restored) -> None:
        if restored.frame.index >= self._holds_at:
            self.holding.set()
            self.go.wait(FOREVER_S)
        if len(self.indices) == self._fails_at:  # counts writes: a live source may have dropped the frame with that index
            raise RunError(f"disk full at {self._fails_at}")
        time.sleep(self._pause_s)
        self.indices.append(restored.frame.index)
        self.marks.append((restored.frame.index, restored.mark))

    def close(self) -> None:
        self.go.set()


class SlowModels:
    """The shipped model, made slow: `restore` waits for an event, fails, or hangs at the frames of `hangs_at`."""

    def __init__(self, models: Restorer) -> None:
        self._restorer = models
        self.until: threading.Event | None = None
        self.error: Exception | None = None
        self.hangs_at: set[int] = set()
        self.released = threading.Event()
        self.failures: list[str] = []
        self.most_failures = 10**9
        self.recovered = 0
        self.asked: list[tuple[int, int]] = []

    @property
    def last_progress_s(self) -> float:
        return self._restorer.last_progress_s

    def restore(self, frame: Frame, model: int = 0) -> Restored:
        self.asked.append((frame.index, model))
        if frame.index in self.hangs_at:
            self.released.wait(FOREVER_S)
        if self.until is not None:
            self.until.wait(FOREVER_S)
        if self.error is not None:
            raise self.error
        return Restored(frame, self._restorer.restore(frame.image))

    def recover(self, frame: Frame, why: str) -> Restored:
        self.failures.append(why)
        if len(self.failures) >= self.most_failures:
            raise RunError(why)
        self.recovered += 1
        return Restored(frame, frame.image, NOT_RESTORED)


@pytest.fixture
def models(small: Bundle) -> Iterator[SlowModels]:
    with Restorer(small, threads=1) as opened:
        held = SlowModels(opened)
        yield held
        held.released.set()  # a test that failed leaves no thread behind for the next one


def loop_threads() -> list[str]:
    """Names of the loop's living threads."""
    return [t.name for t in threading.enumerate() if t.name in ("capture", "restore", "output")]


def sink_workers(
    source: Source, sinks: list[Sink], telemetry: Telemetry, stop: threading.Event, **options: Any
) -> list[SinkWorker]:
    """The sink workers of a run, as a session creates them; none reopens its sink."""
    return [SinkWorker(sink, telemetry, stop, live=source.live, first=i == 0, **options) for i, sink in enumerate(sinks)]


def run(
    source: Source,
    models: SlowModels,
    sinks: list[Sink],
    telemetry: Telemetry,
    stop: threading.Event,
    most_frames: int = 0,
    play_fps: float = 0.0,
    progress: Callable[[int], None] = lambda frames: None,
    **options: Any,
) -> None:
    workers = sink_workers(source, sinks, telemetry, stop, most_frames=most_frames if source.live else 0, progress=progress)
    run_pipeline(source, models, workers, telemetry, stop, most_frames=most_frames, play_fps=play_fps, **options)


def start(*arguments: Any, **options: Any) -> tuple[threading.Thread, list[BaseException]]:
    """Run the pipeline in a thread, so that the test can act while it runs."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            run(*arguments, **options)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body, name="pipeline", daemon=True)
    thread.start()
    return thread, raised


def until(done: Callable[[], object]) -> None:
    """Wait for an event that must happen; half a minute at most."""
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    assert done()


def until_no_thread() -> None:
    """Wait until the threads that a test has released have ended."""
    end = time.monotonic() + 10
    while loop_threads() and time.monotonic() < end:
        time.sleep(0.02)
    assert not loop_threads()
