"""What the page's tests share: the page's server, with real telemetry and a state that a test can change."""

import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_parts import show  # noqa: F401

from device.controls import Controls, ModelOption
from device.errors import UsageError
from device.images.frame import Frame, Restored
from device.settings import WebSettings
from device.sinks.web import Web
from device.telemetry import Telemetry


class Counting(Telemetry):
    """Telemetry that also counts the samples of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: Counter[str] = Counter()

    def add(self, name: str, seconds: float) -> None:
        self.samples[name] += 1
        super().add(name, seconds)


class Loop:
    """What stands for the loop: does what the page asks at once, and notes it."""

    def __init__(self) -> None:
        self.telemetry = Counting()
        self.options = tuple(ModelOption(*names) for names in (("small", "int8", "litert"), ("nano", "int8", "litert")))
        self.option = self.options[0]
        self.asked: list[Any] = []
        self.says: dict[str, Any] = {}
        """What the state says otherwise than it would."""
        self.recording: dict[str, Any] | None = None
        self.controls = Controls(self.state, lambda: self.options, self.switch, lambda: self.asked.append("reload"), self.record)

    def state(self) -> dict[str, Any]:
        newest_s, size_wh = self.telemetry.newest_s, self.telemetry.size_wh
        return {
            **self.telemetry.snapshot(),
            "bundle": self.option.bundle,
            "variant": self.option.variant,
            "artifact": f"{self.option.variant}.tflite",
            "runtime": self.option.runtime,
            "threads": 1,
            "source": "a test",
            "size_wh": list(size_wh) if size_wh else None,
            "newest_frame_s": time.monotonic() - newest_s if newest_s is not None else None,
            "healthy": True,
            "health": "",
            "camera": {
                "ok": True,
                "reason": "",
                "reopened": 0,
                "bad_frames": 0,
                "exposure_ms": None,
                "gain": None,
                "in_focus": None,
                "lens_dioptres": None,
                "lux": None,
            },
            "deadline": None,
            "recording": self.recording,
            "sinks": [{"description": "the page", "frames": self.telemetry.frames, "dropped": 0, "failures": 0, "error": ""}],
            "choices": [{"bundle": c.bundle, "variant": c.variant, "runtime": c.runtime} for c in self.options],
            "warnings": [],
            "throttled": None,
            "message": "",
            "version": "0.1.0",
            **self.says,
        }

    def switch(self, option: ModelOption) -> None:
        if option not in self.options:
            raise UsageError(f"{option.bundle} {option.variant}: not among the choices")
        self.asked.append(option)
        self.option = option

    def record(self, on: bool) -> None:
        if self.recording is None:
            raise UsageError("there is no recorder in this run; start it with --sink record:DIR")
        self.asked.append(on)
        self.recording["on"] = on


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def serve(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Web]]:
    """`serve(port=0, lan=False, …)`: a page of these settings, closed after the test. Its state folder is the test's."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    opened: list[Web] = []

    def serve(**settings: Any) -> Web:
        opened.append(Web(loop.controls, loop.telemetry, WebSettings(**{"port": 0, **settings})))
        return opened[-1]

    yield serve
    for web in opened:
        web.close()


@pytest.fixture
def web(serve: Callable[..., Web]) -> Web:
    """The page on the loopback interface."""
    return serve()


@pytest.fixture
def frame() -> Callable[..., Restored]:
    """`frame(index, size_hw)`: as it comes it is grey `index`, restored it is grey 255 - `index`."""

    def frame(index: int, size_hw: tuple[int, int] = (48, 64), mark: str = "") -> Restored:
        grey = np.full((*size_hw, 3), index % 256, np.uint8)
        return Restored(Frame(index, time.monotonic(), grey, mark=mark), grey if mark else 255 - grey, mark)

    return frame


Got = tuple[http.client.HTTPResponse, bytes]


@pytest.fixture
def get() -> Callable[..., Got]:
    """`get(web, path, method, body, headers)`: one request over a connection of its own, and the whole answer."""

    def get(web: Web, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", int(web.url.rpartition(":")[2]), timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response, data

    return get
