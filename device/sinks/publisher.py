"""The process that publishes one stream: pictures from standard input, encoded, to an RTSP server.

    python -m device.sinks.publisher

It is begun by `device/sinks/publish.py`, which may kill it at any time. First comes a line of JSON (`url form fps mbit`), then
for each picture its time of capture (8 bytes) and its planes. It says `connected` after the first one, and why it ends.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

import numpy as np

from device.errors import RunError
from device.images.yuv import Yuv
from device.sinks.h264 import Encoder, Form
from device.sinks.publish import CONNECTED, STAMP

# TCP goes through routers and loses nothing. The timeout, in microseconds, is that of one send or one answer.
_OPTIONS = {"rtsp_transport": "tcp", "timeout": "3000000"}


def publish(pictures: BinaryIO) -> None:
    """Until the pictures end. Raises RunError when the server is not there, refuses, or does not answer for three seconds."""
    order = json.loads(pictures.readline())
    form = Form(**order["form"])
    whole, half = (form.height, form.width), (-(-form.height // 2), -(-form.width // 2))
    shapes = (whole, half, half)
    bytes_of_picture = sum(rows * columns for rows, columns in shapes)
    encoder = Encoder(order["url"], "rtsp", _OPTIONS, form, order["fps"], order["mbit"])
    first = True
    while len(stamp := pictures.read(STAMP.size)) == STAMP.size:
        data = np.frombuffer(pictures.read(bytes_of_picture), np.uint8)
        if len(data) < bytes_of_picture:
            break
        ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        y, u, v = (plane.reshape(shape) for plane, shape in zip(np.split(data, ends), shapes, strict=True))
        encoder.write(Yuv(y, u, v, form.matrix, form.full_range), STAMP.unpack(stamp)[0])
        if first:
            os.write(sys.stdout.fileno(), CONNECTED)
            first = False
    encoder.finish()


def main() -> None:
    """Publish, then end at once: closing a connection that is lost may take as long as sending to it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and a service's stop reach the whole group: the parent sees to both
        signal.signal(number, signal.SIG_IGN)
    code = 0
    try:
        publish(sys.stdin.buffer)
    except RunError as error:
        os.write(sys.stdout.fileno(), f"{error}\n".encode())
        code = error.exit_code
    os._exit(code)


if __name__ == "__main__":
    main()
