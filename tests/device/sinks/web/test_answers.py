"""The replies of the page's addresses, over real HTTP on the loopback interface."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from device.errors import RunError
from device.images.frame import Frame, Pixels, Restored
from device.images.scenes import chart
from device.images.yuv import Yuv, from_rgb
from device.sinks.web import Web
from device.sinks.web.jpeg import to_jpeg
from device.state import ModelOption, RecordingState

pytestmark = pytest.mark.timeout(60)
JSON = {"content_type": "application/json"}


def pixels_of(jpeg: bytes) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def test_the_root_is_the_page_which_uses_no_other_address_and_allows_only_its_own_script(web: Web, get: Callable) -> None:
    response, body = get(web, "/")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(rb"(?<!xmlns=')https?://|src=\"//", body)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/state", "/snapshot", "/healthz", "/metrics", "/nothing", "/stream?view=x"])
def test_every_reply_has_the_security_headers(web: Web, get: Callable, frame: Callable, path: str) -> None:
    web.write(frame(0))
    headers = get(web, path)[0].headers
    for name in ("Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Cross-Origin-Resource-Policy"):
        assert headers[name]


def test_the_state_is_that_of_the_loop_with_the_viewers(web: Web, loop: Any, get: Callable) -> None:
    loop.telemetry.shown(Frame(0, time.monotonic() - 0.03, np.zeros((48, 64, 3), np.uint8)))
    response, body = get(web, "/state")
    state = json.loads(body)
    assert response.headers["Content-Type"] == "application/json"
    assert state["viewers"] == {"now": 0, "most": 8}
    assert (state["frames"], state["size_wh"], state["bundle"]) == (1, [64, 48], "small")
    assert state["frame_age_ms"]["p50"] >= 30
    assert abs(float(response.headers["X-Now"]) - time.monotonic()) < 5


def test_the_state_is_computed_only_a_few_times_a_second_for_many_viewers(web: Web, loop: Any, get: Callable) -> None:
    made = []
    telemetry, real = loop.telemetry, loop.telemetry.snapshot
    telemetry.snapshot = lambda: made.append(1) or real()
    began = time.monotonic()
    for _ in range(40):
        assert get(web, "/state")[0].status == 200
    assert len(made) <= 2 + (time.monotonic() - began) / 0.2


def test_a_snapshot_is_the_latest_frame_of_either_view_or_both_side_by_side(web: Web, get: Callable, frame: Callable) -> None:
    web.write(frame(10))
    web.write(frame(40))
    for path, grey in (("/snapshot", 215), ("/snapshot?view=restored", 215), ("/snapshot?view=blurred", 40)):
        response, body = get(web, path)
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
        picture = pixels_of(body)
        assert picture.shape == (48, 64, 3)
        assert picture.mean() == pytest.approx(grey, abs=1)
    both = pixels_of(get(web, "/snapshot?view=both")[1])
    assert both.shape == (48, 128, 3)
    assert both[:, :60].mean() == pytest.approx(40, abs=1)
    assert both[:, 68:].mean() == pytest.approx(215, abs=1)


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 63), (1, 1), (3, 2)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
def test_a_picture_keeps_its_colours_from_planes_of_every_kind(
    web: Web, get: Callable, size_hw: tuple[int, int], matrix: str, full_range: bool
) -> None:
    colour = (200, 90, 40)
    image = from_rgb(np.full((*size_hw, 3), colour, np.uint8), matrix, full_range)
    web.write(Restored(Frame(0, 0.0, image), image))
    shown = pixels_of(get(web, "/snapshot")[1])
    assert shown.shape == (*size_hw, 3)
    assert np.abs(shown.astype(int) - colour).max() <= 5


def test_planes_that_are_views_of_a_cameras_padded_buffer_are_shown_without_the_padding(web: Web, get: Callable) -> None:
    wide = from_rgb(np.full((48, 96, 3), 120, np.uint8))
    wide.y[:, 64:] = 255
    image = type(wide)(wide.y[:, :64], wide.u[:, :32], wide.v[:, :32])
    web.write(Restored(Frame(0, 0.0, image), image))
    assert pixels_of(get(web, "/snapshot")[1]).mean() == pytest.approx(120, abs=1)


@pytest.mark.parametrize("size_hw", [(48, 64), (46, 62), (47, 64), (48, 63), (3, 2), (1, 1), (1080, 1920)])
def test_memory_beside_a_picture_does_not_get_into_its_file(size_hw: tuple[int, int]) -> None:
    def beside(shape: tuple[int, int], grey: int, other: int) -> np.ndarray:
        memory = np.full(shape[0] * shape[1] + 200_000, other, np.uint8)
        plane = memory[100_000:-100_000].reshape(shape)
        plane[:] = grey
        return plane

    half = (-(-size_hw[0] // 2), -(-size_hw[1] // 2))
    files = {to_jpeg(Yuv(beside(size_hw, 120, n), beside(half, 100, n), beside(half, 150, n)), 90) for n in (0, 77, 255)}
    assert len(files) == 1


def test_pictures_look_the_same_without_simplejpeg(monkeypatch: pytest.MonkeyPatch, picture: Pixels) -> None:
    image = from_rgb(picture[:96, :130])
    with_it = pixels_of(to_jpeg(image, 95)).astype(int)
    monkeypatch.setattr("device.sinks.web.jpeg._planes_encoder", lambda: None)
    without = pixels_of(to_jpeg(image, 95)).astype(int)
    assert np.abs(with_it - without).mean() < 3


def test_an_rgb_picture_is_served_in_its_own_colours(web: Web, get: Callable) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 240
    web.write(Restored(Frame(0, 0.0, red), red))
    middle = pixels_of(get(web, "/snapshot")[1])[16, 16]
    assert middle[0] > 200
    assert middle[2] < 40


def test_a_snapshot_waits_for_the_first_frame_or_says_that_there_is_none(serve: Callable, get: Callable, frame: Callable) -> None:
    web = serve()
    timer = threading.Timer(0.3, web.write, [frame(7)])
    timer.start()
    assert get(web, "/snapshot")[0].status == 200
    timer.join()
    response, body = get(serve(), "/snapshot")
    assert (response.status, body) == (503, b"no frame yet\n")
    assert int(response.headers["Retry-After"]) > 0


def test_health_is_200_while_pictures_arrive_and_503_with_the_reason_otherwise(web: Web, loop: Any, get: Callable) -> None:
    assert get(web, "/healthz")[1] == b"ok\n"
    loop.overrides = {"healthy": False, "health": "no new frame for 5 s"}
    time.sleep(0.25)
    response, body = get(web, "/healthz")
    assert (response.status, body) == (503, b"no new frame for 5 s\n")


def test_a_state_that_fails_is_500_without_a_traceback_and_the_page_stays(
    web: Web, loop: Any, get: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    loop.telemetry.snapshot = lambda: 1 / 0
    with caplog.at_level(logging.ERROR):
        for path in ("/state", "/healthz", "/metrics"):
            response, body = get(web, path)
            assert response.status == 500
            assert b"ZeroDivision" not in body
    assert "ZeroDivisionError" in caplog.text
    assert get(web, "/")[0].status == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/../../etc/passwd", "/page.html", "/state/", "/%2e%2e/routes.py", "//", "/page.html%00"]
)
def test_an_unknown_address_is_404_and_lists_the_known_ones(web: Web, get: Callable, path: str) -> None:
    response, body = get(web, path)
    assert response.status == 404
    assert b"/stream /snapshot /focus /state" in body


@pytest.mark.parametrize("path", ["/stream?view=sharp", "/snapshot?view=RESTORED", "/stream?view=../x"])
def test_an_unknown_view_is_400(web: Web, get: Callable, frame: Callable, path: str) -> None:
    web.write(frame(0))
    response, body = get(web, path)
    assert (response.status, body) == (400, b"view is restored, blurred or both\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/", "/state", "/switch"])
def test_other_methods_are_405_and_the_allowed_one_is_named(web: Web, get: Callable, method: str, path: str) -> None:
    response, _ = get(web, path, method)
    assert response.status == 405
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", ["/", "/state", "/snapshot", "/healthz", "/metrics"])
def test_head_is_get_without_the_body(web: Web, get: Callable, frame: Callable, path: str) -> None:
    web.write(frame(0))
    response, body = get(web, path, "HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


# What a viewer can ask for


def test_the_model_is_switched(web: Web, loop: Any, get: Callable) -> None:
    wish = json.dumps({"bundle": "nano", "variant": "int8", "runtime": "litert"}).encode()
    assert get(web, "/switch", "POST", wish, **JSON)[0].status == 202
    assert loop.asked == [ModelOption("nano", "int8", "litert")]
    assert json.loads(get(web, "/state")[1])["bundle"] == "nano"  # at once, although the last state is recent


def test_an_unknown_model_is_409_with_the_words_of_the_loop(web: Web, get: Callable) -> None:
    wish = json.dumps({"bundle": "../../etc", "variant": "x", "runtime": "y"}).encode()
    response, body = get(web, "/switch", "POST", wish, **JSON)
    assert response.status == 409
    assert b"not available in this run" in body


def test_bundles_are_reloaded_and_recording_is_switched(web: Web, loop: Any, get: Callable) -> None:
    response, body = get(web, "/record", "POST", b'{"on": true}', **JSON)
    assert response.status == 409
    assert b"--sink record:DIR" in body
    loop.recording = RecordingState(on=False, files=0, bytes=0, error="")
    assert get(web, "/record", "POST", b'{"on": true}', **JSON)[0].status == 202
    assert get(web, "/record", "POST", b'{"on": false}', **JSON)[0].status == 202
    assert get(web, "/reload", "POST", b"{}", **JSON)[0].status == 202
    assert loop.asked == [True, False, "reload"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"on": "yes"}', b'{"on": 1}', b"[" * 4000, b'{"bundle": "small"}', b"NaN"],
)
@pytest.mark.parametrize("path", ["/switch", "/record", "/blur"])
def test_a_wrong_body_is_400_and_does_nothing(web: Web, loop: Any, get: Callable, path: str, body: bytes) -> None:
    loop.recording = RecordingState(on=False, files=0, bytes=0, error="")
    response, text = get(web, path, "POST", body, **JSON)
    assert response.status == 400
    assert b"takes a JSON object with" in text
    assert loop.asked == []


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"blur": "auto"}, [("auto", False)]),
        ({"blur": "blind"}, [("blind", False)]),
        ({"blur": "off", "keep": True}, [("off", True)]),
        ({"blur": "gaussian:1.6"}, [("gaussian:1.6", False)]),
        ({"blur": "motion:17@30", "keep": False}, [("motion:17@30", False)]),
        ({"strength": 0}, [0.0]),
        ({"strength": 0.5, "blur": "defocus:3.5"}, [0.5, ("defocus:3.5", False)]),
    ],
)
def test_the_blur_is_set(web: Web, loop: Any, get: Callable, body: dict[str, Any], asked: list[Any]) -> None:
    assert get(web, "/blur", "POST", json.dumps(body).encode(), **JSON)[0].status == 202
    assert loop.asked == asked
    state = json.loads(get(web, "/state")[1])["blur"]  # at once, although the last state is recent
    assert state["strength"] == body.get("strength", 1.0)
    if ":" in str(body.get("blur", "")):
        assert (state["mode"], state["kind"]) == ("hand", body["blur"].partition(":")[0])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"keep": True}, 400),
        ({"strength": True}, 400),
        ({"strength": "0.5"}, 400),
        ({"strength": None, "blur": "off"}, 400),
        ({"strength": 1.5}, 409),
        ({"strength": float("nan")}, 409),
        ({"blur": "sharp"}, 409),
        ({"blur": "defocus"}, 409),
        ({"blur": "defocus:-1"}, 409),
        ({"blur": "defocus:0"}, 409),
        ({"blur": "defocus:999"}, 409),
        ({"blur": "defocus:3@30"}, 409),
        ({"blur": "../../etc/passwd"}, 409),
        ({"blur": ["auto"]}, 409),
    ],
)
def test_a_wrong_blur_is_refused_and_does_nothing(web: Web, loop: Any, get: Callable, body: dict[str, Any], status: int) -> None:
    response, text = get(web, "/blur", "POST", json.dumps(body).encode(), **JSON)
    assert response.status == status
    assert text.strip()
    assert loop.asked == []


def test_a_blur_that_cannot_be_kept_is_409_with_the_reason(web: Web, loop: Any, get: Callable) -> None:
    loop.disk_full = True
    response, body = get(web, "/blur", "POST", b'{"blur": "off", "keep": true}', **JSON)
    assert response.status == 409
    assert b"No space left" in body


def test_the_region_is_set_and_removed(web: Web, loop: Any, get: Callable) -> None:
    region = {"x": 10, "y": 20, "width": 64, "height": 100}
    assert get(web, "/region", "POST", json.dumps(region).encode(), **JSON)[0].status == 202
    assert json.loads(get(web, "/state")[1])["blur"]["roi_xywh"] == [10, 20, 64, 100]
    assert get(web, "/region", "POST", b"{}", **JSON)[0].status == 202
    assert loop.asked == [(10, 20, 64, 100), None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"x": 0}', 400),
        (b'{"x": 0, "y": 0, "width": 100, "height": "tall"}', 400),
        (b'{"x": 0, "y": 0, "width": 100, "height": null}', 400),
        (b"[0, 0, 100, 100]", 400),
        (b"null", 400),
        (b'{"x": 0, "y": 0, "width": 63, "height": 100}', 409),
    ],
)
def test_a_wrong_region_is_refused_and_does_nothing(web: Web, loop: Any, get: Callable, body: bytes, status: int) -> None:
    assert get(web, "/region", "POST", body, **JSON)[0].status == status
    assert loop.asked == []


def test_the_focus_is_that_of_the_original_at_a_spot(web: Web, get: Callable) -> None:
    def focus(query: str = "") -> float | None:
        response, body = get(web, f"/focus{query}")
        assert response.headers["Content-Type"] == "application/json"
        found: float | None = json.loads(body)["sharpness"]
        return found

    assert focus() is None  # no frame yet
    picture = chart(256, 512)
    picture[:, 256:] = 90
    web.write(Restored(Frame(0, 0.0, picture), np.zeros_like(picture)))
    sharp = focus("?x=0.25&y=0.5")
    assert sharp is not None
    assert 0.1 < sharp <= 1
    assert focus("?x=0.8&y=0.5") is None


@pytest.mark.parametrize("query", ["x=2", "y=-0.1", "x=nan", "x=inf", "x=left", "x=&y=0"])
def test_a_spot_outside_the_picture_is_400(web: Web, get: Callable, frame: Callable, query: str) -> None:
    web.write(frame(0))
    response, body = get(web, f"/focus?{query}")
    assert response.status == 400
    assert b"from 0 to 1" in body


# The sink


def test_it_listens_on_the_loopback_interface_only(web: Web) -> None:
    assert web._server._listening.getsockname()[0] == "127.0.0.1"
    assert web.description == web.url == web.invitation()


def test_a_port_in_use_is_an_error_that_names_it_and_the_flag(web: Web, serve: Callable, get: Callable) -> None:
    port = int(web.url.rpartition(":")[2])
    with pytest.raises(RunError, match=rf"127\.0\.0\.1:{port}.*--port"):
        serve(port=port)
    assert get(web, "/state")[0].status == 200


def test_closing_frees_the_port_at_once_and_closing_twice_is_safe(serve: Callable, get: Callable, frame: Callable) -> None:
    web = serve()
    get(web, "/state")
    port = int(web.url.rpartition(":")[2])
    web.close()
    web.close()
    web.write(frame(0))  # after closing this is harmless
    again = serve(port=port)
    assert get(again, "/state")[0].status == 200
