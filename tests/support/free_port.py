"""A TCP port for a server that a test starts by number, and that must still be free when it is started again."""

import os
import socket
from itertools import count

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = count(20_000 + 1000 * (_WORKER % 12))


def free_port() -> int:
    """A free port of this worker's own thousand, below those that the kernel gives to outgoing connections (32768 and up)."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable")
