"""One run, from its settings to its end: opens source, models and sinks, runs the loop, and reports its state."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from device.advice import advise
from device.blur import kept
from device.blur.choice import AUTO, parse_blur, parse_words
from device.controls import Controls
from device.errors import BundleError, UsageError
from device.loop import tuned
from device.loop.blur import Blur
from device.loop.models import Models
from device.loop.pipeline import run_pipeline
from device.loop.rate_control import RateControl
from device.loop.sink_worker import SinkWorker
from device.service.sd_notify import Notifier
from device.settings import Settings
from device.sinks import is_file, open_sink
from device.sinks.sink import Invitation, Recording, Sink
from device.sources import open_source
from device.sources.source import Source, SourceStatus
from device.state import CameraState, DecisionState, RateControlState, State
from device.system import hardware
from device.telemetry import Telemetry
from device.verdict import judge

log = logging.getLogger(__name__)
_STATUS_S = 10.0  # how often `systemctl status` gets a new line
LEAST_REGION_PX = 64  # a side, of a region that the page asks for
HEALTHY_S = 3.0  # newest frame older than this: unhealthy


class Session:
    """Owns source, models and sinks of one run. `run` blocks until the end; everything else may be called from any thread."""

    def __init__(self, settings: Settings, stop: threading.Event, progress: Callable[[int], None] = lambda frames: None) -> None:
        self.settings, self.telemetry = settings, Telemetry()
        self._stop, self._progress, self._opened = stop, progress, ExitStack()
        self._notifier = Notifier()
        self._reload = threading.Event()
        self._status_sent_s = 0.0
        self._sink_workers: list[SinkWorker] = []
        self._recorder: Recording | None = None
        self.invitation = ""
        """The page's address; with `--lan` it includes the token, and a QR code follows. For a terminal only. Empty: no page."""
        self._rate_control: RateControl | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        settings = self.settings
        self.source: Source = open_source(settings.source, settings.camera, settings.wait_camera, self._stop)
        self._opened.callback(self.source.close)
        if (settings.fps or settings.max_age) and not self.source.live:
            raise UsageError(
                f"--source {settings.source}: --fps and --max-age are for live sources; every frame of a file is restored"
            )
        chosen = kept.kept() if self.source.live and not settings.blur else None
        choice, strength = chosen or (parse_blur(settings.blur or AUTO, settings.blur_domain), 1.0)
        self.blur = Blur(choice, live=self.source.live, roi_xywh=settings.roi_xywh, telemetry=self.telemetry)
        self.blur.strength = strength
        self._opened.callback(self.blur.close)
        self.models = self._opened.enter_context(self._open_models())
        if settings.fps or settings.max_age:
            self._rate_control = RateControl(len(self.models.specs), settings.fps, settings.max_age / 1000, self.source.fps)
        sinks = settings.sink or (("web",) if self.source.live else ())
        if not sinks:
            raise UsageError(f"--source {settings.source}: name an output for the restored pictures, such as --sink restored/")
        for spec in sinks:
            self._add_sink_worker(spec)

    def _open_models(self) -> Models:
        """Open the models decided on. On a live source, fall back to the default if the tuned model fails to load."""
        live = self.source.live
        self._decision = tuned.decide(self.settings)
        self._decision.log()
        if self._decision.tuned is None:
            return self._open_decided()
        try:
            return self._open_decided()
        except Exception as error:  # runtimes raise errors of any type
            why = f"{self._decision.tuned.runtime} fails: {error}"
            if not live:
                raise BundleError(f"the best model measured on this board cannot be used: {why}; {tuned.AGAIN}") from error
            self._decision = tuned.fall_back(self.settings, why)
            self._decision.log()
            return self._open_decided()

    def _open_decided(self) -> Models:
        return Models(
            self._decision.models,
            self._decision.threads,
            self.telemetry,
            recovers=self.source.live,
            blur=self.blur,
        )

    def _add_sink_worker(self, spec: str) -> None:
        settings, live = self.settings, self.source.live
        worker = SinkWorker(
            self._open_sink(spec, settings),
            self.telemetry,
            self._stop,
            live=live,
            first=not self._sink_workers,
            reopen=(lambda: self._open_sink(spec, replace(settings, replace=True))) if live and not is_file(spec) else None,
            repeat_s=1 / settings.fps if settings.fps else 0.0,
            most_frames=settings.frames if live else 0,
            progress=self._progress,
        )
        self._sink_workers.append(worker)
        self._opened.callback(worker.close)

    def _open_sink(self, spec: str, settings: Settings) -> Sink:
        sink = open_sink(spec, self.source, settings, self.controls(), self.telemetry)
        if isinstance(sink, Invitation):
            self.invitation = sink.invitation()
        if isinstance(sink, Recording):
            if self._recorder is not None:  # opened again after a failure: keep it paused if it was
                sink.record(self._recorder.recording().on)
            self._recorder = sink
        return sink

    def run(self) -> None:
        """Restore until the source ends, the stop event is set, or a limit of the settings is reached. Raises what ended it."""
        log.info("from %s", self.source.description)
        for restorer in self.models.restorers:
            log.info("with %s", restorer.description)
        for worker in self._sink_workers:
            log.info("to %s", worker.description)
        watched = bool(self.invitation) and not self.source.live  # somebody may watch a file: play it at its own rate
        self._notifier.ready()
        run_pipeline(
            self.source,
            self.models,
            self._sink_workers,
            self.telemetry,
            self._stop,
            rate_control=self._rate_control,
            most_frames=self.settings.frames,
            play_fps=self.source.fps if watched else 0.0,
            beat=self._beat,
        )

    def reload(self) -> None:
        """Open the bundles again, between two frames; safe in a signal handler."""
        self._reload.set()

    def _beat(self) -> None:
        """Called about ten times a second by the supervising thread while the loop moves."""
        if self._reload.is_set():
            self._reload.clear()
            self._decision = tuned.check_again(self._decision)
            self.models.reload()
        self._notifier.watchdog()
        if self._notifier.has_supervisor and (now := time.monotonic()) - self._status_sent_s > _STATUS_S:
            self._status_sent_s = now
            state = self.state()
            self._notifier.status(state.health or f"{state.fps_now:.1f} frames a second, {state.bundle} on {state.runtime}")

    def state(self) -> State:
        """The state of everything that runs, for the page, for `/state` and for `--json`."""
        figures = self.telemetry.snapshot()
        restorer = self.models.restorer(self._rate_control.step.model if self._rate_control else 0)
        newest_s = self.telemetry.newest_s
        age_s = time.monotonic() - newest_s if newest_s is not None else None
        status = self.source.status
        health = _health(age_s, "" if status.ok else status.reason, figures.frames, figures.seconds)
        state = State(
            **vars(figures),
            bundle=restorer.bundle.name,
            variant=restorer.artifact.variant,
            artifact=restorer.artifact.label,
            runtime=restorer.runtime_name,
            threads=restorer.threads,
            source=self.source.description,
            size_wh=self.telemetry.size_wh,
            newest_frame_s=age_s,
            health=health,
            healthy=not health,
            camera=self._camera_state(status),
            blur=self.blur.state(restorer.bundle.manifest.restored_blur),
            choice=self._decision_state(),
            deadline=self._rate_control_state(),
            recording=self._recorder.recording() if self._recorder is not None else None,
            sinks=tuple(worker.state() for worker in self._sink_workers),
            choices=self.models.options,
            throttled=hardware.throttled(),
            message=self.models.message,
            version=_version(),
        )
        return replace(state, verdict=judge(state), warnings=advise(state))

    def _camera_state(self, status: SourceStatus) -> CameraState:
        shot = self.telemetry.shot
        return CameraState(
            **asdict(status),
            exposure_ms=shot.exposure_s * 1000 if shot and shot.exposure_s is not None else None,
            gain=shot.gain if shot else None,
            in_focus=shot.in_focus if shot else None,
            lens_dioptres=shot.lens_dioptres if shot else None,
            lux=shot.lux if shot else None,
        )

    def _decision_state(self) -> DecisionState:
        if self.models.specs != self._decision.models:
            return DecisionState(tuned.GIVEN, "switched to on the page")
        return DecisionState(self._decision.kind, self._decision.reason)

    def _rate_control_state(self) -> RateControlState | None:
        if self._rate_control is None:
            return None
        step = self._rate_control.step
        return RateControlState(
            fps=self.settings.fps,
            max_age_ms=self.settings.max_age,
            every=step.every,
            bundle=self.models.restorer(step.model).bundle.name,
            level=self._rate_control.level,
            levels=len(self._rate_control.steps),
            changes=self._rate_control.changes,
        )

    def controls(self) -> Controls:
        """What the page may read from this run and ask of it."""
        return Controls(
            self.state,
            lambda: self.models.options,
            self.models.switch,
            self.reload,
            self._record,
            self._use_blur,
            self._use_strength,
            self._use_region,
        )

    def _record(self, on: bool) -> None:
        if self._recorder is None:
            raise UsageError("this run has no recorder; start it with --sink record:DIR")
        self._recorder.record(on)

    def _use_blur(self, text: str, keep: bool) -> None:
        choice = parse_words(text)
        if keep:
            kept.keep(text, self.blur.strength)
        self.blur.use(choice)

    def _use_strength(self, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(f"strength {strength}: expected 0 to 1")
        self.blur.strength = strength

    def _use_region(self, roi_xywh: tuple[int, int, int, int] | None) -> None:
        size_wh = self.telemetry.size_wh
        if roi_xywh is not None:
            x, y, width, height = roi_xywh
            if (
                min(x, y) < 0
                or min(width, height) < LEAST_REGION_PX
                or (size_wh and (x + width > size_wh[0] or y + height > size_wh[1]))
            ):
                raise UsageError(
                    f"region {x},{y},{width},{height}: expected at least {LEAST_REGION_PX} pixels a side, inside the picture"
                )
        self.blur.use_region(roi_xywh)

    def close(self) -> None:
        """Close everything, the sinks first. Raises what closing a sink raises, such as a full disk. Closing twice is safe."""
        self._notifier.stopping()
        self._opened.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _health(age_s: float | None, reason: str, frames: int, seconds: float) -> str:
    """Why the picture is not live; empty if it is. `age_s` is the age of the newest frame."""
    if reason:
        return reason
    if age_s is None or not frames:
        return "" if seconds < HEALTHY_S else "no frame yet"
    return "" if age_s < HEALTHY_S else f"no new frame for {age_s:.0f} s"


@cache
def _version() -> str:
    try:
        return version("deblurkit")
    except PackageNotFoundError:
        return "not installed"
