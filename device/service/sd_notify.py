"""What a service tells systemd of itself: that it is ready, that its loop still moves, that it stops (sd_notify(3)).

The protocol is a datagram of KEY=VALUE lines to the socket that $NOTIFY_SOCKET names; nothing of it needs a library.
"""

import logging
import os
import socket
import time

log = logging.getLogger(__name__)


class Notifier:
    """Talks to the supervisor that started this process; says nothing where there is none. Every call returns at once."""

    def __init__(self) -> None:
        """Read what the supervisor wants from the environment, and keep it from processes that are begun later."""
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid()))
        self.watchdog_s = int(usec) / 1e6 if self._address and ours and usec.isdecimal() else 0.0
        """The supervisor acts when nothing is heard for so long, seconds; 0: it does not."""
        self._fed_s = float("-inf")

    @property
    def has_supervisor(self) -> bool:
        """Whether there is a supervisor."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """What was asked for runs now."""
        self._send("READY=1", *([f"STATUS={_line(status)}"] if status else []))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """The loop moves. May be called for every frame: what is too early to be of use is not sent."""
        if self.watchdog_s and time.monotonic() - self._fed_s >= self.watchdog_s / 4:
            self._fed_s = time.monotonic()
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # An @ stands for the zero byte of an abstract socket's name.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.setblocking(False)  # the loop waits for nobody; what a full queue does not take now comes again
                link.sendto("\n".join(lines).encode(), address)
        except (OSError, ValueError) as error:
            log.warning("the service manager at %s cannot be told %s: %s", self._address, lines[0], error)


def _line(text: str) -> str:
    return " ".join(text.split())
