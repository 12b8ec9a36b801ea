"""Which blur a run undoes in each frame: given, by file name, estimated, or followed beside the loop."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from blur_parts import seen, sharp_luma
from loop_parts import until

from device.blur.choice import BlurChoice, parse_blur
from device.blur.follow import Follower
from device.blur.kernels import disk_kernel
from device.blur.psf import Psf
from device.blur.psf_file import write_psf
from device.images.frame import Frame
from device.images.yuv import from_rgb
from device.loop.blur import Blur
from device.telemetry import Telemetry

COFFEE = np.dstack([seen(sharp_luma("coffee"), disk_kernel(4.0))] * 3)
SHARP = np.dstack([seen(sharp_luma("coffee"), None)] * 3)


def frame(index: int = 0, name: str = "", pixels: np.ndarray = COFFEE) -> Frame:
    return Frame(index, time.monotonic(), pixels, name)


def blur(text: str, *, live: bool = False, roi: tuple[int, int, int, int] | None = None) -> Blur:
    return Blur(parse_blur(text), live=live, roi_xywh=roi, telemetry=Telemetry())


def psf_before(given: Blur, one: Frame) -> Psf:
    deconvolver = given.before(one)
    assert deconvolver is not None
    return deconvolver.psf


def test_off_leaves_frames_alone_and_blind_knows_no_blur() -> None:
    assert blur("off").before(frame()) is None
    assert psf_before(blur("blind"), frame()).is_blind


def test_a_given_psf_is_used_and_its_filter_kept_from_frame_to_frame() -> None:
    given = blur("defocus:3.5")
    first = given.before(frame(0))
    assert first is given.before(frame(1))
    assert first is not None
    assert (first.psf.kind, first.psf.size_px) == ("defocus", 3.5)
    assert given.state().description == "defocus of 3.5 pixels"


def test_a_psf_file_for_larger_pictures_is_scaled_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_psf(tmp_path / "a.json", Psf("defocus", 6.0), (1200, 800))
    given = blur(str(tmp_path / "a.json"))
    assert psf_before(given, frame(0)).size_px == pytest.approx(3.0)
    given.before(frame(1))
    assert caplog.text.count("scaled by 0.5") == 1
    half = np.ascontiguousarray(COFFEE[::2, ::2])
    assert psf_before(given, frame(2, pixels=half)).size_px == pytest.approx(1.5)  # the frame size changed on the way


def test_in_a_folder_each_picture_has_its_own_and_one_without_is_restored_blind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_psf(tmp_path / "one.json", Psf("defocus", 2.0), None)
    given = blur(str(tmp_path))
    assert psf_before(given, frame(0, "one.jpg")).size_px == 2.0
    assert psf_before(given, frame(1, "two.jpg")).is_blind
    assert psf_before(given, frame(2, "three.jpg")).is_blind
    assert caplog.text.count("no PSF for") == 1


def test_pictures_are_estimated_one_by_one() -> None:
    auto = blur("auto")
    assert psf_before(auto, frame(0, "a.png")).size_px == pytest.approx(4.0, rel=0.05)
    assert psf_before(auto, frame(1, "b.png", SHARP)).is_blind
    assert auto.state().sureness == "no clear blur"


def test_a_video_is_estimated_every_few_frames() -> None:
    auto = blur("auto")
    found = [auto.before(frame(i)) for i in range(12)]
    assert all(one is found[0] for one in found)
    assert psf_before(auto, frame(12)).kind == "defocus"


def test_live_the_blur_is_estimated_beside_the_loop_and_its_filter_is_built_there() -> None:
    auto = blur("auto", live=True)
    try:
        assert psf_before(auto, frame(0)).is_blind  # no frame waits for an estimate
        until(lambda: not psf_before(auto, Frame(1, 0.0, from_rgb(COFFEE))).is_blind)
        deconvolver = auto.before(frame(2))
        assert deconvolver is not None
        assert deconvolver.psf.size_px == pytest.approx(4.0, rel=0.05)
        assert deconvolver.ready_for(*COFFEE.shape[:2])
    finally:
        auto.close()


@pytest.mark.parametrize(("region", "size_hw"), [(None, (400, 600)), ((64, 64, 128, 96), (96, 128))])
def test_live_the_filter_of_a_given_psf_is_there_before_the_frame_that_uses_it(
    region: tuple[int, int, int, int] | None, size_hw: tuple[int, int]
) -> None:
    given = blur("blind", live=True)
    given.before(frame(0))
    given.use_region(region)
    given.use(parse_blur("motion:9@20"))
    deconvolver = given.before(frame(1))
    assert deconvolver is not None
    assert deconvolver.ready_for(*size_hw)
    given.use_region((0, 0, 200, 100))
    deconvolver = given.before(frame(2))
    assert deconvolver is not None
    assert deconvolver.ready_for(100, 200)
    given.close()


def test_only_the_region_is_looked_at() -> None:
    pixels = SHARP.copy()
    pixels[:256, :300] = COFFEE[:256, :300]
    assert psf_before(blur("auto", roi=(0, 0, 300, 256)), frame(0, "a", pixels)).kind == "defocus"
    assert psf_before(blur("auto", roi=(300, 0, 300, 256)), frame(0, "a", pixels)).is_blind


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_the_loop_goes_on_if_the_estimator_fails(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()

    def fail(self: Follower, plane: np.ndarray) -> Psf:
        if trouble == "hangs":
            hanging.wait(30)
        raise RuntimeError("no spectrum")

    monkeypatch.setattr(Follower, "update", fail)
    auto = blur("auto", live=True)
    try:
        for i in range(5):
            assert psf_before(auto, frame(i)).is_blind
        if trouble == "raises":
            until(lambda: auto.state().error)
            assert auto.state().error == "not estimated: RuntimeError: no spectrum"
        auto.use(parse_blur("defocus:3"))  # and what is set by hand counts at once
        assert psf_before(auto, frame(9)).size_px == 3.0
    finally:
        hanging.set()
        auto.close()


def test_no_estimate_is_computed_any_more_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python aborts the process if it ends while a thread is inside OpenCV."""
    started, ended = threading.Event(), threading.Event()

    def slow(self: Follower, plane: np.ndarray) -> Psf:
        started.set()
        time.sleep(0.5)
        ended.set()
        return Psf("blind")

    monkeypatch.setattr(Follower, "update", slow)
    auto = blur("auto", live=True)
    auto.before(frame(0))
    assert started.wait(10)
    auto.close()
    assert ended.is_set()
    assert "blur" not in {thread.name for thread in threading.enumerate()}


def test_what_is_set_by_hand_is_not_replaced_by_an_estimate_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go = threading.Event(), threading.Event()
    found = Psf("motion", 9.0, origin="auto")

    def late(self: Follower, plane: np.ndarray) -> Psf:
        started.set()
        go.wait(10)
        return found

    monkeypatch.setattr(Follower, "update", late)
    auto = blur("auto", live=True)
    try:
        auto.before(frame(0))
        assert started.wait(10)
        auto.use(BlurChoice("hand", Psf("defocus", 2.0)))
        go.set()
        time.sleep(0.2)  # an estimate that were to be adopted would be by now
        assert psf_before(auto, frame(1)).kind == "defocus"
    finally:
        auto.close()


def test_a_given_psf_that_does_not_fit_is_said(caplog: pytest.LogCaptureFixture) -> None:
    given = blur("defocus:4")
    given.before(frame(0, "a.png", COFFEE))
    assert given.state().fits
    given.before(frame(1, "b.png", SHARP))
    given.before(frame(2, "c.png", SHARP))
    assert given.state().fits is False
    assert caplog.text.count("does not fit what is seen") == 1


def test_live_a_given_psf_is_compared_beside_the_loop() -> None:
    given = blur("motion:9@20", live=True)
    try:
        until(lambda: given.before(frame(0, pixels=SHARP)) is not None and given.state().fits is not None)
        assert given.state().fits is False
    finally:
        given.close()
