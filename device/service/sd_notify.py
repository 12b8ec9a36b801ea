"""Messages from a service to systemd: it is ready, its loop still runs, it stops (sd_notify(3)).

A message is a datagram of KEY=VALUE lines to the socket in $NOTIFY_SOCKET; no library is needed.
"""

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


class Notifier:
    """Sends messages to the supervisor that started this process; without one it does nothing. Every call returns at once."""

    def __init__(self) -> None:
        """Take the supervisor's variables out of the environment, so that child processes do not see them."""
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid()))
        self.watchdog_s = int(usec) / 1e6 if self._address and ours and usec.isdecimal() else 0.0
        """The supervisor kills the process after so many seconds without a message; 0: it never does."""
        self._fed_s = float("-inf")

    @property
    def has_supervisor(self) -> bool:
        """Whether a supervisor started this process."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """The service has started."""
        self._send("READY=1", *([f"STATUS={_one_line(status)}"] if status else []))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        """The loop runs. May be called for every frame: it sends four times per watchdog interval at most."""
        if self.watchdog_s and time.monotonic() - self._fed_s >= self.watchdog_s / 4:
            self._fed_s = time.monotonic()
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is stopping."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # An @ stands for the zero byte of an abstract socket's name.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.setblocking(False)  # never block the loop: a message that a full queue rejects is sent again later
                link.sendto("\n".join(lines).encode(), address)
        except (OSError, ValueError) as error:
            log.warning("cannot send %s to the service manager at %s: %s", lines[0], self._address, error)


def _one_line(text: str) -> str:
    return " ".join(text.split())
