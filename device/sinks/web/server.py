"""Sockets: accepts connections and limits their number and their time. Knows nothing about pictures."""

import contextlib
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from device.errors import RunError
from device.sinks.web.request import IDLE_S, REQUEST_S, Gone, Reader, Refused, Reply, Request, text

log = logging.getLogger(__name__)
MOST_CONNECTIONS = 64
MOST_FROM_OTHERS = 48  # the rest is reserved for this machine: its kiosk and its health check
MOST_PER_ADDRESS = 16  # a browser opens about six; this machine is exempt, its reverse proxy connects for many
SEND_S = 10.0  # how long sending a reply, or one frame, may take
_CROWDED = MOST_CONNECTIONS * 3 // 4  # from here on no connection is kept alive
_CLOSE_S = 1.0

Answer = Callable[["Connection", Request], Reply | None]


class Connection:
    """One open connection."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self.socket, self.address = connection, address

    @property
    def local_address(self) -> str:
        """The address of this machine that the other side connected to."""
        return str(self.socket.getsockname()[0])

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises OSError if the other side is gone or takes longer than SEND_S."""
        self.socket.settimeout(SEND_S)
        self.socket.sendall(data)

    def gone(self) -> bool:
        """Whether the other side has closed the connection; reads nothing from it."""
        try:
            return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class Server:
    """Accepts connections until closed, and serves each in a thread of its own.

    `answer` returns the reply to a request, or None if it has sent everything itself; then the connection ends. `headers` are
    sent with every reply. Raises RunError if it cannot listen on the port.
    """

    def __init__(self, host: str, port: int, answer: Answer, headers: tuple[tuple[str, str], ...]) -> None:
        self._answer, self._headers = answer, headers
        self._open: dict[socket.socket, str] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._listening = socket.create_server((host, port), backlog=128)
        except OSError as error:
            raise RunError(
                f"{host}:{port}: {error.strerror}; another program may use the port, choose one with --port"
            ) from error
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="web", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, (address, _) = self._listening.accept()
            except OSError as error:
                if not self._closed:  # no descriptor is left, or the other side left before it was accepted
                    log.debug("a connection could not be accepted: %s", error)
                    time.sleep(0.05)
                continue
            if (why := self._too_many(address)) or not self._admit(connection, address):
                with contextlib.suppress(OSError):  # the accepting thread must not block
                    connection.setblocking(False)
                    reply = text(
                        HTTPStatus.SERVICE_UNAVAILABLE, why or "no thread is left; try again later", ("Retry-After", "5")
                    )
                    connection.send(reply.head(self._headers, keep=False) + reply.body)
                connection.close()

    def _too_many(self, address: str) -> str:
        """Why no further connection from the address is accepted; empty if it is."""
        with self._lock:
            counts = Counter(self._open.values())
        here = sum(number for known, number in counts.items() if _of_this_machine(known))
        everything = sum(counts.values())
        if everything >= MOST_CONNECTIONS:
            return f"all {MOST_CONNECTIONS} connections are in use; try again later"
        if _of_this_machine(address):
            return ""
        if everything - here >= MOST_FROM_OTHERS:
            return f"all {MOST_FROM_OTHERS} connections are in use; try again later"
        if counts[address] >= MOST_PER_ADDRESS:
            return f"at most {MOST_PER_ADDRESS} connections from one address"
        return ""

    def _admit(self, connection: socket.socket, address: str) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._open[connection] = address
        try:
            threading.Thread(target=self._serve, args=(connection, address), name="viewer", daemon=True).start()
        except RuntimeError:  # the system's limit on threads
            with self._lock:
                del self._open[connection]
            return False
        return True

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # do not hold back the end of a frame for an acknowledgement
            self._converse(Connection(connection, address), Reader(connection))
        except (OSError, Gone):
            pass
        except Exception:  # a failure ends this viewer's connection only
            log.exception("a viewer's request failed")
        finally:
            connection.close()
            with self._lock:
                self._open.pop(connection, None)

    def _converse(self, viewer: Connection, reader: Reader) -> None:
        idle_s, keep = REQUEST_S, True
        while keep and not self._closed:
            try:
                request = reader.request(idle_s)
            except Refused as refused:
                reply = text(refused.status, refused.text)
                viewer.send(reply.head(self._headers, keep=False) + reply.body)
                _linger(viewer.socket)
                return
            try:
                answered = self._answer(viewer, request)
            except Refused as refused:
                answered = text(refused.status, refused.text)
            except OSError:
                raise
            except Exception:
                log.exception("%s %s failed", request.method, request.path)
                answered = text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log says why")
            if answered is None:
                return
            keep = request.keep and len(self._open) < _CROWDED
            body = b"" if request.method == "HEAD" else answered.body
            viewer.send(answered.head(self._headers, keep=keep) + body)
            idle_s = IDLE_S

    def close(self) -> None:
        """Free the port and end all connections; closing twice is safe."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes `accept`; closing alone does not
        self._listening.close()
        self._thread.join(_CLOSE_S)
        with self._lock:
            still = list(self._open)
        for connection in still:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + _CLOSE_S
        while self._open and time.monotonic() < end:
            time.sleep(0.005)


def _of_this_machine(address: str) -> bool:
    return address.startswith("127.")


def _linger(connection: socket.socket) -> None:
    """Read what still arrives, for at most half a second: closing at once could discard the reply before it is read."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.1)
        end = time.monotonic() + 0.5
        while time.monotonic() < end and connection.recv(65536):
            pass
