"""What a figure depends on: processor, clocks, system, versions, and what else the machine is doing."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from device.board import temperature_c

_PACKAGES = ("deblurkit", "ai-edge-litert", "tflite-runtime", "onnxruntime", "opencv-python-headless", "opencv-python", "numpy")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")


def environment() -> dict[str, Any]:
    """Plain data for the report; null where the system does not tell."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return {
        "board": _read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name"),
        "cpu": info.get("model name") or info.get("Hardware") or platform.machine(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "features": [f for f in _FEATURES if f in flags],
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "temperature_c": temperature_c(),
        "load_1min": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {p: v for p in _PACKAGES if (v := _version(p)) is not None},
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """Reasons to distrust the figures, in words."""
    reasons = []
    if found["load_1min"] > 0.5:
        reasons.append(f"the machine was busy before the run began (load {found['load_1min']:.1f}): times may be too long")
    if found["governor"] == "powersave":
        reasons.append("the governor is powersave: times are those of a slowed processor")
    return reasons


def _cpuinfo() -> dict[str, str]:
    lines = (_read("/proc/cpuinfo") or "").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines) if value}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip("\x00\n ") or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
