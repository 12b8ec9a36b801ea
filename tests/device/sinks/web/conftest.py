"""Shared by the tests of the page: its server, with real telemetry and a state that a test can change."""

import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_parts import Open, Show, Watched, show  # noqa: F401
from state_parts import BLUR, ESTIMATED, state

from device.blur.choice import parse_words
from device.blur.psf import BLIND
from device.controls import Controls
from device.errors import RunError, UsageError
from device.images.frame import Frame, Restored
from device.session import LEAST_REGION_PX
from device.settings import WebSettings
from device.sinks.web import Web
from device.state import ModelOption, RecordingState, SinkState, State
from device.telemetry import Telemetry


class Counting(Telemetry):
    """Telemetry that also counts the samples of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: Counter[str] = Counter()

    def add(self, name: str, seconds: float) -> None:
        self.samples[name] += 1
        super().add(name, seconds)


class FakeLoop:
    """Stands for the loop: does at once what the page asks, and notes it. `overrides` replaces values of its state."""

    def __init__(self) -> None:
        self.telemetry = Counting()
        self.options = tuple(ModelOption(*names) for names in (("small", "int8", "litert"), ("nano", "int8", "litert")))
        self.option = self.options[0]
        self.asked: list[Any] = []
        self.overrides: dict[str, Any] = {}
        self.recording: RecordingState | None = None
        self.blur, self.disk_full = BLUR, False
        self.controls = Controls(
            self.state,
            lambda: self.options,
            self.switch,
            lambda: self.asked.append("reload"),
            self.record,
            self.use_blur,
            self.use_strength,
            self.use_region,
        )

    def state(self) -> State:
        newest_s = self.telemetry.newest_s
        sink = SinkState(description="the page", frames=self.telemetry.frames, dropped=0, failures=0, error="")
        values = {
            **vars(self.telemetry.snapshot()),
            "bundle": self.option.bundle,
            "variant": self.option.variant,
            "artifact": f"{self.option.variant}.tflite",
            "runtime": self.option.runtime,
            "size_wh": self.telemetry.size_wh,
            "newest_frame_s": time.monotonic() - newest_s if newest_s is not None else None,
            "recording": self.recording,
            "blur": self.blur,
            "sinks": (sink,),
            "choices": self.options,
        }
        return state(**{**values, **self.overrides})

    def switch(self, option: ModelOption) -> None:
        if option not in self.options:
            raise UsageError(f"{option.bundle} {option.variant}: not available in this run")
        self.asked.append(option)
        self.option = option

    def record(self, on: bool) -> None:
        if self.recording is None:
            raise UsageError("this run has no recorder; start it with --sink record:DIR")
        self.asked.append(on)
        self.recording = replace(self.recording, on=on)

    def use_blur(self, text: str, keep: bool) -> None:
        choice = parse_words(text)
        if keep and self.disk_full:
            raise RunError("blur.txt: cannot be written: No space left on device")
        self.asked.append((text, keep))
        psf = choice.psf or BLIND
        self.blur = replace(
            self.blur,
            mode=choice.mode,
            kind=psf.kind,
            size_px=psf.size_px,
            angle_deg=psf.angle_deg,
            description=psf.describe(),
            sureness="",
            origin="hand",
        )

    def use_strength(self, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(f"strength {strength}: expected 0 to 1")
        self.asked.append(strength)
        self.blur = replace(self.blur, strength=strength)

    def use_region(self, roi_xywh: tuple[int, int, int, int] | None) -> None:
        if roi_xywh and min(roi_xywh[2:]) < LEAST_REGION_PX:
            raise UsageError(f"region: expected at least {LEAST_REGION_PX} pixels a side")
        self.asked.append(roi_xywh)
        self.blur = replace(self.blur, roi_xywh=roi_xywh)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def serve(loop: FakeLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Web]]:
    """`serve(port=0, lan=False, …)`: a page with these settings, closed after the test. Its state folder belongs to the test."""
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
    """`frame(index, size_hw)`: blurred it is grey `index`, restored it is grey 255 - `index`."""

    def frame(index: int, size_hw: tuple[int, int] = (48, 64), mark: str = "") -> Restored:
        grey = np.full((*size_hw, 3), index % 256, np.uint8)
        return Restored(Frame(index, time.monotonic(), grey, mark=mark), grey if mark else 255 - grey, mark)

    return frame


Got = tuple[http.client.HTTPResponse, bytes]


@pytest.fixture
def get() -> Callable[..., Got]:
    """`get(web, path, method, body, headers)`: one request over a connection of its own, and the whole reply."""

    def get(web: Web, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", int(web.url.rpartition(":")[2]), timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response, data

    return get


@pytest.fixture
def watched(web: Web, loop: FakeLoop, show: Show, visit: Open) -> Watched:  # noqa: F811
    """The page while a movement is estimated; original 60, restored 200."""
    loop.blur = ESTIMATED
    show(60, 200, (480, 640))
    watched = visit(web.url, viewport={"width": 1360, "height": 900})
    watched.shows(200)
    watched.says("blurIs", "motion of 17 pixels")
    return watched
