"""What the figures depend on: board, processor, clocks, versions, and what else the machine is doing."""

import os
import platform
import re
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.records import Machine, Moment, Row
from device.system import hardware

BUSY_CORES = 0.15
"""If other programs keep more processors busy than this, the times are doubtful."""
_PACKAGES = ("deblurkit", "numpy", "opencv-python-headless", "opencv-python", "ai-edge-litert", "tflite-runtime", "onnxruntime",
             "openvino", "ncnn", "keras", "tensorflow", "tensorflow-cpu", "scikit-image")  # fmt: skip
_NOISY_SHARE = 0.1


def machine(root: Path = hardware.ROOT) -> Machine:
    """Describe the machine that this process runs on."""
    clock = hardware.clock_mhz(root)
    product = hardware.read(root / "sys/class/dmi/id/product_name")
    return Machine(
        board=hardware.model(root) or product,
        cpu=hardware.processor(root) or platform.machine(),
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        features=hardware.features(root),
        governor=hardware.governor(root),
        most_mhz=clock[1] if clock else None,
        memory_mib=hardware.memory_mib(root).get("MemTotal"),
        system=hardware.release(root) or platform.system(),
        kernel=platform.release(),
        kind=kind(root),
        hardware_hash=hardware.hardware_hash(root),
    )


def kind(root: Path = hardware.ROOT) -> str:
    """Return `real`, `virtual` or `emulated`.

    A program in QEMU's user mode sees the kernel of another architecture (/proc/sys/kernel/arch, Linux 6.1 and later). QEMU's
    `virt` board counts as emulated on Arm, where it is rarely anything else. x86 has a flag for hypervisors.
    """
    architecture = hardware.read(root / "proc/sys/kernel/arch")
    if (architecture or platform.machine()) != platform.machine() or hardware.model(root) == "linux,dummy-virt":
        return "emulated"
    flags = re.search(r"^flags\s*:(.*)$", hardware.read(root / "proc/cpuinfo") or "", re.MULTILINE)
    return "virtual" if flags and "hypervisor" in flags[1].split() else "real"


def moment(began_s: float, root: Path = hardware.ROOT) -> Moment:
    """Describe the state of the machine now; `began_s` is `time.monotonic()` at the start of the benchmark."""
    clock, throttled = hardware.clock_mhz(root), hardware.throttled(root)
    return Moment(
        at_s=round(time.monotonic() - began_s, 3),
        clock_mhz=clock[0] if clock else None,
        temperature_c=hardware.temperature_c(root),
        throttled=tuple(throttled["now"]) if throttled is not None else None,
        load_1min=os.getloadavg()[0],
        available_mib=hardware.memory_mib(root).get("MemAvailable"),
    )


def versions() -> dict[str, str]:
    """Versions of the packages that the figures depend on, in this interpreter."""
    return {package: found for package in _PACKAGES if (found := _version(package)) is not None}


def doubts_before(found: Machine, now: Moment, busy_cores: float | None) -> list[str]:
    """List reasons to distrust the measurements that are about to start."""
    reasons = []
    if busy_cores is not None and busy_cores > BUSY_CORES:
        reasons.append(f"other programs kept {busy_cores:.1f} processors busy before the run began: times may be too long")
    if found.governor == "powersave":
        reasons.append("the governor is powersave: the processor is slowed down (sudo cpupower frequency-set -g performance)")
    if now.throttled:
        reasons.append(f"the board was throttled before the run began: {', '.join(now.throttled)} (deblurkit doctor)")
    if found.kind == "emulated":
        reasons.append("this machine is emulated: its times say nothing about any board")
    return reasons


def doubts_after(rows: Sequence[Row], stolen_share: float | None, suspended_s: float) -> list[str]:
    """List reasons to distrust the measurements."""
    reasons = []
    timed = [row for row in rows if row.latency is not None]
    if noisy := unsteady_rows(rows):
        reasons.append(
            f"noisy: {noisy} of {len(timed)} rows were not steady (rounds more than 5 % apart, or a warm-up without end)"
            "; stop other programs and measure again"
        )
    if stolen_share is not None and stolen_share > 0.02:
        reasons.append(f"{stolen_share:.0%} of the processors' time went to other virtual machines on this host")
    throttled = sorted({word for row in timed if row.after and row.after.throttled for word in row.after.throttled})
    if throttled:
        reasons.append(f"the board was throttled during the measurement: {', '.join(throttled)}; later rates are lower")
    if suspended_s > 1:
        reasons.append(f"the machine was suspended for {suspended_s:.0f} s during the run")
    return reasons


def unsteady_rows(rows: Sequence[Row]) -> int:
    """Number of rows that were not steady, or 0 if they are at most a tenth: if they are more, the machine itself is noisy."""
    timed = [row.latency for row in rows if row.latency is not None]
    unsteady = sum(not latency.steady for latency in timed)
    return unsteady if unsteady > _NOISY_SHARE * len(timed) else 0


def busy_cores(seconds: float = 1.0) -> float | None:
    """Measure for `seconds` how many processors are busy. The load average would include programs that ended minutes ago."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or (total := sum(after) - sum(before)) <= 0:
        return None
    idle = after[3] + after[4] - before[3] - before[4]  # idle, and waiting for a disk
    return (os.cpu_count() or 1) * (1 - idle / total)


def stolen_ticks(root: Path = hardware.ROOT) -> tuple[int, int] | None:
    """(ticks given to other virtual machines, all ticks) since boot, over all processors; None if the kernel does not tell."""
    ticks = _ticks(root)
    return None if ticks is None else (ticks[7], sum(ticks))


def _ticks(root: Path = hardware.ROOT) -> list[int] | None:
    """user, nice, system, idle, iowait, irq, softirq, steal of all processors since boot (proc_stat(5))."""
    fields = (hardware.read(root / "proc/stat") or "").partition("\n")[0].split()[1:9]
    return [int(field) for field in fields] if len(fields) == 8 else None


def suspended_s() -> float:
    """Seconds that the machine has been suspended since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
