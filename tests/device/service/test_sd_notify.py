"""Messages to systemd, over a socket like its own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.service.sd_notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@deblurkit-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        link.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield link


def test_ready_status_and_stopping_are_sent(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("30 frames a second\nand healthy")
    assert manager.recv(999) == b"READY=1\nSTATUS=30 frames a second and healthy"
    notifier.status("still well")
    assert manager.recv(999) == b"STATUS=still well"
    notifier.stopping()
    assert manager.recv(999) == b"STOPPING=1"


def test_the_watchdog_is_fed_often_enough_and_not_for_every_frame(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notifier = Notifier()
    assert notifier.watchdog_s == 10
    now_s = 5000.0
    monkeypatch.setattr("device.service.sd_notify.time.monotonic", lambda: now_s)
    fed = 0
    manager.settimeout(0)
    for _ in range(300):  # ten seconds of frames
        notifier.watchdog()
        now_s += 1 / 30
        try:
            assert manager.recv(999) == b"WATCHDOG=1"
            fed += 1
        except BlockingIOError:
            pass
    assert fed == 4


def test_the_watchdog_of_another_process_is_ignored(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().watchdog_s == 0


def test_child_processes_cannot_send_messages_for_this_one(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    Notifier()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


def test_without_a_supervisor_nothing_is_sent_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready()
    notifier.watchdog()
    notifier.stopping()
    assert notifier.watchdog_s == 0


def test_a_supervisor_that_is_gone_or_does_not_listen_never_blocks_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready()
    assert "cannot send READY=1" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "deaf"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "deaf"))
        notifier = Notifier()
        for _ in range(2000):  # more than the kernel queues
            notifier.status("well")
