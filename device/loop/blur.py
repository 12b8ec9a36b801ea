"""The blur of a run's frames: given by hand or by files, estimated for each picture, or followed on a live source.

A new PSF never makes a frame late: its filter is built aside and swapped between two frames.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from device.blur.choice import AUTO, FOLDER, HAND, OFF, BlurChoice, psf_of_picture
from device.blur.deconvolution import Deconvolver
from device.blur.estimate import fits
from device.blur.follow import Follower
from device.blur.psf import BLIND, Psf
from device.blur.spectrum import Spectrum
from device.bundle.manifest import RestoredBlur
from device.images.frame import Frame, plane_of
from device.images.yuv import Plane
from device.loop.pace import Pace
from device.restore.restored_blur import restored_spread_px
from device.state import BlurState
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
_VIDEO_FRAMES = 15  # frames of a video from one look to the next
_FORGET = 0.35  # of the spectrum that a given PSF is compared with, at each look
_CLOSE_S = 3.0  # how long `close` waits for an estimate: about a second on a slow board, and systemd waits for 5 s
_NICE = 5


class Blur:
    """Tells which blur to undo in each frame. `before` is called by the thread that restores, everything else from any thread."""

    def __init__(
        self,
        choice: BlurChoice,
        *,
        live: bool,
        roi_xywh: tuple[int, int, int, int] | None = None,
        telemetry: Telemetry,
    ) -> None:
        self._telemetry = telemetry
        self._live = live
        self.roi_xywh = roi_xywh
        """The region to estimate and to restore, in pixels; None: the whole picture."""
        self.strength = 1.0
        """How much of the restoration is shown."""
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._newest: Frame | None = None
        self._error = ""
        self._unknown: set[str] = set()
        self._size_wh: tuple[int, int] | None = None  # of the newest frame
        self._thread: threading.Thread | None = None
        self.use(choice)

    def use(self, choice: BlurChoice) -> None:
        """Change what to undo, from the next frame on. The filter of a given PSF is built here, not by that frame."""
        size_wh = self._size_wh
        deconvolver = self._given(choice.psf, size_wh)
        if self._live and size_wh is not None:
            width, height = size_wh if self.roi_xywh is None else self.roi_xywh[2:]
            deconvolver.prepare(height, width)
        with self._lock:
            self.choice = choice
            self._follower = Follower()
            self._deconvolver = deconvolver
            self._scaled_for = size_wh
            self._frames = 0
            self._spectrum = Spectrum()
            self._fits: bool | None = None
            if choice.mode in (AUTO, HAND) and self._live and self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="blur", daemon=True)
                self._thread.start()

    def use_region(self, roi_xywh: tuple[int, int, int, int] | None) -> None:
        """Estimate and restore only this region from the next frame on; None: the whole picture."""
        self.roi_xywh = roi_xywh
        if self.choice.mode in (AUTO, HAND):
            self.use(self.choice)

    def before(self, frame: Frame) -> Deconvolver | None:
        """What undoes the blur of this frame; None: leave the frame as it is."""
        mode, self._size_wh = self.choice.mode, frame.size_wh
        if mode == OFF:
            return None
        if mode in (AUTO, HAND) and self._live:
            self._newest = frame
            self._wanted.set()
        elif mode == AUTO:
            self._estimate_here(frame)
        elif mode == FOLDER:
            psf = psf_of_picture(self.choice, frame.name)
            if psf is None:
                self._say_unknown(frame.name)
            self._deconvolver = Deconvolver((psf or BLIND).for_picture(*frame.size_wh))
        if mode == HAND and self._scaled_for != frame.size_wh:
            self._deconvolver, self._scaled_for = self._given(self.choice.psf, frame.size_wh), frame.size_wh
        if mode in (HAND, FOLDER) and not self._live and (frame.name or self._frames % _VIDEO_FRAMES == 0):
            self._spectrum = Spectrum()
            self._compare(self._plane(frame), self._deconvolver.psf)
        self._frames += 1
        return self._deconvolver

    @staticmethod
    def _given(psf: Psf | None, size_wh: tuple[int, int] | None) -> Deconvolver:
        """What undoes a given PSF in pictures of this size."""
        if psf is None or size_wh is None:
            return Deconvolver(psf or BLIND)
        scaled = psf.for_picture(*size_wh)
        if scaled is not psf and psf.picture_wh is not None:
            (width, height), (for_width, for_height) = size_wh, psf.picture_wh
            sizes = f"the PSF is for pictures of {for_width}x{for_height}, these have {width}x{height}"
            log.warning("%s: scaled by %.3g", sizes, width / for_width)
        return Deconvolver(scaled)

    def _say_unknown(self, name: str) -> None:
        if not self._unknown:
            log.warning("%s: no PSF for %s; such pictures are restored blind", self.choice.folder, name)
        self._unknown.add(name)

    def _estimate_here(self, frame: Frame) -> None:
        """Files: each picture by itself, videos every few frames."""
        if frame.name:
            self._follower = Follower()
        if frame.name or self._frames % _VIDEO_FRAMES == 0:
            with self._telemetry.stage("estimate"):
                psf = self._follower.update(self._plane(frame))
            self._adopt(psf, self._follower, None)

    def _compare(self, plane: Plane, psf: Psf) -> None:
        """Note whether the given PSF may have blurred this picture; if not, say so once."""
        self._spectrum.forget(_FORGET)
        if psf.is_blind or not self._spectrum.add(plane):
            return
        before, self._fits = self._fits, fits(self._spectrum, psf)
        if before is not False and not self._fits:
            log.warning("the PSF does not fit what is seen (%s): the picture is sharper than that", psf.describe())

    def _follow(self) -> None:
        """Live: estimate in a thread of its own, at low priority and at a small share of one core."""
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        pace = Pace(time.monotonic())
        while not self._closed.is_set():
            self._wanted.wait(1.0)
            frame, self._newest = self._newest, None
            self._wanted.clear()
            mode = self.choice.mode
            if frame is None or frame.mark or mode not in (AUTO, HAND):
                continue
            began_s, follower = time.thread_time(), self._follower
            settled = True
            try:
                plane = self._plane(frame)
                if mode == HAND:
                    self._compare(plane, self._deconvolver.psf)
                else:
                    self._adopt(follower.update(plane), follower, plane.shape)
                    settled = follower.settled
                self._error = ""
            except Exception as error:  # the loop goes on with the last PSF
                if not self._error:
                    log.exception("the blur was not estimated; the last one is used")
                self._error = f"not estimated: {type(error).__name__}: {error}"
            used_s = time.thread_time() - began_s
            self._telemetry.add("estimate", used_s)
            pause_s = pace.pause_s(time.monotonic(), used_s, estimated=follower.estimated, settled=settled)
            self._closed.wait(pause_s)

    def _adopt(self, psf: Psf, follower: Follower, prepare: tuple[int, ...] | None) -> None:
        """Undo this blur from the next frame on, unless something else was asked for meanwhile."""
        if psf is self._deconvolver.psf:
            return
        deconvolver = Deconvolver(psf)
        if prepare is not None:
            deconvolver.prepare(*prepare)
        with self._lock:
            if self._follower is follower and self.choice.mode == AUTO:
                self._deconvolver = deconvolver

    def _plane(self, frame: Frame) -> Plane:
        plane = plane_of(frame.image)
        if self.roi_xywh is not None:
            x, y, width, height = self.roi_xywh
            plane = plane[y : y + height, x : x + width]
        return plane

    def state(self, restored: Iterable[RestoredBlur] = ()) -> BlurState:
        """For `/state`, `--json` and the page. `restored` is the table of the model that runs."""
        psf = self._deconvolver.psf
        return BlurState(
            mode=self.choice.mode,
            kind=psf.kind,
            size_px=round(psf.size_px, 2),
            spread_px=round(psf.spread_px, 2),
            angle_deg=round(psf.angle_deg, 1),
            linear=psf.linear,
            noise=psf.noise,
            origin=psf.origin,
            confidence=round(psf.confidence, 2),
            sureness=psf.sureness,
            description="left as it is" if self.choice.mode == OFF else psf.describe(),
            restored_px=restored_spread_px(restored, psf) if self.strength == 1 else None,
            fits=self._fits,
            strength=self.strength,
            roi_xywh=self.roi_xywh,
            error=self._error,
        )

    def close(self) -> None:
        """End the thread and wait for it: inside OpenCV it would abort a process that ends. Closing twice is safe."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
