"""deblurkit doctor: what this machine has and lacks, with a fix for each problem.

`machine.py` checks the board, `cameras.py` cameras and permissions, `software.py` packages, models and commands.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from device.doctor.cameras import camera, permissions, picamera2
from device.doctor.diagnosis import Diagnosis
from device.doctor.machine import clock, disk, memory, port, power, system
from device.doctor.software import bundles, commands, measurement, packages, runtimes
from device.errors import OK
from device.system.console import new_parser, print_json, start_logging

EXAMPLE = "deblurkit doctor --json"
CHECKS: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
    system,
    power,
    memory,
    disk,
    clock,
    packages,
    picamera2,
    runtimes,
    bundles,
    measurement,
    permissions,
    camera,
    port,
    commands,
)


def main(argv: list[str]) -> int:
    """Run all checks and print what they find; returns 1 if deblurkit cannot run on this machine."""
    options = new_parser("doctor", "Check this machine, and show a fix for each problem.", EXAMPLE).parse_args(argv)
    start_logging(options.quiet)
    diagnoses = [diagnosis for check in CHECKS for diagnosis in check()]
    bad = any(d.state == "bad" for d in diagnoses)
    if options.json:
        print_json({"ok": not bad, "findings": [asdict(d) for d in diagnoses]})
    else:
        for d in diagnoses:
            if not (options.quiet and d.state == "ok"):
                print(f"{d.state:8}{d.what:22}{d.found}" + (f"\n{'':30}fix: {d.mend}" if d.mend else ""))
    return 1 if bad else OK
