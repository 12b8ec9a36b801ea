"""Unplug and reconnect a fake camera many times in a process without other work, and print its resources.

python unplug_cycles.py PLUG WARM_UP CYCLES -> one JSON object: `before`, `early` (after the warm-up), `late`, `after`, `reopened`
"""

import json
import os
import sys
import threading
from pathlib import Path

from device.settings import CameraSettings
from device.sources import supervised_camera
from device.sources.supervised_camera import SupervisedCamera

CRASH_EACH = 5


def measured() -> dict[str, int]:
    """Resources of this process: descriptors, threads, children, resident memory in KiB."""
    status = Path("/proc/self/status").read_text()
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": sum(_parent_of(path) == os.getpid() for path in Path("/proc").glob("[0-9]*")),
        "rss_kib": int(status.split("VmRSS:")[1].split()[0]),
    }


def _parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def main(plug: Path, warm_up: int, cycles: int) -> dict[str, object]:
    """Every fifth time the camera process crashes instead."""
    supervised_camera.FIRST_RETRY_S = supervised_camera.LONGEST_RETRY_S = 0.1
    before = measured()
    plug.touch()
    source = SupervisedCamera(f"fake:{plug}", CameraSettings(size="640x480"), opener="fake_cameras:Faulty")
    early: dict[str, int] = {}
    for number in range(cycles):
        if number % CRASH_EACH == CRASH_EACH - 1:
            plug.write_text("crash")
        else:
            plug.unlink()
        while (frame := source.read()) is not None and not frame.mark:
            pass
        plug.write_text("")
        while (frame := source.read()) is not None and frame.mark:
            pass
        if number == warm_up - 1:
            early = measured()
    late, reopened = measured(), source.status.reopened
    source.close()
    return {"before": before, "early": early, "late": late, "after": measured(), "reopened": reopened}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
