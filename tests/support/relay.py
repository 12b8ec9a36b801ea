"""ssh's way into a container without a network: `relay.py PORT PIDFILE` joins stdin and stdout to that port of the loopback.

Run in the container's network namespace; its process number is written, so that a test can cut the connection.
"""

import os
import socket
import sys
import threading

port, pid_file = int(sys.argv[1]), sys.argv[2]
with open(pid_file, "w") as file:
    file.write(str(os.getpid()))
server = socket.create_connection(("127.0.0.1", port))


def outwards() -> None:
    while data := server.recv(1 << 16):
        os.write(1, data)
    os._exit(0)


threading.Thread(target=outwards, daemon=True).start()
while sent := os.read(0, 1 << 16):
    server.sendall(sent)
server.shutdown(socket.SHUT_WR)
