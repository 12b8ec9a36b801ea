"""Measure the cost of recording: the rate of the loop with the recorder divided by its rate without it, in one run.

    .venv/bin/python scripts/record_cost.py --folder recordings

Rounds of both alternate, so that a drift of the machine affects both alike. The frames are drawn beforehand and come faster than
they are restored, so neither drawing nor the camera's rate is measured. `encode, write` is the processor time per frame of the
recorder's own thread.
"""

import argparse
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from device.images.frame import Frame, Restored
from device.loop.models import Models, ModelSpec
from device.loop.pipeline import run_pipeline
from device.loop.sink_worker import SinkWorker
from device.settings import RecordSettings, parse_size
from device.sinks.null import Null
from device.sinks.record import Recorder
from device.sources.demo import Demo
from device.sources.source import SourceStatus
from device.system.console import print_json, table
from device.telemetry import Telemetry

_SETTINGS = RecordSettings(max_gib=0.5, min_free_gib=0.0)


class ReadyFrames:
    """A live source of frames that were drawn beforehand."""

    live, total, origin, status = True, 0, None, SourceStatus()

    def __init__(self, frames: list[Frame], fps: float) -> None:
        self.description, self.fps = f"{len(frames)} frames at {fps:.4g} fps", fps
        self._frames, self._index, self._due = frames, -1, time.monotonic()

    def read(self) -> Frame:
        """Wait for the next tick."""
        self._due = max(self._due + 1 / self.fps, time.monotonic() - 1)
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._index += 1
        return replace(self._frames[self._index % len(self._frames)], index=self._index, captured_s=time.monotonic())

    def close(self) -> None:
        """Nothing to free."""


class TimedRecorder(Recorder):
    """A recorder that measures the processor time of its frames."""

    frames, spent_s = 0, 0.0

    def write(self, restored: Restored) -> None:
        """Write as a recorder does."""
        began = time.thread_time()
        super().write(restored)
        self.spent_s += time.thread_time() - began
        self.frames += 1


def measure(frames: list[Frame], options: argparse.Namespace, fps: float, recorder: TimedRecorder | None) -> dict[str, float]:
    """Run once; return restored frames a second, and the number of recorded and lost frames."""
    telemetry, stop = Telemetry(), threading.Event()
    sink_workers = [SinkWorker(Null(), telemetry, stop, live=True, first=True)]
    if recorder is not None:
        sink_workers.append(SinkWorker(recorder, telemetry, stop, live=True, first=False))
    ending = threading.Timer(options.seconds, stop.set)
    with Models([ModelSpec(options.bundle)], options.threads, telemetry, recovers=True) as models:
        ending.start()
        run_pipeline(ReadyFrames(frames, fps), models, sink_workers, telemetry, stop)
    for worker in sink_workers:
        worker.close()
    measured = {"fps": telemetry.snapshot().fps}
    if recorder is not None:
        measured |= {
            "recorded": recorder.frames,
            "lost": sink_workers[1].dropped,
            "ms": 1000 * recorder.spent_s / max(1, recorder.frames),
        }
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", default="small")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mbit", type=float, default=4.0)
    parser.add_argument(
        "--folder", type=Path, help="where to record: a folder on the medium to measure (default: the temporary folder)"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width, height = parse_size(options.size)
    demo = Demo(width, height, 1000.0)
    frames = [demo.read() for _ in range(60)]
    fps = 1.5 * measure(frames, options, 1000.0, None)["fps"]  # also warms up; frames must come faster than this
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for _ in range(options.rounds):
            without = measure(frames, options, fps, None)
            recorder = TimedRecorder(Path(folder), replace(_SETTINGS, mbit=options.mbit), fps)
            rows.append({"without_fps": without["fps"], **measure(frames, options, fps, recorder)})
            rows[-1]["ratio"] = rows[-1]["fps"] / rows[-1]["without_fps"]
    ratio = statistics.median(row["ratio"] for row in rows)
    header = ["round", "null alone, fps", "with the recorder, fps", "ratio", "recorded", "lost", "encode, write ms"]
    cells = ["without_fps", "fps", "ratio", "recorded", "lost", "ms"]
    print(table(header, [[str(i + 1), *(f"{row[cell]:.4g}" for cell in cells)] for i, row in enumerate(rows)]))
    print(f"{options.bundle}, {options.size}, {options.threads} thread(s), {options.mbit:g} Mbit/s: median ratio {ratio:.3f}")
    if options.json:
        print_json({"bundle": options.bundle, "size": options.size, "threads": options.threads, "ratio": ratio, "rows": rows})


if __name__ == "__main__":
    main()
