"""What the figures depend on, read from the files of a board, and the doubts that follow."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import environment
from benchmarks.records import Estimate, Latency, Moment, Row

QUIET = Moment(0.0, 1500.0, 45.0, (), 0.1, 3000)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def pi4(tmp_path: Path) -> Path:
    """The files of a Raspberry Pi 4."""
    cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"
    return put(
        tmp_path,
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32 cpuid\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n",
            "proc/meminfo": "MemTotal:        3885396 kB\nMemAvailable:    3000000 kB\n",
            "proc/sys/kernel/arch": os.uname().machine,
            f"{cpufreq}/scaling_governor": "ondemand\n",
            f"{cpufreq}/scaling_cur_freq": "1500000\n",
            f"{cpufreq}/cpuinfo_max_freq": "1800000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48200\n",
            "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        },
    )


def test_everything_is_read_from_the_files_of_a_board(pi4: Path) -> None:
    found = environment.machine(pi4)
    assert found.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert (found.governor, found.most_mhz, found.memory_mib) == ("ondemand", 1800, 3794)
    assert found.features == ("asimd",)
    assert found.system == "Debian GNU/Linux 12 (bookworm)"
    assert found.kind == "real"
    now = environment.moment(0.0, pi4)
    assert (now.clock_mhz, now.temperature_c, now.available_mib) == (1500, 48.2, 2929)


def test_an_emulator_is_recognised(pi4: Path) -> None:
    assert environment.kind(put(pi4, {"proc/sys/kernel/arch": "riscv64"})) == "emulated"
    put(pi4, {"proc/sys/kernel/arch": os.uname().machine, "proc/device-tree/model": "linux,dummy-virt\0"})
    assert environment.kind(pi4) == "emulated"


def test_the_guest_of_a_hypervisor_is_virtual(tmp_path: Path) -> None:
    assert environment.kind(put(tmp_path, {"proc/cpuinfo": "flags\t\t: fpu sse2 hypervisor avx2\n"})) == "virtual"
    assert environment.kind(put(tmp_path, {"proc/cpuinfo": "flags\t\t: fpu sse2 avx2\n"})) == "real"


def test_the_versions_and_cores_of_this_machine_are_read() -> None:
    found = environment.machine()
    assert found.cores == len(os.sched_getaffinity(0))
    assert environment.versions()["numpy"] == np.__version__
    assert len(found.hardware_hash) == 16


def test_a_busy_slowed_or_throttled_machine_is_a_doubt_before_the_measurement(pi4: Path) -> None:
    found = environment.machine(pi4)
    assert environment.doubts_before(found, QUIET, 0.05) == []
    held = replace(QUIET, throttled=("under-voltage",))
    words = " ".join(environment.doubts_before(replace(found, governor="powersave", kind="emulated"), held, 1.2))
    for reason in ("busy", "powersave", "under-voltage", "emulated"):
        assert reason in words


def row(*, steady: bool, held: tuple[str, ...] = ()) -> Row:
    one = Estimate(20.0, 19.0, 21.0)
    timed = Latency(90, one, one, one, one, (20.0, 20.1, 20.0), 12, steady)
    return Row("small", "network", "ok", latency=timed, after=replace(QUIET, throttled=held))


def test_a_noisy_machine_is_a_doubt() -> None:
    calm = [row(steady=True)] * 19
    assert environment.doubts_after([*calm, row(steady=False)], None, 0.0) == []
    assert "noisy: 3 of 22" in environment.doubts_after([*calm, *[row(steady=False)] * 3], None, 0.0)[0]


def test_stolen_time_throttling_and_suspension_are_doubts() -> None:
    words = " ".join(environment.doubts_after([row(steady=True, held=("frequency capped",))], 0.07, 12.0))
    assert "7%" in words
    assert "frequency capped" in words
    assert "suspended for 12 s" in words


def test_the_kernels_count_of_stolen_time_is_read(tmp_path: Path) -> None:
    put(tmp_path, {"proc/stat": "cpu  100 0 50 800 10 0 5 35 0 0\ncpu0 1 2 3\n"})
    assert environment.stolen_ticks(tmp_path) == (35, 1000)
    assert environment.stolen_ticks(tmp_path / "nothing") is None


def test_busy_programs_are_noticed_and_ended_ones_are_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        found = environment.busy_cores(0.5)
        busy.kill()
    assert found is not None
    assert found > 0.3  # of a processor: other tests may share it
