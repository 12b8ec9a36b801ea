"""The machine: system, board, power supply, heat, memory, disk, clock and the port of the page."""

import errno
import http.client
import os
import platform
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from device import advice
from device.doctor.diagnosis import Diagnosis
from device.settings import WebSettings
from device.system import hardware
from device.system.paths import state_folder

UNKNOWN = "not reported by this system"
_FREE_MIB = 300  # needed by the loop and a camera process together, without a recorder
_FREE_GIB = 0.5
_OLDEST_YEAR = 2025  # a clock that shows an earlier year was never set


def system() -> Iterator[Diagnosis]:
    """Processor, board and Python."""
    bits = struct.calcsize("P") * 8
    machine = f"{platform.machine()}, {bits}-bit, {os.cpu_count()} cores, {hardware.release() or platform.system()}"
    if bits == 64 and platform.machine() in ("x86_64", "aarch64", "arm64"):
        yield Diagnosis("system", "ok", machine)
    else:
        yield Diagnosis("system", "bad", machine, "deblurkit needs a 64-bit system; install the 64-bit Raspberry Pi OS")
    if (model := hardware.model()) is not None:
        yield Diagnosis("board", "ok", model)
    python = platform.python_version()
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Diagnosis("python", "ok" if supported else "bad", python, "" if supported else "use Python 3.11, 3.12 or 3.13")


def power(root: Path = hardware.ROOT) -> Iterator[Diagnosis]:
    """Temperature, clock rate, and what the firmware reports about throttling and the power supply."""
    degrees = hardware.temperature_c(root)
    if degrees is not None and degrees >= advice.HOT_C:
        yield Diagnosis("temperature", "poor", f"{degrees:.0f} °C", "add a heat sink or a fan: the board slows down from 80 °C")
    else:
        yield Diagnosis("temperature", "ok", UNKNOWN if degrees is None else f"{degrees:.0f} °C")
    throttled = hardware.throttled(root)
    if throttled is None:
        yield Diagnosis("throttling", "ok", UNKNOWN)
    elif throttled["now"] or throttled["ever"]:
        words = [f"now: {', '.join(throttled['now'])}"] if throttled["now"] else []
        words += [f"since boot: {', '.join(throttled['ever'])}"] if throttled["ever"] else []
        weak = any("under-voltage" in found for found in throttled.values())
        supply = "use the board's own power supply and a short cable"
        yield Diagnosis(
            "throttling", "poor", "; ".join(words), supply if weak else "cool the processor: add a heat sink or a fan"
        )
    else:
        yield Diagnosis("throttling", "ok", "none since boot")
    rates, governor = hardware.clock_mhz(root), hardware.governor(root)
    if rates is not None and governor == "powersave":
        found = f"{rates[0]:.0f} of {rates[1]:.0f} MHz, governor {governor}"
        yield Diagnosis(
            "clock rate", "poor", found, "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    elif rates is not None:
        yield Diagnosis("clock rate", "ok", f"{rates[0]:.0f} of {rates[1]:.0f} MHz, governor {governor or UNKNOWN}")


def memory(root: Path = hardware.ROOT) -> Iterator[Diagnosis]:
    """Available memory, contiguous memory for camera buffers, and whether the kernel can limit the service's memory."""
    mib = hardware.memory_mib(root)
    free = mib.get("MemAvailable")
    if free is None:
        yield Diagnosis("memory", "ok", UNKNOWN)
    else:
        cma = f"; for cameras {mib['CmaFree']} of {mib['CmaTotal']} MiB" if mib.get("CmaTotal") else ""
        found = f"{free} of {mib.get('MemTotal', 0)} MiB available, swap {mib.get('SwapTotal', 0)} MiB{cma}"
        scarce = free < _FREE_MIB
        fix = "stop other programs; a system without a desktop has 300 MiB more" if scarce else ""
        yield Diagnosis("memory", "poor" if scarce else "ok", found, fix)
    if hardware.limits_memory(root) is False:
        yield Diagnosis(
            "memory limit",
            "missing",
            "the kernel cannot limit the service's memory (MemoryMax has no effect)",
            "add cgroup_enable=memory to the kernel command line (Raspberry Pi OS: /boot/firmware/cmdline.txt) and reboot",
        )


def disk() -> Iterator[Diagnosis]:
    """Free space in the current folder and in the state folder."""
    state = state_folder()
    places = {"here": Path.cwd(), str(state): next(p for p in (state, *state.parents) if p.exists())}
    free = {name: (hardware.free_bytes(place) or 0) / 2**30 for name, place in places.items()}
    found = ", ".join(f"{gib:.1f} GiB free {'in ' * (name != 'here')}{name}" for name, gib in free.items())
    scarce = min(free.values()) < _FREE_GIB
    fix = "free some space: sudo journalctl --vacuum-size=100M; sudo apt clean"
    yield Diagnosis("disk", "poor" if scarce else "ok", found, fix if scarce else "")
    if os.statvfs("/").f_flag & os.ST_RDONLY:
        yield Diagnosis("root file system", "poor", "read-only", "after errors the kernel mounts a card read-only: see `dmesg`")


def clock(root: Path = hardware.ROOT) -> Iterator[Diagnosis]:
    """The wall clock, which names recordings and logs; the loop itself uses the monotonic clock."""
    now = time.strftime("%Y-%m-%d %H:%M")
    fix = (
        "connect to a network once, then: sudo timedatectl set-ntp true; without a network: add a real-time clock with a battery"
    )
    if time.gmtime().tm_year < _OLDEST_YEAR:
        yield Diagnosis("clock", "poor", f"{now}: was never set", fix)
        return
    match hardware.clock_is_set(root):
        case True:
            yield Diagnosis("clock", "ok", f"{now}, set by a time server")
        case False:
            yield Diagnosis("clock", "poor", f"{now}, not set by a time server since boot", fix)
        case None:
            yield Diagnosis("clock", "ok", f"{now}; whether a time server set it is {UNKNOWN}")


def port() -> Iterator[Diagnosis]:
    """Is the default port of the page free?"""
    number = WebSettings().port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page does: a port in TIME_WAIT counts as free
        try:
            probe.bind(("127.0.0.1", number))
            yield Diagnosis("port", "ok", f"{number} is free")
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield Diagnosis("port", "missing", f"{number}: {error.strerror}", "choose another with --port")
                return
    if _is_ours(number):
        yield Diagnosis("port", "ok", f"{number} is used by deblurkit, which is running")
    else:
        yield Diagnosis(
            "port",
            "missing",
            f"{number} is used by another program",
            f"choose another with --port, or stop it: sudo ss -ltnp 'sport = {number}'",
        )


def _is_ours(number: int) -> bool:
    try:
        asked = http.client.HTTPConnection("127.0.0.1", number, timeout=1)
        asked.request("GET", "/healthz")
        reply = asked.getresponse()
        return reply.read(100).strip() == b"ok" or (reply.status == 503 and "Content-Security-Policy" in reply.headers)
    except (OSError, http.client.HTTPException):
        return False
