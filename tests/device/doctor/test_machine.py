"""The checks of a board, on folders laid out like a board's /sys and /proc."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.doctor import cameras, machine
from device.doctor.diagnosis import Diagnosis
from device.system import hardware


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., Path]:
    """`lay({"sys/…": "text"})`: a root folder with these files."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def by_name(findings: list[Diagnosis]) -> dict[str, Diagnosis]:
    """The diagnoses by what was checked; every one that is not ok has a fix."""
    assert all(f.mend for f in findings if f.state != "ok")
    return {f.what: f for f in findings}


ZONE = "sys/class/thermal/thermal_zone0"
RATE = "sys/devices/system/cpu/cpu0/cpufreq"


def test_heat_a_weak_power_supply_and_a_slow_governor_are_reported(
    lay: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = lay(
        {
            f"{ZONE}/type": "cpu-thermal",
            f"{ZONE}/temp": "82000",
            "sys/class/hwmon/hwmon1/name": "rpi_volt",
            "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1",
            f"{RATE}/scaling_cur_freq": "600000",
            f"{RATE}/cpuinfo_max_freq": "1800000",
            f"{RATE}/scaling_governor": "powersave",
        }
    )
    found = by_name(list(machine.power(root)))
    assert [f.state for f in found.values()] == ["poor"] * 3
    assert found["temperature"].found == "82 °C"
    assert found["throttling"].found == "now: under-voltage; since boot: under-voltage"
    assert found["clock rate"].found == "600 of 1800 MHz, governor powersave"


def test_facts_that_the_board_does_not_report_are_called_unknown(tmp_path: Path) -> None:
    found = by_name([*machine.power(tmp_path), *machine.memory(tmp_path)])
    assert {name: f.found for name, f in found.items()} == dict.fromkeys(("temperature", "throttling", "memory"), machine.UNKNOWN)


def test_low_memory_and_a_kernel_without_memory_limits_are_reported(lay: Callable[..., Path]) -> None:
    root = lay(
        {
            "proc/meminfo": "MemTotal: 425984 kB\nMemAvailable: 102400 kB\nSwapTotal: 204800 kB\n"
            "CmaTotal: 65536 kB\nCmaFree: 1024 kB\n",
            "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        }
    )
    found = by_name(list(machine.memory(root)))
    assert found["memory"].state == "poor"
    assert found["memory"].found == "100 of 416 MiB available, swap 200 MiB; for cameras 1 of 64 MiB"
    assert "cgroup_enable=memory" in found["memory limit"].mend


def test_a_clock_that_was_never_set_is_reported(lay: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = lay({"run/systemd/timesync/synchronized": ""})
    assert by_name(list(machine.clock(root)))["clock"].state == "ok"
    real = machine.time.gmtime
    monkeypatch.setattr("device.doctor.machine.time.gmtime", lambda: real(0))
    (finding,) = machine.clock(root)
    assert finding.state == "poor"
    assert finding.found.endswith("was never set")


def test_a_port_used_by_another_program_is_reported_and_our_own_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        monkeypatch.setattr("device.doctor.machine.WebSettings", lambda: type("Web", (), {"port": number}))
        (finding,) = machine.port()
        assert finding.state == "missing"
        assert "used by another program" in finding.found
    line = [sys.executable, "-m", "deblurkit", "run", "--source", "demo", "--port", str(number), "--quiet"]
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            (finding,) = machine.port()
            if "running" in finding.found:
                break
            running.poll()
            assert running.returncode is None
            try:
                running.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert (finding.state, finding.found) == ("ok", f"{number} is used by deblurkit, which is running")
    finally:
        running.terminate()
        running.wait(20)


def test_nodes_that_this_user_may_not_open_are_reported_with_their_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_name(list(cameras.permissions(tmp_path)))["permissions"].state == "missing"
    for name in ("video0", "media0", "dma_heap/linux,cma"):
        (tmp_path / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev" / name).touch()
    assert by_name(list(cameras.permissions(tmp_path)))["permissions"].found == "3 nodes in /dev can be opened"
    if os.geteuid() != 0:
        pytest.skip("files of another group need root")
    for path in (tmp_path / "dev").rglob("*"):
        os.chown(path, -1, 44)  # Debian's group video
        if path.is_file():
            path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)
    tmp_path.chmod(0o755)
    real = os.access
    monkeypatch.setattr(  # root may open everything, so simulate a user without groups
        "device.doctor.cameras.os.access", lambda path, mode: real(path, mode) and bool(os.stat(path).st_mode & stat.S_IROTH)
    )
    finding = by_name(list(cameras.permissions(tmp_path)))["permissions"]
    assert finding.state == "poor"
    assert "/dev/media0" in finding.found
    assert finding.mend == "sudo usermod -aG video $USER; then log in again"


@pytest.mark.parametrize(
    ("module", "found", "mend"),
    [
        ("raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')", "different numpy", "constraints"),
        ("raise ImportError('libcamera.so.0.3: cannot open shared object file')", "libcamera.so.0.3", "--reinstall"),
        ("import os; os.abort()", "ended with -6", "--reinstall"),
        ("", "picamera2", ""),
    ],
)
def test_a_picamera2_that_cannot_be_imported_is_reported_with_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, found: str, mend: str
) -> None:
    (tmp_path / "picamera2.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = cameras.picamera2()
    assert finding.state == ("poor" if module else "ok")
    assert found in finding.found
    assert mend in finding.mend


def test_on_a_raspberry_pi_a_missing_picamera2_is_reported_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    if cameras.importlib.util.find_spec("picamera2") is not None:
        pytest.skip("picamera2 is installed here")
    monkeypatch.setattr(hardware, "model", lambda: "Raspberry Pi 4 Model B Rev 1.4")
    (finding,) = cameras.picamera2()
    assert finding.state == "missing"
    assert "apt install" in finding.mend


def test_a_camera_library_that_hangs_does_not_block_the_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(cameras, "_ANSWER_S", 0.3)
    (finding,) = cameras.picamera2()
    assert finding.found.startswith("cannot be imported: no answer")
