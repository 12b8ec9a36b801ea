"""deblurkit doctor: what this machine has and lacks, with the line that fixes each.

`machine.py` looks at the board, `cameras.py` at cameras and who may use them, `software.py` at packages, models and commands.
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
    """Print findings; ends with 1 when the kit cannot run here."""
    options = new_parser("doctor", "Say what this machine has and lacks, with the line that fixes each.", EXAMPLE).parse_args(
        argv
    )
    start_logging(options.quiet)
    findings = [finding for check in CHECKS for finding in check()]
    bad = any(f.state == "bad" for f in findings)
    if options.json:
        print_json({"ok": not bad, "findings": [asdict(f) for f in findings]})
    else:
        for f in findings:
            if not (options.quiet and f.state == "ok"):
                print(f"{f.state:8}{f.what:22}{f.found}" + (f"\n{'':30}mend: {f.mend}" if f.mend else ""))
    return 1 if bad else OK
