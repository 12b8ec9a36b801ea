"""Facts about the hardware, from the kernel and the firmware. An unknown fact is None, never a guess.

Every function takes the folder to use as `/`, so that files captured from real boards can be read too.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path("/")
_FLAGS_KEPT_S = 5.0  # asking the firmware starts a process, which takes some milliseconds
_COMMAND_TIMEOUT_S = 2.0
# Bits of the firmware's answer (Raspberry Pi documentation, vcgencmd get_throttled); 16 bits higher the same since the last boot.
_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
# The features in /proc/cpuinfo by which runtimes choose their kernels: XNNPACK, MLAS, oneDNN, ncnn.
_FEATURES = (
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16",
)  # fmt: skip
# Arm's part numbers (Linux, arch/arm64/include/asm/cputype.h), of 64-bit boards.
_ARM_PARTS = {
    "0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78",
    "0xd49": "Neoverse-N2",
}  # fmt: skip
_PROCESSOR_ZONES = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "soc_thermal")

Throttled = dict[str, list[str]]
_last_flags: dict[Path, tuple[float, Throttled | None]] = {}


def read(path: Path) -> str | None:
    """The text of a file of the kernel, without line end or zero byte; None if it does not exist."""
    try:
        return path.read_text(errors="replace").strip("\x00\n ")
    except OSError:
        return None


def number(path: Path) -> float | None:
    """The number in a file of the kernel."""
    try:
        return float(read(path) or "")
    except ValueError:
        return None


def model(root: Path = ROOT) -> str | None:
    """The board's name, for example `Raspberry Pi 5 Model B Rev 1.0`."""
    return read(root / "proc/device-tree/model") or read(root / "sys/firmware/devicetree/base/model")


def processor(root: Path = ROOT) -> str | None:
    """The processor's name: `Cortex-A76`, `Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz`; several kinds of cores joined by ` + `."""
    info = _cpuinfo(root)
    kinds = info.get("model name") or [
        _ARM_PARTS.get(part, part) if maker == "0x41" else f"implementer {maker}, part {part}"
        for maker, part in zip(info.get("CPU implementer", []), info.get("CPU part", []), strict=False)
    ]
    return " + ".join(dict.fromkeys(kinds)) or None


def features(root: Path = ROOT) -> tuple[str, ...]:
    """The processor's features that runtimes use, by the kernel's names: asimddp, i8mm, avx512_vnni, …"""
    info = _cpuinfo(root)
    present = set(" ".join(info.get("flags") or info.get("Features") or []).split())
    return tuple(name for name in _FEATURES if name in present)


def hardware_hash(root: Path = ROOT) -> str:
    """16 hexadecimal digits of board, processor, its features, number of cores and memory in GiB.

    It stays the same after a restart and with another clock or kernel. It differs on a board of another speed.
    """
    board = model(root) or read(root / "sys/class/dmi/id/product_name") or ""
    cores, gib = len(_cpuinfo(root).get("processor", [])), round(memory_mib(root).get("MemTotal", 0) / 1024)
    facts = (board, processor(root) or "", " ".join(features(root)), f"{cores} cores", f"{gib} GiB")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _cpuinfo(root: Path) -> dict[str, list[str]]:
    """Key -> the values of all cores."""
    values: dict[str, list[str]] = {}
    for line in (read(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if value:
            values.setdefault(key, []).append(value)
    return values


def throttled(root: Path = ROOT) -> Throttled | None:
    """What slows a Raspberry Pi down: `now`, and `ever` since it was booted. None on other boards.

    Words: under-voltage, frequency capped, throttled, soft temperature limit. At most 5 s old. Without `vcgencmd`, or without
    the permission to use it, only under-voltage in the last seconds is known.
    """
    now = time.monotonic()
    last = _last_flags.get(root)
    if last is None or now - last[0] > _FLAGS_KEPT_S:
        last = _last_flags[root] = (now, _throttled(root))
    return last[1]


def flags(bits: int) -> Throttled:
    """The firmware's bits as words."""
    return {
        when: [word for bit, word in _FLAGS.items() if bits >> (bit + shift) & 1] for when, shift in (("now", 0), ("ever", 16))
    }


def _throttled(root: Path) -> Throttled | None:
    # Not /sys/…/get_throttled: the kernel warns against it, and its own driver clears the upper bits every two seconds
    # (drivers/hwmon/raspberrypi-hwmon.c), so they are always empty there.
    if root == ROOT and (found := re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", vcgencmd("get_throttled") or "")):
        return flags(int(found[1], 16))
    for name in sorted(root.glob("sys/class/hwmon/hwmon*/name")):
        if read(name) == "rpi_volt" and (alarm := number(name.with_name("in0_lcrit_alarm"))) is not None:
            seen = [_FLAGS[0]] if alarm else []
            return {"now": seen, "ever": seen}
    return None


def vcgencmd(*question: str) -> str | None:
    """The firmware's answer; None without the command, or without the permission to use it."""
    return _output("vcgencmd", *question)


def _output(*words: str) -> str | None:
    """The output of a command; None if it does not exist, fails or takes too long."""
    if shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def temperature_c(root: Path = ROOT) -> float | None:
    """The processor's temperature in °C."""
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        if read(zone / "type") in _PROCESSOR_ZONES and (millidegrees := number(zone / "temp")) is not None:
            return millidegrees / 1000
    return None


def clock_mhz(root: Path = ROOT) -> tuple[float, float] | None:
    """The first processor's clock: now and the maximum, MHz."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    now, most = number(folder / "scaling_cur_freq"), number(folder / "cpuinfo_max_freq")
    return None if now is None or most is None else (now / 1000, most / 1000)


def governor(root: Path = ROOT) -> str | None:
    """The kernel's policy for the clock, for example `ondemand`."""
    return read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def memory_mib(root: Path = ROOT) -> dict[str, int]:
    """MiB by the kernel's names: MemTotal, MemAvailable, SwapTotal, CmaTotal, CmaFree, …; empty if unknown."""
    lines = (read(root / "proc/meminfo") or "").splitlines()
    found = (re.match(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {match[1]: int(match[2]) // 1024 for match in found if match}


def limits_memory(root: Path = ROOT) -> bool | None:
    """Whether systemd can limit a service's memory. None without control groups of version 2.

    Raspberry Pi OS boots with `cgroup_disable=memory` in the device tree (raspberrypi/linux pull request 6439).
    """
    controllers = read(root / "sys/fs/cgroup/cgroup.controllers")
    return None if controllers is None else "memory" in controllers.split()


def clock_is_set(root: Path = ROOT) -> bool | None:
    """Whether a time server, or a clock with a battery, has set this machine's clock since it was booted."""
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    answer = _output("timedatectl", "show", "--property=NTPSynchronized", "--value") if root == ROOT else None
    return {"yes": True, "no": False}.get(answer or "")


def release(root: Path = ROOT) -> str | None:
    """The operating system's name, for example `Debian GNU/Linux 12 (bookworm)`."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', read(root / "etc/os-release") or "", re.MULTILINE)
    return found[1] if found else None


def free_bytes(path: Path) -> int | None:
    """Bytes that this user can still write there; None if the path does not exist."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize
