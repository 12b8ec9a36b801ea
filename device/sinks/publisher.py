"""The process that publishes one stream: it encodes pictures from standard input and sends them to an RTSP server.

    python -m device.sinks.publisher

`publish.py` starts it and may kill it at any time. Its input is a line of JSON (`url format fps mbit`), then for each picture
the capture time (8 bytes) and the planes. It prints `connected` after the first picture, and the reason if it fails.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

import numpy as np

from device.errors import RunError
from device.images.yuv import Yuv
from device.sinks.h264 import Encoder, StreamFormat
from device.sinks.publish import CONNECTED, STAMP

# TCP passes routers and loses nothing. The timeout in microseconds is for one send or one answer.
_OPTIONS = {"rtsp_transport": "tcp", "timeout": "3000000"}


def publish(pictures: BinaryIO) -> None:
    """Publish until the input ends. Raises RunError if the server is missing, refuses, or does not answer for three seconds."""
    settings = json.loads(pictures.readline())
    format = StreamFormat(**settings["format"])
    whole, half = (format.height, format.width), (-(-format.height // 2), -(-format.width // 2))
    shapes = (whole, half, half)
    bytes_of_picture = sum(rows * columns for rows, columns in shapes)
    encoder = Encoder(settings["url"], "rtsp", _OPTIONS, format, settings["fps"], settings["mbit"])
    first = True
    while len(stamp := pictures.read(STAMP.size)) == STAMP.size:
        data = np.frombuffer(pictures.read(bytes_of_picture), np.uint8)
        if len(data) < bytes_of_picture:
            break
        ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        y, u, v = (plane.reshape(shape) for plane, shape in zip(np.split(data, ends), shapes, strict=True))
        encoder.write(Yuv(y, u, v, format.matrix, format.full_range), STAMP.unpack(stamp)[0])
        if first:
            os.write(sys.stdout.fileno(), CONNECTED)
            first = False
    encoder.finish()


def main() -> None:
    """Publish, then exit at once: closing a lost connection may take as long as sending to it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # these reach the whole group; the parent handles them
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
