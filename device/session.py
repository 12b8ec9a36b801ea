"""One run from settings to its end: opens what is asked for, joins it to the loop, and tells how it is doing."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from device import warnings
from device.controls import Controls
from device.errors import BundleError, UsageError
from device.loop import tuned
from device.loop.models import Models
from device.loop.pipeline import run_pipeline
from device.loop.rate_control import RateControl
from device.loop.sink_worker import SinkWorker
from device.service.sd_notify import Notifier
from device.settings import Settings
from device.sinks import is_file, open_sink
from device.sinks.sink import Sink
from device.sources import open_source
from device.sources.source import Source
from device.system import hardware
from device.telemetry import Telemetry

log = logging.getLogger(__name__)
_STATUS_S = 10.0  # how often `systemctl status` gets a new line
HEALTHY_S = 3.0  # a newest picture that is older is no live picture


class Session:
    """Owns source, models and sinks of one run. `run` blocks until the end; everything else may come from any thread."""

    def __init__(self, settings: Settings, stop: threading.Event, progress: Callable[[int], None] = lambda frames: None) -> None:
        self.settings, self.telemetry = settings, Telemetry()
        self._stop, self._progress, self._opened = stop, progress, ExitStack()
        self._notifier = Notifier()
        self._reload = threading.Event()
        self._said_s = 0.0
        self._sink_workers: list[SinkWorker] = []
        self._recorder: Any = None
        self.invitation = ""
        """The page's address with its token, and a QR code of it; for a terminal only. Empty without `--lan`."""
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
                f"--source {settings.source}: --fps and --max-age are for live pictures; of a file every frame is restored"
            )
        self.models = self._opened.enter_context(self._open_models())
        if settings.fps or settings.max_age:
            self._rate_control = RateControl(len(self.models.specs), settings.fps, settings.max_age / 1000, self.source.fps)
        wanted = settings.sink or (("web",) if self.source.live else ())
        if not wanted:
            raise UsageError(f"--source {settings.source}: say where restored pictures go, for example --sink restored/")
        for spec in wanted:
            self._add_sink_worker(spec)

    def _open_models(self) -> Models:
        """The models that were given, else measured, else usual. Of a live picture a measured one that fails is got over."""
        settings, live = self.settings, self.source.live
        self._decision = tuned.decide(settings)

        def opened() -> Models:
            models, threads = self._decision.models, self._decision.threads
            return Models(models, threads, self.telemetry, forgiving=live, roi_xywh=settings.roi_xywh)

        self._decision.say()
        if self._decision.measured is None:
            return opened()
        try:
            return opened()
        except Exception as error:  # runtimes raise what they like
            why = f"{self._decision.measured.runtime} fails: {error}"
            if not live:
                raise BundleError(f"what was measured to be best on this board cannot be used: {why}; {tuned.AGAIN}") from error
            self._decision = tuned.without(settings, why)
            self._decision.say()
            return opened()

    def _add_sink_worker(self, spec: str) -> None:
        settings = self.settings

        def opened(again: Settings) -> Sink:
            sink: Any = open_sink(spec, self.source, again, self.controls(), self.telemetry)
            if spec == "web":
                self.invitation = sink.invitation
            if spec.startswith("record:"):
                if self._recorder is not None:
                    sink.record(self._recorder.recording)
                self._recorder = sink
            return sink

        live = self.source.live
        worker = SinkWorker(
            opened(settings),
            self.telemetry,
            self._stop,
            live=live,
            first=not self._sink_workers,
            reopen=(lambda: opened(replace(settings, replace=True))) if live and not is_file(spec) else None,
            repeat_s=1 / settings.fps if settings.fps else 0.0,
            most_frames=settings.frames if live else 0,
            progress=self._progress,
        )
        self._sink_workers.append(worker)
        self._opened.callback(worker.close)

    def run(self) -> None:
        """Restore until the source ends, the stop event is set, or the settings say so. Raises what ended it."""
        log.info("from %s", self.source.description)
        for restorer in self.models.restorers:
            log.info("with %s", restorer.description)
        for worker in self._sink_workers:
            log.info("to %s", worker.description)
        watched = "web" in self.settings.sink and not self.source.live  # somebody looks at a file: play it at its own rate
        self._notifier.ready()
        run_pipeline(
            self.source,
            self.models,
            self._sink_workers,
            self.telemetry,
            self._stop,
            rate_control=self._rate_control,
            most_frames=self.settings.frames,
            pace_fps=self.source.fps if watched else 0.0,
            beat=self._beat,
        )

    def reload(self) -> None:
        """Open the bundles again, between two frames; safe in a signal handler."""
        self._reload.set()

    def _beat(self) -> None:
        """The loop moves: called some ten times a second from the supervising thread."""
        if self._reload.is_set():
            self._reload.clear()
            self._decision = tuned.still(self._decision)
            self.models.reload()
        self._notifier.watchdog()
        if self._notifier.has_supervisor and (now := time.monotonic()) - self._said_s > _STATUS_S:
            self._said_s = now
            state = self.state()
            self._notifier.status(
                state["health"] or f"{state['fps_now']:.1f} frames a second, {state['bundle']} on {state['runtime']}"
            )

    def state(self) -> dict[str, Any]:
        """Plain data on everything that runs, for the page, for `/state` and for `--json`."""
        figures = self.telemetry.snapshot()
        restorer = self.models.restorer(self._rate_control.step.model if self._rate_control else 0)
        newest_s = self.telemetry.newest_s
        age_s = time.monotonic() - newest_s if newest_s is not None else None
        status, shot, size_wh = self.source.status, self.telemetry.shot, self.telemetry.size_wh
        state = {
            **figures,
            "bundle": restorer.bundle.name,
            "variant": restorer.artifact.variant,
            "artifact": restorer.artifact.label,
            "runtime": restorer.runtime_name,
            "threads": restorer.threads,
            "source": self.source.description,
            "size_wh": list(size_wh) if size_wh else None,
            "newest_frame_s": age_s,
            "health": _health(age_s, status.reason if not status.ok else "", figures["frames"], figures["seconds"]),
            "camera": {
                **asdict(status),
                "exposure_ms": shot.exposure_s * 1000 if shot and shot.exposure_s is not None else None,
                **{name: getattr(shot, name, None) for name in ("gain", "in_focus", "lens_dioptres", "lux")},
            },
            "choice": self._choice_facts(),
            "deadline": self._rate_control_facts(),
            "recording": self._recorder.facts() if self._recorder is not None else None,
            "sinks": [worker.facts() for worker in self._sink_workers],
            "choices": [asdict(tuned) for tuned in self.models.options],
            "throttled": hardware.throttled(),
            "message": self.models.message,
            "version": _version(),
        }
        state["healthy"] = not state["health"]
        state["warnings"] = warnings.warnings(state)
        return state

    def _choice_facts(self) -> dict[str, str]:
        """How what restores was chosen: `given`, `measured`, `stale` or `none` (`choice.Decision`)."""
        if self.models.specs != self._decision.models:
            return {"kind": tuned.GIVEN, "reason": "switched to on the page"}
        return {"kind": self._decision.kind, "reason": self._decision.reason}

    def _rate_control_facts(self) -> dict[str, Any] | None:
        if self._rate_control is None:
            return None
        step, levels = self._rate_control.step, len(self._rate_control.steps)
        return {
            "fps": self.settings.fps,
            "max_age_ms": self.settings.max_age,
            "every": step.every,
            "bundle": self.models.restorer(step.model).bundle.name,
            "level": self._rate_control.level,
            "levels": levels,
            "changes": self._rate_control.changes,
        }

    def controls(self) -> Controls:
        """What a viewer may see and ask of this run."""
        return Controls(self.state, lambda: self.models.options, self.models.switch, self.reload, self._record)

    def _record(self, on: bool) -> None:
        if self._recorder is None:
            raise UsageError("there is no recorder in this run; start it with --sink record:DIR")
        self._recorder.record(on)

    def close(self) -> None:
        """Close everything, the sinks first. Raises what closing a sink raised, such as a full disk; closing twice is safe."""
        self._notifier.stopping()
        self._opened.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _health(age_s: float | None, reason: str, frames: int, seconds: float) -> str:
    """Why the picture is not live, empty when it is."""
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
