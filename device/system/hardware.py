"""Facts about the board that the kernel and the firmware tell. What they do not tell is None here, never a guess.

Every function takes the folder that stands for `/`, so that files captured from real boards can be read as well.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path("/")
_ASK_S = 5.0  # the flags are held for so long: asking the firmware by a process takes some milliseconds
_ANSWER_S = 2.0
# Bits of the firmware's answer (Raspberry Pi documentation, vcgencmd get_throttled); the same 16 higher: since the last boot.
_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
# Those of /proc/cpuinfo that runtimes choose their kernels by: XNNPACK, MLAS, oneDNN, ncnn.
_FEATURES = (
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16",
)  # fmt: skip
# Arm's part numbers (Linux, arch/arm64/include/asm/cputype.h), of boards with 64 bits.
_ARM_PARTS = {
    "0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78",
    "0xd49": "Neoverse-N2",
}  # fmt: skip
_PROCESSOR_ZONES = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "soc_thermal")

Throttled = dict[str, list[str]]
_held: dict[Path, tuple[float, Throttled | None]] = {}


def read(path: Path) -> str | None:
    """The text of a file of the kernel without its end of line or zero byte; None where it is not there."""
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
    """What the processor can do of that which the runtimes' kernels use, by the kernel's names: asimddp, i8mm, avx512_vnni, …"""
    info = _cpuinfo(root)
    told = set(" ".join(info.get("flags") or info.get("Features") or []).split())
    return tuple(name for name in _FEATURES if name in told)


def hardware_hash(root: Path = ROOT) -> str:
    """16 hexadecimal digits of board, processor, its features, number of cores and memory in GiB.

    The same after a restart, under another clock or kernel; another one on a board that computes at another speed.
    """
    board = model(root) or read(root / "sys/class/dmi/id/product_name") or ""
    cores, gib = len(_cpuinfo(root).get("processor", [])), round(memory_mib(root).get("MemTotal", 0) / 1024)
    facts = (board, processor(root) or "", " ".join(features(root)), f"{cores} cores", f"{gib} GiB")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _cpuinfo(root: Path) -> dict[str, list[str]]:
    """By key, what each core says."""
    found: dict[str, list[str]] = {}
    for line in (read(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if value:
            found.setdefault(key, []).append(value)
    return found


def throttled(root: Path = ROOT) -> Throttled | None:
    """What holds a Raspberry Pi back: `now`, and `ever` since it was booted. None where the board does not tell.

    Words: under-voltage, frequency capped, throttled, soft temperature limit. At most 5 s old. Where `vcgencmd` is not
    installed or may not be used, only the under-voltage of the last seconds is known.
    """
    now = time.monotonic()
    held = _held.get(root)
    if held is None or now - held[0] > _ASK_S:
        held = _held[root] = (now, _throttled(root))
    return held[1]


def flags(bits: int) -> Throttled:
    """The firmware's bits in words."""
    return {
        when: [word for bit, word in _FLAGS.items() if bits >> (bit + shift) & 1] for when, shift in (("now", 0), ("ever", 16))
    }


def _throttled(root: Path) -> Throttled | None:
    # Not /sys/…/get_throttled: the kernel warns of it, and its own driver clears the upper bits every two seconds
    # (drivers/hwmon/raspberrypi-hwmon.c), so that nothing of them is left there.
    if root == ROOT and (found := re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", vcgencmd("get_throttled") or "")):
        return flags(int(found[1], 16))
    for name in sorted(root.glob("sys/class/hwmon/hwmon*/name")):
        if read(name) == "rpi_volt" and (alarm := number(name.with_name("in0_lcrit_alarm"))) is not None:
            seen = [_FLAGS[0]] if alarm else []
            return {"now": seen, "ever": seen}
    return None


def vcgencmd(*question: str) -> str | None:
    """The firmware's answer; None where there is no such command, or it may not ask."""
    return _answer("vcgencmd", *question)


def _answer(*words: str) -> str | None:
    """What a command prints; None where it is not there, fails or takes long."""
    if shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_ANSWER_S, check=False)
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
    """The first processor's clock now and at most, MHz."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    now, most = number(folder / "scaling_cur_freq"), number(folder / "cpuinfo_max_freq")
    return None if now is None or most is None else (now / 1000, most / 1000)


def governor(root: Path = ROOT) -> str | None:
    """The rule by which the kernel chooses the clock, for example `ondemand`."""
    return read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def memory_mib(root: Path = ROOT) -> dict[str, int]:
    """MiB by the kernel's names: MemTotal, MemAvailable, SwapTotal, CmaTotal, CmaFree, …; empty where it does not tell."""
    lines = (read(root / "proc/meminfo") or "").splitlines()
    found = (re.match(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {match[1]: int(match[2]) // 1024 for match in found if match}


def limits_memory(root: Path = ROOT) -> bool | None:
    """Whether systemd can hold a service below a memory limit. None where there are no control groups of version 2.

    Raspberry Pi OS boots with `cgroup_disable=memory` in the device tree (raspberrypi/linux pull request 6439).
    """
    controllers = read(root / "sys/fs/cgroup/cgroup.controllers")
    return None if controllers is None else "memory" in controllers.split()


def clock_is_set(root: Path = ROOT) -> bool | None:
    """Whether a time server, or a clock with a battery, has set this machine's clock since it was booted."""
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    answer = _answer("timedatectl", "show", "--property=NTPSynchronized", "--value") if root == ROOT else None
    return {"yes": True, "no": False}.get(answer or "")


def release(root: Path = ROOT) -> str | None:
    """The system's name, for example `Debian GNU/Linux 12 (bookworm)`."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', read(root / "etc/os-release") or "", re.MULTILINE)
    return found[1] if found else None


def free_bytes(path: Path) -> int | None:
    """Bytes that this user can still write at a place; None where it does not exist."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
