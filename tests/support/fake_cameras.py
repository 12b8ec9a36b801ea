"""Fake cameras with one fault each. They are opened in the camera's process by `module:function`, like real ones.

Parameters come in the spec after `fake:`. A camera is plugged in while a file exists.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from device.errors import CameraLost, UsageError
from device.images.frame import Frame, Image, Shot
from device.images.yuv import Yuv
from device.settings import CameraSettings
from device.sources.checks import BadFrame

FPS = 50.0


class Fake:
    """Numbered frames at 50 fps: luma counts, chroma is grey."""

    def __init__(self, spec: str, settings: CameraSettings) -> None:
        self.width, self.height = settings.size_wh
        self.description, self.fps = f"a fake camera of {settings.size}", FPS
        self.index = -1

    def read(self) -> Frame:
        time.sleep(1 / FPS)
        self.index += 1
        return Frame(self.index, time.monotonic(), self.image(), shot=Shot(exposure_s=0.01, in_focus=True))

    def image(self) -> Image:
        return planes(self.width, self.height, 1 + self.index % 250)

    def close(self) -> None:
        """Nothing to release."""


def planes(width: int, height: int, level: int, colour: int = 128) -> Yuv:
    y = np.full((height, width), level, np.uint8)
    u = np.full((-(-height // 2), -(-width // 2)), colour, np.uint8)
    return Yuv(y, u, u.copy(), "bt709", False)


class Rgb(Fake):
    """Red at the left, blue at the right; a mark in the upper left corner."""

    def image(self) -> Image:
        pixels = np.zeros((self.height, self.width, 3), np.uint8)
        pixels[:, : self.width // 2] = (200, 0, self.index % 50)
        pixels[:, self.width // 2 :] = (0, self.index % 50, 200)
        pixels[0, 0] = 255
        return pixels


class Padded(Fake):
    """Planes with padded rows, like in a camera's buffer."""

    def image(self) -> Image:
        wide = planes(self.width + 64, self.height, 1 + self.index % 250)
        wide.y[:, self.width :] = 255
        chroma = -(-self.width // 2)
        return Yuv(wide.y[:, : self.width], wide.u[:, :chroma], wide.v[:, :chroma], "bt601", True)


class Plugged(Fake):
    """Present while the file in `fake:PATH` exists."""

    def __init__(self, spec: str, settings: CameraSettings) -> None:
        super().__init__(spec, settings)
        self.plug = Path(spec.removeprefix("fake:"))
        self._look()

    def _look(self) -> None:
        if not self.plug.exists():
            raise CameraLost("the fake camera is not plugged in")

    def read(self) -> Frame:
        self._look()
        return super().read()


class Faulty(Plugged):
    """Works while the file is empty; otherwise its text is the fault."""

    def read(self) -> Frame:
        fault = self.plug.read_text().strip() if self.plug.exists() else "unplugged"
        frame = super().read()
        if fault == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
            time.sleep(3600)
        if fault == "hang with the interpreter":
            ctypes.PyDLL(None).sleep(3600)  # blocks all other threads
        if fault == "crash":
            print("the driver said this before it fell", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "raise":
            raise ZeroDivisionError("a library's own error")
        if fault == "exit":
            os._exit(3)
        if fault == "truncated":
            raise BadFrame("123 bytes, expected 456")
        image = {
            "green": planes(self.width, self.height, 0, 0),
            "black": planes(self.width, self.height, 16 if self.index % 2 else 17),
            "empty": planes(0, 0, 0),
            "small": planes(self.width // 2, self.height // 2, 1 + self.index % 250),
            "large": planes(self.width * 2, self.height * 2, 1 + self.index % 250),
            "repeat": planes(self.width, self.height, 99),
        }.get(fault, frame.image)
        return Frame(frame.index, frame.captured_s, image, shot=frame.shot)


class SlowToOpen(Fake):
    """Takes the seconds in `fake:SECONDS` to open."""

    def __init__(self, spec: str, settings: CameraSettings) -> None:
        super().__init__(spec, settings)
        time.sleep(float(spec.removeprefix("fake:")))


def wrong_spec(spec: str, settings: CameraSettings) -> Fake:
    raise UsageError(f"{spec}: no such kind of camera")


class Chatty(Plugged):
    """Prints its address like libraries do, until the pipe is full, and fails with it too."""

    def __init__(self, spec: str, settings: CameraSettings) -> None:
        print(f"opening {spec} with very much to say " + 100_000 * ".", file=sys.stderr, flush=True)
        raise CameraLost(f"{spec}: refused")
