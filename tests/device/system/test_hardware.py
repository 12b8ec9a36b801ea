"""Facts about the hardware, from folders with the files of Raspberry Pis."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from device.system import hardware

# The content of these files on a Raspberry Pi 5 with Raspberry Pi OS, from the kernel's documentation and drivers.
PI5 = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\x00",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61350\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon2/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon2/in0_lcrit_alarm": "1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
    "proc/meminfo": "MemTotal:  8245392 kB\nMemAvailable: 7012352 kB\nCmaTotal:    65536 kB\nCmaFree:     60000 kB\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
}


@pytest.fixture
def pi5(tmp_path: Path) -> Path:
    """A root folder of a Raspberry Pi 5."""
    for name, text in PI5.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of the PATH, for a `vcgencmd`; the last answer is forgotten."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(hardware, "_last_flags", {})
    return folder


def cpuinfo(part: str, features: str, model: str) -> str:
    """/proc/cpuinfo of four cores on arm64; the serial number differs between boards, the BogoMIPS with the clock."""
    core = f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\n"
    cores = "\n".join(f"processor\t: {i}\n{core}" for i in range(4))
    return f"{cores}\nRevision\t: d04170\nSerial\t\t: 1000000012345678\nModel\t\t: {model}\n"


PI5_CPU = cpuinfo(
    "0xd0b",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    "Raspberry Pi 5 Model B Rev 1.0",
)
PI4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\x00",
    "proc/cpuinfo": cpuinfo("0xd08", "fp asimd evtstrm crc32 cpuid", "Raspberry Pi 4 Model B Rev 1.4"),
    "proc/meminfo": "MemTotal:        3885396 kB\n",
}


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """`lay({"proc/…": "text"})`: a new root folder with these files."""
    made: list[Path] = []

    def write(files: dict[str, str]) -> Path:
        made.append(tmp_path / f"root{len(made)}")
        for name, text in files.items():
            (made[-1] / name).parent.mkdir(parents=True, exist_ok=True)
            (made[-1] / name).write_text(text)
        return made[-1]

    return write


def answer(folder: Path, script: str) -> None:
    """Install a `vcgencmd` that runs this."""
    (folder / "vcgencmd").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "vcgencmd").chmod(0o755)


def test_the_facts_of_a_raspberry_pi_are_read(pi5: Path) -> None:
    assert hardware.model(pi5) == "Raspberry Pi 5 Model B Rev 1.0"
    assert hardware.temperature_c(pi5) == 61.35
    assert hardware.clock_mhz(pi5) == (1500, 2400)
    assert hardware.governor(pi5) == "ondemand"
    assert hardware.memory_mib(pi5) == {"MemTotal": 8052, "MemAvailable": 6848, "CmaTotal": 64, "CmaFree": 58}
    assert hardware.limits_memory(pi5) is False
    assert hardware.release(pi5) == "Debian GNU/Linux 12 (bookworm)"


def test_an_unknown_fact_is_none_and_not_a_guess(tmp_path: Path) -> None:
    facts = (
        hardware.model,
        hardware.temperature_c,
        hardware.clock_mhz,
        hardware.governor,
        hardware.limits_memory,
        hardware.throttled,
    )
    assert [fact(tmp_path) for fact in (*facts, hardware.clock_is_set, hardware.release)] == [None] * 8
    assert hardware.memory_mib(tmp_path) == {}
    assert hardware.free_bytes(tmp_path / "nowhere") is None


def test_garbage_in_the_kernel_s_files_is_none(pi5: Path) -> None:
    (pi5 / "sys/class/thermal/thermal_zone0/temp").write_text("hot\n")
    (pi5 / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").write_text("")
    (pi5 / "proc/meminfo").write_bytes(b"\xff\xfe MemTotal")
    assert hardware.temperature_c(pi5) is None
    assert hardware.clock_mhz(pi5) is None
    assert hardware.memory_mib(pi5) == {}


def test_the_firmware_s_bits_become_words() -> None:
    assert hardware.flags(0x0) == {"now": [], "ever": []}
    assert hardware.flags(0x50005) == {"now": ["under-voltage", "throttled"], "ever": ["under-voltage", "throttled"]}
    assert hardware.flags(0xA0000) == {"now": [], "ever": ["frequency capped", "soft temperature limit"]}


def test_the_firmware_s_answer_is_kept_for_a_while(firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(firmware, f'echo asked >> {firmware}/count; echo "throttled=0x50000"')
    assert [hardware.throttled() for _ in range(20)] == [{"now": [], "ever": ["under-voltage", "throttled"]}] * 20
    assert (firmware / "count").read_text() == "asked\n"
    monkeypatch.setattr("device.system.hardware.time.monotonic", lambda: 1e9)
    hardware.throttled()
    assert (firmware / "count").read_text() == "asked\nasked\n"


@pytest.mark.parametrize(
    "script", ["echo VCHI initialization failed; exit 255", "echo error=1", "kill -9 $$", "printf '\\377\\376'"]
)
def test_a_firmware_without_an_answer_is_none(firmware: Path, script: str) -> None:
    answer(firmware, script)
    if not any(Path("/sys/class/hwmon").glob("*/in0_lcrit_alarm")):
        assert hardware.throttled() is None


def test_a_firmware_that_hangs_blocks_nobody(firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_COMMAND_TIMEOUT_S", 0.2)
    answer(firmware, "exec sleep 60")
    assert hardware.vcgencmd("get_throttled") is None


def test_without_vcgencmd_the_kernel_s_alarm_reports_under_voltage(pi5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_last_flags", {})
    assert hardware.throttled(pi5) == {"now": ["under-voltage"], "ever": ["under-voltage"]}


def test_the_processor_and_the_features_that_runtimes_use_have_names(lay: Callable[..., Path]) -> None:
    pi4, pi5 = lay(PI4), lay({**PI5, "proc/cpuinfo": PI5_CPU})
    assert (hardware.processor(pi4), hardware.features(pi4)) == ("Cortex-A72", ("asimd",))
    assert (hardware.processor(pi5), hardware.features(pi5)) == ("Cortex-A76", ("asimd", "asimdhp", "asimddp"))
    laptop = lay({"proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2.50GHz\nflags\t\t: fpu sse4_1 avx2 fma vmx\n" * 2})
    assert (hardware.processor(laptop), hardware.features(laptop)) == ("Some CPU @ 2.50GHz", ("sse4_1", "avx2", "fma"))
    two_kinds = "CPU implementer\t: 0x41\nCPU part\t: 0xd05\n\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    assert hardware.processor(lay({"proc/cpuinfo": two_kinds})) == "Cortex-A55 + Cortex-A76"
    assert (
        hardware.processor(lay({"proc/cpuinfo": "CPU implementer\t: 0x61\nCPU part\t: 0x022\n"}))
        == "implementer 0x61, part 0x022"
    )
    assert (hardware.processor(lay({})), hardware.features(lay({}))) == (None, ())


def test_boards_of_other_speeds_have_other_hashes(lay: Callable[..., Path]) -> None:
    pi5 = {**PI5, "proc/cpuinfo": PI5_CPU}
    boards = [
        PI4,
        {**PI4, "proc/meminfo": "MemTotal:  7998712 kB\n"},
        pi5,
        {**pi5, "proc/meminfo": "MemTotal:  4146000 kB\n"},
        {**pi5, "proc/cpuinfo": PI5_CPU.replace(" asimddp", "")},
        {**pi5, "proc/cpuinfo": PI5_CPU.partition("processor\t: 3")[0]},
        {},
    ]
    hashes = [hardware.hardware_hash(lay(files)) for files in boards]
    assert len(set(hashes)) == len(boards)
    assert all(re.fullmatch("[0-9a-f]{16}", found) for found in hashes)


def test_a_restart_another_clock_and_another_kernel_leave_the_hash_as_it_is(lay: Callable[..., Path]) -> None:
    before = {**PI5, "proc/cpuinfo": PI5_CPU}
    after = {
        **before,
        "proc/meminfo": "MemTotal:  8210000 kB\nMemAvailable: 512 kB\n",  # a kernel that keeps more for itself
        "proc/cpuinfo": PI5_CPU.replace("108.00", "54.00").replace("evtstrm", "evtstrm paca").replace("12345678", "99999999"),
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    }
    assert hardware.hardware_hash(lay(before)) == hardware.hardware_hash(lay(after))
